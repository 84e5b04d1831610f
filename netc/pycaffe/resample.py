"""Resizes images as Caffe's Python interface does, by interpolation between pixels."""

from __future__ import annotations

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.runtime.memory import Array

NEAREST, LINEAR = 0, 1


def resample(image: Array, size: tuple[int, int], order: int, *, aligned: bool, outside: float) -> Array:
    """An image (height, width, channels) in another size.

    ``aligned`` puts the centres of the outermost pixels over each other; otherwise the borders of the images
    coincide, and pixels beyond the border have the value ``outside``.
    """
    if order not in (NEAREST, LINEAR):
        raise NetcError(f"images are interpolated with order 0 (nearest) or 1 (linear), got {order}")
    for axis, extent in enumerate(size):
        image = _resample_axis(image, axis, extent, order, aligned, outside)
    return image


def _resample_axis(image: Array, axis: int, extent: int, order: int, aligned: bool, outside: float) -> Array:
    old = image.shape[axis]
    if old == extent:
        return image
    if aligned:
        at = np.arange(extent) * ((old - 1) / max(extent - 1, 1))
    else:
        at = (np.arange(extent) + 0.5) * (old / extent) - 0.5
    if order == NEAREST:
        nearest = np.clip(np.floor(at + 0.5).astype(np.intp), 0, old - 1)
        return np.asarray(np.take(image, nearest, axis))
    low = np.floor(at).astype(np.intp)
    shape = [-1 if a == axis else 1 for a in range(image.ndim)]
    weight = (at - low).astype(np.float32).reshape(shape)
    left, right = _taken(image, low, axis, outside), _taken(image, low + 1, axis, outside)
    if aligned:  # the last position may fall on the border itself
        right = np.take(image, np.minimum(low + 1, old - 1), axis)
    return np.asarray(left + (right - left) * weight)


def _taken(image: Array, index: Array, axis: int, outside: float) -> Array:
    """Pixels by their position along an axis; those beyond the border have the value ``outside``."""
    old = image.shape[axis]
    taken = np.take(image, np.clip(index, 0, old - 1), axis)
    beyond = ((index < 0) | (index >= old)).reshape([-1 if a == axis else 1 for a in range(image.ndim)])
    return np.asarray(np.where(beyond, np.float32(outside), taken))
