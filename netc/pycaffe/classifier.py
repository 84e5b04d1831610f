"""``caffe.Classifier``: a net with the preparation of its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.pycaffe.image import oversample as ten_crops
from netc.pycaffe.image import resize_image
from netc.pycaffe.mode import TEST
from netc.pycaffe.net import Net, Path
from netc.pycaffe.transformer import Transformer
from netc.runtime.images import CROPS
from netc.runtime.memory import Array
from netc.runtime.precision import DEFAULT_PRECISION, Precision

COLORS_LAST = (2, 0, 1)


class Classifier(Net):
    """Classifies images: they are resized to ``image_dims`` (height, width), and cropped to the net's input.

    ``mean``, ``input_scale``, ``raw_scale`` and ``channel_swap`` are those of :class:`Transformer`;
    ``precision`` and ``ranges``, which the original does not have, those of :class:`Net`.
    """

    def __init__(
        self,
        model_file: Path,
        pretrained_file: Path | None,
        image_dims: Sequence[int] | None = None,
        mean: Any = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        *,
        precision: Precision = DEFAULT_PRECISION,
        ranges: Path | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file, precision=precision, ranges=ranges)
        self.transformer = make_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        given = image_dims is not None and len(image_dims) > 0
        self.image_dims = np.array(image_dims if given else self.crop_dims)
        if (self.image_dims < self.crop_dims).any():
            raise NetcError(f"images of {self.image_dims} are smaller than the net's input, {self.crop_dims}")

    def predict(self, inputs: Sequence[Array], oversample: bool = True) -> Array:
        """The net's first output for each image (height, width, channels).

        With ``oversample`` it is the mean over ten crops: corners, centre, and all of them mirrored;
        otherwise the centre alone counts.
        """
        if not len(inputs):
            raise NetcError("there are no images to classify")
        name = self.inputs[0]
        images = [resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            crops = ten_crops(images, self.crop_dims)
        else:
            (top, left), (height, width) = (self.image_dims - self.crop_dims) // 2, self.crop_dims
            crops = np.stack([image[top : top + height, left : left + width] for image in images])
        rows = np.stack([self.transformer.preprocess(name, crop) for crop in crops])
        predictions = self.forward_all(**{name: rows})[self.outputs[0]]
        if oversample:
            predictions = predictions.reshape(len(images), CROPS, -1).mean(axis=1)
        return predictions


def make_transformer(
    net: Net,
    mean: Any,
    input_scale: float | None,
    raw_scale: float | None,
    channel_swap: Sequence[int] | None,
) -> Transformer:
    """What prepares images for a net's first input."""
    if not net.inputs:
        raise NetcError("the net has no Input layer that images could go to", remedy="use a deploy prototxt")
    name = net.inputs[0]
    shape = net.blobs[name].shape
    if len(shape) != 4:
        raise NetcError(f"the input '{name}' has {len(shape)} axes; images need 4")
    transformer = Transformer({name: shape})
    transformer.set_transpose(name, COLORS_LAST)
    if mean is not None:
        transformer.set_mean(name, mean)
    if input_scale is not None:
        transformer.set_input_scale(name, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(name, channel_swap)
    return transformer
