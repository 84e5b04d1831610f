"""Prepares images for a net, and inputs of a net for viewing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.pycaffe.image import resize_image
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape

IMAGE_AXES = 3


class Transformer:
    """How an image (height, width, channels) becomes a row of an input.

    ``inputs`` are the inputs' shapes by name: ``Transformer({"data": net.blobs["data"].data.shape})``.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def preprocess(self, in_: str, data: Any) -> Array:
        """The image as the input takes it: a new float32 array (channels, height, width).

        In this order: resize to the input, transpose, swap channels, multiply by the raw scale, subtract
        the mean, multiply by the input scale.
        """
        shape = self._shape(in_)
        image = np.array(data, np.float32)
        if image.shape[:2] != shape[2:]:
            image = resize_image(image, shape[2:])
        if in_ in self.transpose:
            if image.ndim != len(self.transpose[in_]):
                raise NetcError(
                    f"an image of {image.ndim} axes, {show_shape(image.shape)}; expected "
                    f"{len(self.transpose[in_])}: height, width, channels"
                )
            image = image.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            image = image[list(self.channel_swap[in_])]
        if in_ in self.raw_scale:
            image *= np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            image -= self.mean[in_].astype(np.float32, copy=False)
        if in_ in self.input_scale:
            image *= np.float32(self.input_scale[in_])
        return image

    def deprocess(self, in_: str, data: Any) -> Array:
        """The image that ``preprocess`` would make this row of; its size stays."""
        self._shape(in_)
        image = np.array(data, np.float32)
        while image.ndim > IMAGE_AXES and image.shape[0] == 1:
            image = image[0]
        if in_ in self.input_scale:
            image /= np.float32(self.input_scale[in_])
        if in_ in self.mean:
            image += self.mean[in_].astype(np.float32, copy=False)
        if in_ in self.raw_scale:
            image /= np.float32(self.raw_scale[in_])
        if in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            image = image.transpose(np.argsort(self.transpose[in_]))
        return image

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """The order of the image's axes in the input: (2, 0, 1) for images with the channels last."""
        axes = len(self._shape(in_)) - 1
        if sorted(order) != list(range(axes)):
            raise NetcError(f"the order of axes must be one of 0 … {axes - 1}, got {tuple(order)}")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Which channel of the image each channel of the input is: (2, 1, 0) for RGB to BGR."""
        channels = self._shape(in_)[1]
        if len(order) != channels:
            raise NetcError(f"the input has {channels} channels, and {len(order)} are to be swapped")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """A factor before the mean is subtracted: 255 for nets that take 0 … 255."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Any) -> None:
        """What is subtracted: a value for each channel, or an image (channels, height, width).

        An image of another size than the input's is resized to it.
        """
        shape = self._shape(in_)
        mean = np.asarray(mean)
        if mean.ndim == 1:
            if len(mean) != shape[1]:
                raise NetcError(f"the mean has {len(mean)} values, and the input {shape[1]} channels")
            mean = mean[:, np.newaxis, np.newaxis]
        else:
            if mean.ndim == 2:
                mean = mean[np.newaxis]
            if mean.ndim != IMAGE_AXES:
                raise NetcError(f"the mean is {show_shape(mean.shape)}; expected channels x height x width")
            if mean.shape != shape[1:]:
                mean = _resized(mean, shape[2:])
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """A factor after the mean was subtracted."""
        self._shape(in_)
        self.input_scale[in_] = scale

    def _shape(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise NetcError(f"'{in_}' is not one of the inputs: {', '.join(self.inputs)}")
        return self.inputs[in_]


def _resized(mean: Array, size: tuple[int, ...]) -> Array:
    return resize_image(mean.transpose(1, 2, 0), size).transpose(2, 0, 1)
