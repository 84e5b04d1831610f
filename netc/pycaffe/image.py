"""Images as arrays (height, width, channels): loaded, resized, cropped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.pycaffe.resample import LINEAR, resample
from netc.runtime import images as runtime_images
from netc.runtime.images import CROPS
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape

IMAGE_AXES = 3


def load_image(filename: str | os.PathLike[str], color: bool = True) -> Array:
    """An image file as float32 in 0 … 1: (height, width, 3) in RGB, or (height, width, 1) without color."""
    return runtime_images.load_image(filename, color=bool(color))


def resize_image(im: Any, new_dims: Sequence[int] | Array, interp_order: int = LINEAR) -> Array:
    """The image in another size (height, width): float32, without smoothing before it shrinks.

    With 1 or 3 channels the borders of the images coincide, and what lies beyond is the darkest value of
    the image; with others the centres of the corner pixels do, as in the original.
    """
    image = np.asarray(im)
    if image.ndim != IMAGE_AXES or not image.size:
        raise NetcError(f"an image of shape {show_shape(image.shape)}; expected height x width x channels")
    height, width = (int(d) for d in new_dims)
    if height < 1 or width < 1:
        raise NetcError(f"an image cannot be resized to {height}x{width}")
    low, high = image.min(), image.max()
    if low == high:
        return np.full((height, width, image.shape[2]), low, np.float32)
    aligned = image.shape[2] not in (1, 3)
    resized = resample(
        image.astype(np.float32, copy=False),
        (height, width),
        interp_order,
        aligned=aligned,
        outside=float(low),
    )
    return np.array(resized, np.float32)


def oversample(images: Sequence[Array], crop_dims: Sequence[int] | Array) -> Array:
    """Ten crops of each image: the corners, the centre, and all of them mirrored."""
    height, width = (int(d) for d in crop_dims)
    rows, columns, channels = images[0].shape
    if height > rows or width > columns:
        raise NetcError(f"crops of {height}x{width} are larger than the images, {rows}x{columns}")
    corners = [(top, left) for top in (0, rows - height) for left in (0, columns - width)]
    corners.append(((rows - height) // 2, (columns - width) // 2))
    crops = np.empty((CROPS * len(images), height, width, channels), np.float32)
    half = len(corners)
    for index, image in enumerate(images):
        ten = crops[index * CROPS : (index + 1) * CROPS]
        for crop, (top, left) in enumerate(corners):
            ten[crop] = image[top : top + height, left : left + width]
        ten[half:] = ten[:half, :, ::-1]
    return crops
