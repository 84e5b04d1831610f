"""Blobs as Caffe's Python interface shows them: arrays that stay where they are, with a shape and a diff."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.pycaffe.parameters import ParamSlot, Shape
from netc.runtime.memory import Array, aligned_zeros
from netc.runtime.shapes import show_shape

LEGACY_AXES = 4


class Storage:
    """The memory of a blob; it is allocated when somebody looks. Gradients begin as ``loss_weight``."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.loss_weight = 0.0
        self._data: Array | None = None
        self._diff: Array | None = None

    @property
    def data(self) -> Array:
        """The values: the same array until the blob gets another shape."""
        if self._data is None:
            self._data = aligned_zeros(self.shape, what="a blob")
        return self._data

    @property
    def diff(self) -> Array:
        """The gradient."""
        if self._diff is None:
            self._diff = aligned_zeros(self.shape, what="the gradient of a blob")
            self._diff.fill(self.loss_weight)
        return self._diff

    def set_diff(self, array: Array) -> None:
        """Have the gradient in an array of the blob's shape."""
        self._diff = array

    def resize(self, shape: Shape) -> None:
        """Another shape. The values stay if there are as many as before, else they become zeros."""
        if shape == self.shape:
            return
        same = math.prod(shape) == math.prod(self.shape)
        self._data = self._data.reshape(shape) if same and self._data is not None else None
        self._diff = None
        self.shape = shape

    def write(self, array: Array) -> None:
        """Take over values, and their shape."""
        self.resize(array.shape)
        self.data[...] = array


def nothing() -> None:
    """For blobs that are what they are when somebody looks."""


class Blob:
    """A blob of a net. ``before_read`` and ``before_diff`` are called before its memory is handed out."""

    def __init__(
        self, storage: Storage, before_read: Callable[[], None], before_diff: Callable[[], None] = nothing
    ) -> None:
        self._storage = storage
        self._before_read = before_read
        self._before_diff = before_diff

    def __repr__(self) -> str:
        return f"<Blob {show_shape(self.shape)}>"

    @property
    def data(self) -> Array:
        """The values, float32: a view that the next forward pass writes into. Assign with ``data[...] =``."""
        self._before_read()
        return self._storage.data

    @property
    def diff(self) -> Array:
        """The gradient, float32: what the caller or the last way back wrote."""
        self._before_diff()
        return self._storage.diff

    @property
    def shape(self) -> Shape:
        """The extents."""
        return self._storage.shape

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def num(self) -> int:
        """The first of four extents."""
        return self._legacy_extent(0)

    @property
    def channels(self) -> int:
        """The second of four extents; 1 if there are fewer."""
        return self._legacy_extent(1)

    @property
    def height(self) -> int:
        """The third of four extents; 1 if there are fewer."""
        return self._legacy_extent(2)

    @property
    def width(self) -> int:
        """The last of four extents; 1 if there are fewer."""
        return self._legacy_extent(3)

    def reshape(self, *shape: int) -> None:
        """Give the blob another shape; what is computed from it follows in the next forward pass."""
        self._before_read()
        self._storage.resize(as_shape(shape))

    def _legacy_extent(self, axis: int) -> int:
        if len(self.shape) > LEGACY_AXES:
            raise NetcError(f"a blob of shape {show_shape(self.shape)} has no num, channels, height, width")
        return self.shape[axis] if axis < len(self.shape) else 1


class ParamBlob(Blob):
    """A parameter of a layer. Edits of ``data`` are seen by the next forward pass.

    As long as somebody holds the array, every pass looks for changes in it, at about 5 GB/s.
    """

    def __init__(
        self,
        slot: ParamSlot,
        shape: Shape,
        before_read: Callable[[], None],
        before_diff: Callable[[], None] = nothing,
    ) -> None:
        super().__init__(Storage(shape), before_read, before_diff)
        self.slot = slot

    def add_diff(self, array: Array) -> None:
        """Add a gradient."""
        self._storage.diff[...] += array.reshape(self.shape)

    def write_diff(self, array: Array) -> None:
        """Take over a gradient."""
        self._storage.diff[...] = array.reshape(self.shape)

    def share_diff(self, array: Array) -> None:
        """Have the gradient in an array from now on; layers that share a parameter share it then."""
        self._storage.set_diff(array.reshape(self.shape))

    @property
    def data(self) -> Array:
        """The values, float32; layers that share a parameter have the same memory."""
        self._before_read()
        return self.slot.lend().reshape(self.shape)

    def reshape(self, *shape: int) -> None:
        """Refused, but for the shape it has: the layer fixes the shape of its parameters."""
        if as_shape(shape) != self.shape:
            raise NetcError(
                f"a parameter of shape {show_shape(self.shape)} cannot become {show_shape(shape)}",
                remedy="change the layer in the net's definition",
            )


def as_shape(given: tuple[object, ...]) -> Shape:
    """A shape as the caller wrote it: extents, or one sequence of them."""
    extents = given
    if len(given) == 1 and isinstance(given[0], tuple | list | np.ndarray):
        extents = tuple(given[0])
    shape = []
    for extent in extents:
        if not isinstance(extent, int | np.integer) or isinstance(extent, bool) or extent < 1:
            raise NetcError(f"a blob cannot have the shape {show_shape(extents)}: extents are numbers from 1")
        shape.append(int(extent))
    return tuple(shape)
