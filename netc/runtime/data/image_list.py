"""ImageData layers: image files that a text file lists with their labels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.runtime.data.draws import EpochOrder, rand_skip
from netc.runtime.data.image_file import Pixels, read_image
from netc.runtime.data.resize import resize
from netc.runtime.data.source import DataLayer
from netc.runtime.data.transform import Transform
from netc.runtime.memory import Array

_PARAM = "image_data_param"
_REFUSED = ("min_height", "min_width")  # a fork's


class ImageList:
    """Item i of batch b is line ``(skipped + b * batch_size + i) mod lines``, in the order of its epoch."""

    def __init__(self, layer: DataLayer) -> None:
        layer.check_tops(2, 2)
        param = layer.message.message(_PARAM)
        for field in _REFUSED:
            if param.integer(field):
                raise layer.error(f"'{field}' changes the data and is not supported", f"{_PARAM}.{field}")
        self._layer = layer
        self._batch_size = layer.batch_size(_PARAM)
        self._transform = Transform(layer)
        self._folder = param.text("root_folder")
        self._color = param.flag("is_color")
        self._size = param.integer("new_height"), param.integer("new_width")
        if (self._size[0] == 0) != (self._size[1] == 0):
            raise layer.error("new_height and new_width must be given together", f"{_PARAM}.new_height")
        layer.check_batch((1, 3, *self._size), f"{_PARAM}.new_height")
        source = layer.path(f"{_PARAM}.source")
        if not os.path.exists(source):
            raise layer.not_found(source, "the list of images", f"{_PARAM}.source")
        with layer.located(f"{_PARAM}.source"):
            self._lines = read_list(source)
        self._order = EpochOrder(layer.seed, layer.name, len(self._lines), shuffle=param.flag("shuffle"))
        self._first = rand_skip(layer.seed, layer.name, param.integer("rand_skip"))
        (place,) = self._order.places(self._first, 1)
        with layer.located(f"{_PARAM}.source"):
            self._shape = self._transform.shape(self._image(place).shape)
        shape = (self._batch_size, *self._shape)
        layer.check_batch(shape, f"{_PARAM}.batch_size")
        self.tops: dict[str, tuple[int, ...]] = dict(zip(layer.top_names, (shape, shape[:1]), strict=True))

    def batch(self, index: int) -> dict[str, Array]:
        """Images (batch, channels, height, width) and their labels (batch)."""
        first = self._first + index * self._batch_size
        places = self._order.places(first, self._batch_size)
        with self._layer.located(f"{_PARAM}.source"):
            images = [self._image(place) for place in places]
        data = self._transform(images, first, self._shape)
        labels = np.array([self._lines[place][1] for place in places], np.float32)
        return dict(zip(self._layer.top_names, (data, labels), strict=True))

    def _image(self, place: int) -> Pixels:
        # the folder is put in front as it is: Caffe adds no '/'
        path = self._layer.root / (self._folder + self._lines[place][0])
        image = read_image(path, color=self._color)
        return resize(image, *self._size) if self._size[0] else image


def read_list(path: Path) -> list[tuple[str, int]]:
    """The lines ``path label`` of a list of images; the path may hold blanks."""
    found: list[tuple[str, int]] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if text := line.strip():
                    name, _, label = text.rpartition(b" ")
                    if not name or not _is_label(label):
                        shown = text[:60].decode(errors="replace")
                        raise NetcError(f"{path}:{number}: expected a path and a label, got '{shown}'")
                    found.append((os.fsdecode(name.rstrip()), int(label)))
    except OSError as error:
        raise NetcError(f"{path}: {error.strerror or error}") from None
    if not found:
        raise NetcError(f"{path}: the list is empty")
    return found


def _is_label(text: bytes) -> bool:
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    return digits.isdigit() and len(digits) <= 9
