"""The blobs that a Python layer's methods get: arrays with a shape that ``reshape`` changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from netc.ir.opdef import Array

LEGACY_AXES = 4


class LayerBlob:
    """``data`` and ``diff`` are arrays that stay where they are until the blob gets another size."""

    def __init__(self, shape: tuple[int, ...] | None = None) -> None:
        self._shape = shape
        self._dtype = np.dtype(np.float32)
        self._data: Array | None = None
        self._diff: Array | None = None

    def __repr__(self) -> str:
        return f"<blob {'x'.join(map(str, self.shape)) if self.is_shaped else 'without a shape'}>"

    @property
    def is_shaped(self) -> bool:
        """Whether the blob has got a shape."""
        return self._shape is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents."""
        if self._shape is None:
            raise ValueError("the blob has no shape yet: reshape it first")
        return self._shape

    @property
    def data(self) -> Array:
        """The values; assign with ``data[...] =``."""
        if self._data is None:
            self._data = np.zeros(self.shape, self._dtype)
        return self._data

    @property
    def diff(self) -> Array:
        """The gradient; assign with ``diff[...] =``."""
        if self._diff is None:
            self._diff = np.zeros(self.shape, self._dtype)
        return self._diff

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def num(self) -> int:
        """The first of four extents."""
        return self._extent(0)

    @property
    def channels(self) -> int:
        """The second of four extents; 1 if there are fewer."""
        return self._extent(1)

    @property
    def height(self) -> int:
        """The third of four extents; 1 if there are fewer."""
        return self._extent(2)

    @property
    def width(self) -> int:
        """The last of four extents; 1 if there are fewer."""
        return self._extent(3)

    def reshape(self, *shape: Any) -> None:
        """Another shape: extents, or one sequence of them. The values stay if there are as many as before."""
        given = shape[0] if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
        extents = tuple(given)
        if not all(isinstance(e, int | np.integer) and not isinstance(e, bool) and e >= 1 for e in extents):
            raise ValueError(f"a blob cannot have the shape {extents}: extents are whole numbers from 1")
        self._resize(tuple(map(int, extents)))

    def load(self, array: Array) -> None:
        """Take over values, their shape and their dtype."""
        self.use(array.dtype)
        self._resize(array.shape)
        self.data[...] = array

    def use(self, dtype: np.dtype[Any]) -> None:
        """Hold numbers of a dtype from now on."""
        if dtype != self._dtype:
            self._dtype, self._data, self._diff = dtype, None, None

    def _resize(self, shape: tuple[int, ...]) -> None:
        if shape == self._shape:
            return
        same = self._shape is not None and math.prod(shape) == math.prod(self._shape)
        self._data = self._data.reshape(shape) if same and self._data is not None else None
        self._diff = None
        self._shape = shape

    def _extent(self, axis: int) -> int:
        if len(self.shape) > LEGACY_AXES:
            raise ValueError(f"a blob of shape {self.shape} has no num, channels, height, width")
        return self.shape[axis] if axis < len(self.shape) else 1


class ParamBlobs(list[LayerBlob]):
    """The parameters of a layer; ``setup`` adds them."""

    def add_blob(self, *shape: Any) -> None:
        """Add a parameter of zeros."""
        blob = LayerBlob()
        blob.reshape(*shape)
        self.append(blob)
