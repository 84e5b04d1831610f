"""The settings ``transform_param``: crop, mirror, mean and scale, as Caffe's data transformer has them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netc.frontend.weights import load_blob
from netc.ir.diagnostics import NetcError
from netc.runtime.data.draws import item_draws
from netc.runtime.data.source import DataLayer
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape

_PARAM = "transform_param"
# settings of forks that change the pixels
_REFUSED = (
    "bgr2rgb",
    "crop_h",
    "crop_w",
    "distort_param",
    "expand_param",
    "flow",
    "noise_param",
    "resize_param",
)

Image = NDArray[np.uint8] | NDArray[np.float32]


class Transform:
    """Makes float32 arrays of images (channels, height, width): (crop - mean) * scale, mirrored by chance.

    In phase TRAIN crops lie anywhere, in TEST in the middle. Crops and mirroring depend on the item's place
    in the run alone.
    """

    def __init__(self, layer: DataLayer) -> None:
        param = layer.message.message(_PARAM)
        self._layer = layer
        self._random_crops = layer.phase == "TRAIN"
        self.crop = param.integer("crop_size")
        self.mirror = param.flag("mirror")
        self.scale = np.float32(param.number("scale"))
        self.force_color = param.flag("force_color")
        self.force_gray = param.flag("force_gray")
        self._values = np.asarray(param.numbers("mean_value"), np.float32)
        self._mean_file = self._read_mean() if param.has("mean_file") else None
        if self.force_color and self.force_gray:
            raise layer.error("force_color and force_gray exclude each other", f"{_PARAM}.force_gray")
        for field in _REFUSED:
            if any(param.list(field)):
                message = f"'{field}' changes the data and is not supported"
                raise layer.error(message, f"{_PARAM}.{field}")

    def shape(self, image: Sequence[int]) -> tuple[int, int, int]:
        """The shape that an image (channels, height, width) gets; checks that the settings fit it."""
        channels, height, width = image
        if self.crop > min(height, width):
            raise self._layer.error(
                f"crop_size {self.crop} is larger than the images, {show_shape((height, width))}",
                f"{_PARAM}.crop_size",
            )
        self._mean(channels, height, width)
        return (channels, self.crop, self.crop) if self.crop else (channels, height, width)

    def __call__(self, images: Sequence[Image] | Image, first: int, shape: tuple[int, ...]) -> Array:
        """The batch of images, each of which gets ``shape``; the first of them is at ``first`` in the run."""
        if isinstance(images, np.ndarray) and images.shape[1:] == shape and not self.mirror:
            made = images.astype(np.float32)
            mean = self._mean(*images.shape[1:])
            if mean is not None:
                made -= mean
        else:
            made = np.empty((len(images), *shape), np.float32)
            draws = item_draws(self._layer.seed, self._layer.name, first, len(images))
            for row, image, draw in zip(made, images, draws, strict=True):
                self._put(row, image, draw)
        if self.scale != 1:
            made *= self.scale
        return made

    def centred_mean(self, channels: int) -> Array:
        """What to subtract from warped crops: the mean's middle, or values (channels or 1, 1, 1)."""
        if self._mean_file is None:
            mean = self._mean(channels, self.crop, self.crop)
            return np.zeros((1, 1, 1), np.float32) if mean is None else mean
        found, height, width = self._mean_file.shape
        offset = (width - self.crop) // 2
        if found != channels or offset < 0 or offset + self.crop > height:
            raise self._layer.error(
                f"the mean is {show_shape(self._mean_file.shape)}, and the crops are "
                f"{show_shape((channels, self.crop, self.crop))}",
                f"{_PARAM}.mean_file",
            )
        return self._mean_file[:, offset : offset + self.crop, offset : offset + self.crop]

    def _put(self, row: Array, image: Image, draw: NDArray[np.uint64]) -> None:
        """Write one image, of any size that the crop allows, without the scale."""
        _, height, width = image.shape
        if self.shape(image.shape) != row.shape:
            raise self._layer.error(
                f"an image of {show_shape(image.shape)} among others of {show_shape(row.shape)}",
                remedy="images of different sizes need a crop_size, or to be resized",
            )
        mean = self._mean(*image.shape)
        if self.crop:
            room = height - self.crop, width - self.crop
            top, left = (
                (int(draw[1 + axis]) % (extent + 1) if self._random_crops else extent // 2)
                for axis, extent in enumerate(room)
            )
            image = image[:, top : top + self.crop, left : left + self.crop]
            if mean is not None and mean.shape[1] > 1:
                mean = mean[:, top : top + self.crop, left : left + self.crop]
        # the original mirrors after the mean is subtracted
        target = row[:, :, ::-1] if self.mirror and draw[0] % 2 else row
        if mean is None:
            target[...] = image
        else:
            np.subtract(image, mean, out=target, dtype=np.float32)

    def _mean(self, channels: int, height: int, width: int) -> Array | None:
        """The mean for images of a shape, or for their channels (channels, 1, 1)."""
        if self._mean_file is not None:
            if self._mean_file.shape != (channels, height, width):
                raise self._layer.error(
                    f"the mean is {show_shape(self._mean_file.shape)}, and the images are "
                    f"{show_shape((channels, height, width))}",
                    f"{_PARAM}.mean_file",
                )
            return self._mean_file
        if not self._values.size:
            return None
        if self._values.size not in (1, channels):
            raise self._layer.error(
                f"expected one mean_value, or one for each of {channels} channels, got {self._values.size}",
                f"{_PARAM}.mean_value",
            )
        return self._values.reshape(-1, 1, 1)

    def _read_mean(self) -> Array:
        where = f"{_PARAM}.mean_file"
        if self._values.size:
            raise self._layer.error("mean_file and mean_value exclude each other", where)
        path = self._layer.path(where)
        if not os.path.exists(path):
            remedy = "netc compute-mean DATABASE OUT.binaryproto makes one"
            raise self._layer.not_found(path, "the mean", where, remedy)
        try:
            mean = load_blob(path)
        except NetcError as error:
            raise self._layer.error(error.message, where) from None
        while mean.ndim > 3 and mean.shape[0] == 1:  # a blob of one image
            mean = mean[0]
        if mean.ndim != 3:
            raise self._layer.error(f"the mean is {show_shape(mean.shape)}; expected one image", where)
        return mean
