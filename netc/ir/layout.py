"""Layouts: how the elements of a tensor lie in memory. The meaning of a value never depends on it.

A layout is part of a tensor's type. Row-major is None. ``Blocked(axis, size)`` cuts one axis into blocks
and stores the position inside a block last: ``[N, C, H, W]`` blocked by 16 on axis 1 is stored as
``[N, ceil(C/16), H, W, 16]``; elements beyond C are padding whose content is unspecified but zero after
:func:`pack`. Activations use axis 1 (channels), weights axis 0 (output channels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netc.ir.dim import Dim, ceildiv, product


@dataclass(frozen=True, slots=True)
class Blocked:
    """``size`` consecutive elements of ``axis`` lie next to each other."""

    axis: int
    size: int

    def __str__(self) -> str:
        return f"{{{self.axis}:{self.size}}}"


Layout = Blocked | None


def storage_shape(shape: tuple[Dim, ...], layout: Layout) -> tuple[Dim, ...]:
    """The shape of the row-major array that holds a tensor of this shape and layout."""
    if layout is None:
        return shape
    blocked = list(shape)
    blocked[layout.axis] = ceildiv(shape[layout.axis], layout.size)
    return (*blocked, layout.size)


def storage_elements(shape: tuple[Dim, ...], layout: Layout) -> Dim:
    """How many elements the storage holds, padding included."""
    return product(storage_shape(shape, layout))


def pack(array: npt.NDArray[np.generic], layout: Layout) -> npt.NDArray[np.generic]:
    """The storage of a logical array: contiguous, padding zero. Row-major arrays are not copied."""
    if layout is None:
        return np.asarray(array, order="C")
    axis, size = layout.axis, layout.size
    extent = array.shape[axis]
    blocks = -(-extent // size)
    if blocks * size != extent:
        padding = [(0, 0)] * array.ndim
        padding[axis] = (0, blocks * size - extent)
        array = np.pad(array, padding)
    split = array.reshape(*array.shape[:axis], blocks, size, *array.shape[axis + 1 :])
    return np.ascontiguousarray(np.moveaxis(split, axis + 1, -1))


def unpack(
    storage: npt.NDArray[np.generic], shape: tuple[int, ...], layout: Layout
) -> npt.NDArray[np.generic]:
    """The logical array of a storage; the inverse of :func:`pack`."""
    if layout is None:
        return storage.reshape(shape)
    axis, size = layout.axis, layout.size
    stored = tuple(int(str(d)) for d in storage_shape(shape, layout))
    merged = np.moveaxis(storage.reshape(stored), -1, axis + 1)
    merged = merged.reshape(*shape[:axis], stored[axis] * size, *shape[axis + 1 :])
    return np.ascontiguousarray(np.take(merged, range(shape[axis]), axis=axis))
