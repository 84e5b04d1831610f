"""Resizes images of bytes as OpenCV does, to the bit: bilinear, in fixed-point arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Weights = NDArray[np.int32]

_ONE = 2048  # a weight of 1


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """The image (channels, old height, old width) with other extents."""
    if image.shape[1:] == (height, width):
        return image
    top, low, weight_top, weight_low = _taps(image.shape[1], height, clamp=False)
    left, right, weight_left, weight_right = _taps(image.shape[2], width, clamp=True)
    # only the rows that are used; a thumbnail of a large image uses few of them
    used, inverse = np.unique(np.concatenate([top, low]), return_inverse=True)
    lines = image[:, used]
    across = _weighted(lines, left, 2, weight_left)
    across += _weighted(lines, right, 2, weight_right)
    across >>= 4
    made = _weighted(across, inverse[:height], 1, weight_top[:, np.newaxis])
    made >>= 16
    under = _weighted(across, inverse[height:], 1, weight_low[:, np.newaxis])
    under >>= 16
    made += under
    made += 2
    made >>= 2
    return made.astype(np.uint8)


def _weighted(image: NDArray[Any], index: NDArray[np.intp], axis: int, weights: Weights) -> Weights:
    """Pixels by their position along an axis, times their weights."""
    taken = np.take(image, index, axis).astype(np.int32, copy=False)
    taken *= weights
    return taken


def _taps(old: int, new: int, *, clamp: bool) -> tuple[NDArray[np.intp], NDArray[np.intp], Weights, Weights]:
    """For each new pixel along an axis: the two old ones that it lies between, and their weights.

    Beyond the border both are the outermost one. With ``clamp`` it has all the weight, else both weights,
    whose products are rounded apart: OpenCV does the one along rows and the other along columns.
    """
    at = ((np.arange(new) + 0.5) * (1 / (new / old)) - 0.5).astype(np.float32)
    first = np.floor(at).astype(np.intp)
    fraction = at - first.astype(np.float32)
    if clamp:
        fraction[(first < 0) | (first >= old - 1)] = 0
    weights = (np.rint((np.float32(1) - fraction) * _ONE), np.rint(fraction * _ONE))
    return (
        np.clip(first, 0, old - 1), np.clip(first + 1, 0, old - 1),
        weights[0].astype(np.int32), weights[1].astype(np.int32),
    )  # fmt: skip
