"""``caffe.Detector``: classifies windows of images, with some of their surroundings, as R-CNN does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import PurePath
from typing import Any

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.pycaffe.classifier import make_transformer
from netc.pycaffe.image import load_image, resize_image
from netc.pycaffe.mode import TEST
from netc.pycaffe.net import Net, Path
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape

Detection = dict[str, Any]
"""``filename``, ``window`` (top, left, bottom, right) and ``prediction``, a row of the net's output."""


class Detector(Net):
    """Classifies windows. ``context_pad`` is how wide a border of the input shows surroundings, in pixels.

    ``mean``, ``input_scale``, ``raw_scale`` and ``channel_swap`` are those of :class:`Transformer`.
    """

    def __init__(
        self,
        model_file: Path,
        pretrained_file: Path | None,
        mean: Any = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = make_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[tuple[Path, Iterable[Any]]]) -> list[Detection]:
        """The net's first output for each window; ``images_windows`` are files with their windows.

        A window is (top, left, bottom, right) in pixels.
        """
        name = self.inputs[0]
        rows: list[Array] = []
        detections: list[Detection] = []
        for filename, windows in images_windows:
            image = load_image(filename)
            for window in windows:
                rows.append(self.transformer.preprocess(name, self.crop(image, window)))
                detections.append({"window": window, "filename": filename})
        if not rows:
            return []
        predictions = self.forward_all(**{name: np.stack(rows)})[self.outputs[0]]
        for detection, prediction in zip(detections, predictions, strict=True):
            detection["prediction"] = prediction
        return detections

    def detect_selective_search(self, image_fnames: Iterable[Path]) -> list[Detection]:
        """:meth:`detect_windows` on proposals of the package ``selective_search_ijcv_with_python``."""
        try:
            search: Any = import_module("selective_search_ijcv_with_python")
        except ImportError:
            raise NetcError(
                "proposing windows needs the package selective_search_ijcv_with_python",
                remedy="find windows in another way, and call detect_windows",
            ) from None
        names = [str(PurePath(name)) for name in image_fnames]
        return self.detect_windows(
            list(zip(names, search.get_windows(names, cmd="selective_search_rcnn"), strict=True))
        )

    def crop(self, im: Array, window: Any) -> Array:
        """A window of an image; with ``context_pad`` it has the input's size and shows its surroundings.

        Surroundings beyond the image are the mean.
        """
        top, left, bottom, right = (float(v) for v in window)
        if not self.context_pad:
            crop = im[int(top) : int(bottom), int(left) : int(right)]
            if not crop.size:
                raise NetcError(f"the window {window} is empty in an image of {show_shape(im.shape[:2])}")
            return crop
        size = self.blobs[self.inputs[0]].width  # the input is taken for a square
        scale = size / (size - 2 * self.context_pad)
        # the window with its surroundings
        half_height, half_width = (bottom - top + 1) / 2, (right - left + 1) / 2
        centre = np.array((top + half_height, left + half_width) * 2)
        box = np.round(centre + scale * np.array((-half_height, -half_width, half_height, half_width)))
        scale_y, scale_x = size / (box[2] - box[0] + 1), size / (box[3] - box[1] + 1)
        pad_y, pad_x = (round(max(0.0, -start) * s) for start, s in ((box[0], scale_y), (box[1], scale_x)))
        # the part of it that lies in the image, and its place in the input
        box = np.clip(box, 0, (*im.shape[:2], *im.shape[:2])).astype(int)
        inside = im[box[0] : box[2], box[1] : box[3]]
        height = min(round((box[2] - box[0] + 1) * scale_y), size - pad_y)
        width = min(round((box[3] - box[1] + 1) * scale_x), size - pad_x)
        if not inside.size or height < 1 or width < 1:
            raise NetcError(f"the window {window} lies outside of an image of {show_shape(im.shape[:2])}")
        crop = np.empty(tuple(self.crop_dims), np.float32)
        crop[...] = self.crop_mean
        crop[pad_y : pad_y + height, pad_x : pad_x + width] = resize_image(inside, (height, width))
        return crop

    def configure_crop(self, context_pad: int | None) -> None:
        """Set how much of the surroundings windows show."""
        name = self.inputs[0]
        order = np.argsort(self.transformer.transpose[name])
        shape = self.blobs[name].shape[1:]
        self.crop_dims = np.array(shape)[order]
        self.context_pad = context_pad
        if context_pad and not 0 < 2 * context_pad < self.blobs[name].width:
            raise NetcError(f"context_pad is {context_pad}, and the input {show_shape(shape)}")
        # the mean as a color of the images, before they are prepared for the net
        mean = self.transformer.mean.get(name)
        if mean is None:
            self.crop_mean: Array = np.zeros((1, 1, 1), np.float32)
            return
        mean = np.asarray(mean, np.float32).transpose(order)
        swap = self.transformer.channel_swap.get(name)
        if swap is not None:
            mean = mean[:, :, np.argsort(swap)]
        self.crop_mean = mean / np.float32(self.transformer.raw_scale.get(name, 1))
