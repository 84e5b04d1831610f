"""WindowData layers: windows of images, objects and background in a fixed proportion, as R-CNN trains on."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.runtime.data.draws import item_draws
from netc.runtime.data.image_file import Pixels, decode_image
from netc.runtime.data.resize import resize
from netc.runtime.data.source import DataLayer
from netc.runtime.data.transform import Transform
from netc.runtime.data.window_file import read_windows
from netc.runtime.memory import Array

_PARAM = "window_data_param"
_MODES = ("warp", "square")


class Placed(NamedTuple):
    """Where a window comes from and goes to: pixels of the image, and their place and size in the crop.

    ``first`` and ``last`` are the (y, x) of the outermost pixels, ``before`` and ``after`` the padding in
    front of them and behind.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    size: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]


class WindowList:
    """Batches of background windows, then of objects, all drawn by chance and warped to ``crop_size``.

    The scale is that of ``window_data_param``; the one in ``transform_param``, to which nets of the second
    generation are upgraded, counts as well. The original forgets it there.
    """

    def __init__(self, layer: DataLayer) -> None:
        layer.check_tops(2, 2)
        param = layer.message.message(_PARAM)
        self._layer = layer
        self._transform = Transform(layer)
        self._batch_size = layer.batch_size(_PARAM)
        self._crop = self._transform.crop
        self._context = param.integer("context_pad")
        self._square = param.text("crop_mode") == "square"
        self._folder = param.text("root_folder")
        self._scale = self._transform.scale * np.float32(param.number("scale"))
        self._cache: dict[str, bytes] | None = {} if param.flag("cache_images") else None
        if param.text("crop_mode") not in _MODES:
            message = f"crop_mode is {' or '.join(_MODES)}, got '{param.text('crop_mode')}'"
            raise layer.error(message, f"{_PARAM}.crop_mode")
        if self._crop < 1:
            raise layer.error("windows need a crop_size", "transform_param.crop_size")
        if self._crop <= 2 * self._context:
            raise layer.error("context_pad leaves nothing of the crop", f"{_PARAM}.context_pad")
        fraction = param.number("fg_fraction")
        if not 0 <= fraction <= 1:
            raise layer.error(f"fg_fraction is from 0 to 1, got {fraction:g}", f"{_PARAM}.fg_fraction")
        self._objects = int(np.float32(self._batch_size) * np.float32(fraction))
        source = layer.path(f"{_PARAM}.source")
        if not os.path.exists(source):
            raise layer.not_found(source, "the window file", f"{_PARAM}.source")
        with layer.located(f"{_PARAM}.source"):
            self._windows = read_windows(source, param.number("fg_threshold"), param.number("bg_threshold"))
            self._check_windows(source)
        shape = (self._batch_size, self._windows.channels, self._crop, self._crop)
        layer.check_batch(shape, f"{_PARAM}.batch_size")
        self._mean = self._transform.centred_mean(self._windows.channels)
        self.tops: dict[str, tuple[int, ...]] = dict(zip(layer.top_names, (shape, shape[:1]), strict=True))

    def batch(self, index: int) -> dict[str, Array]:
        """Windows (batch, channels, crop, crop) and their classes (batch), 0 for the background."""
        shape = next(iter(self.tops.values()))
        data, labels = np.zeros(shape, np.float32), np.zeros(self._batch_size, np.float32)
        draws = item_draws(self._layer.seed, self._layer.name, index * self._batch_size, self._batch_size)
        with self._layer.located(f"{_PARAM}.source"):
            for item, draw in enumerate(draws):
                is_object = item >= self._batch_size - self._objects
                windows = self._windows.objects if is_object else self._windows.background
                window = windows[int(draw[1]) % len(windows)].tolist()
                labels[item] = window[1] if is_object else 0
                self._put(data[item], window, self._transform.mirror and bool(draw[0] % 2))
        return dict(zip(self._layer.top_names, (data, labels), strict=True))

    def _check_windows(self, source: Path) -> None:
        """Refuse a file without windows of a kind that the batches need."""
        background = self._batch_size - self._objects
        for found, needed, what in (
            (self._windows.objects, self._objects, "an object"),
            (self._windows.background, background, "background"),
        ):
            if needed and not len(found):
                message = f"{source}: no window counts as {what}"
                raise NetcError(message, remedy="see fg_threshold and bg_threshold")

    def _put(self, target: Array, window: list[int], mirror: bool) -> None:
        """Write one window (image, class, x1, y1, x2, y2) into zeros."""
        name = self._windows.images[window[0]]
        image = self._image(name)
        placed = self._place(window[2:], image, name)
        (top, left), (bottom, right) = placed.first, placed.last
        y, x = placed.before[0], placed.after[1] if mirror else placed.before[1]
        # rounding may have made both together larger than the crop
        height, width = min(placed.size[0], self._crop - y), min(placed.size[1], self._crop - x)
        if min(height, width) < 1:
            return  # nothing is left of so thin a window
        patch = resize(image[:, top : bottom + 1, left : right + 1], height, width)
        if mirror:
            patch = patch[:, :, ::-1]
        part = (slice(None), slice(y, y + height), slice(x, x + width))
        mean = self._mean[part] if self._mean.shape[1] > 1 else self._mean
        target[part] = (patch - mean) * self._scale

    def _image(self, name: str) -> Pixels:
        path = self._layer.root / (self._folder + name)
        data = None if self._cache is None else self._cache.get(name)
        if data is None:
            try:
                data = path.read_bytes()
            except (OSError, ValueError) as error:
                raise self._layer.error(
                    f"{path}: {getattr(error, 'strerror', None) or error}", f"{_PARAM}.source"
                ) from None
            if self._cache is not None:
                self._cache[name] = data
        return decode_image(data, self._windows.channels == 3, str(path))

    def _place(self, box: list[int], image: Pixels, name: str) -> Placed:
        """What of the image is cut out for a window (x1, y1, x2, y2), and where it goes in the crop."""
        extents = image.shape[1:]
        first, last = (box[1], box[0]), (box[3], box[2])
        crop, nothing = (self._crop, self._crop), (0, 0)
        if self._context == 0 and not self._square:
            placed = Placed(first, last, crop, nothing, nothing)
        else:
            y, x = (
                _with_context(span, extent, self._crop, self._context)
                for span, extent in zip(self._spans(first, last), extents, strict=True)
            )
            placed = Placed(*zip(y, x, strict=True))
        inside = all(
            0 <= low <= high < extent
            for low, high, extent in zip(placed.first, placed.last, extents, strict=True)
        )
        if not inside:
            raise self._layer.error(
                f"the window {box} does not lie in its image {name}, {extents[0]}x{extents[1]}",
                f"{_PARAM}.source",
            )
        return placed

    def _spans(self, first: tuple[int, int], last: tuple[int, int]) -> list[tuple[np.float32, np.float32]]:
        """The centre and half the extent of a window along y and x."""
        halves = [np.float32((high - low + 1) / 2) for low, high in zip(first, last, strict=True)]
        centres = [np.float32(low) + half for low, half in zip(first, halves, strict=True)]
        if self._square:
            halves = [max(halves)] * 2
        return list(zip(centres, halves, strict=True))


def _with_context(
    span: tuple[np.float32, np.float32], extent: int, crop: int, context: int
) -> tuple[int, int, int, int, int]:
    """Along one axis: first and last pixel, size in the crop, padding before and behind; in float32."""
    centre, half = span
    wider = np.float32(crop) / np.float32(crop - 2 * context)
    first, last = _round(centre - half * wider), _round(centre + half * wider)
    scale = np.float32(crop) / np.float32(max(last - first + 1, 1))
    before, after = max(0, -first), max(0, last - extent + 1)
    first, last = first + before, last - after
    size = _round(np.float32(last - first + 1) * scale)
    before, after = _round(np.float32(before) * scale), _round(np.float32(after) * scale)
    return first, last, size, before, after


def _round(value: np.float32) -> int:
    """The nearest integer, halves away from 0."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))
