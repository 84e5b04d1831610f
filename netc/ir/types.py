"""The types of values at the three levels.

=========  ===============================================================  =====================
level      type                                                             text
=========  ===============================================================  =====================
tensor     :class:`TensorType`: dtype, shape, layout                        ``f32[N,3,8,8]{1:16}``
buffer     :class:`BufferType`: memory that holds one tensor                ``buffer f32[N,8]``
loop       :class:`ScalarType`, :class:`VectorType`, :class:`PointerType`   ``i64 f32x16 ptr<f32>``
=========  ===============================================================  =====================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, product, substitute, symbols
from netc.ir.layout import Layout, storage_elements, storage_shape

MAX_ELEMENTS = 2**31 - 1  # of a tensor: Caffe counts them in an int

DTYPE_BYTES: Mapping[str, int] = {
    "f32": 4,
    "f64": 8,
    "bf16": 2,
    "f16": 2,
    "i64": 8,
    "i32": 4,
    "i8": 1,
    "u8": 1,
    "i1": 1,
}


@dataclass(frozen=True, slots=True)
class TensorType:
    """An n-dimensional array: ``dtype`` (a key of :data:`DTYPE_BYTES`), shape, layout."""

    dtype: str
    shape: tuple[Dim, ...]
    layout: Layout = None

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def elements(self) -> Dim:
        """The number of logical elements."""
        return product(self.shape)

    @property
    def storage_bytes(self) -> Dim:
        """Bytes of memory, the layout's padding included."""
        return storage_elements(self.shape, self.layout) * DTYPE_BYTES[self.dtype]

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape as integers; ValueError if a dimension is a symbol."""
        if not all(isinstance(d, int) for d in self.shape):
            raise ValueError(f"the shape of {self} is symbolic")
        return tuple(d for d in self.shape if isinstance(d, int))

    def same_box(self, other: TensorType) -> bool:
        """Whether the elements lie alike, of whatever dtype."""
        return self.shape == other.shape and self.layout == other.layout

    def with_shape(self, *shape: Dim) -> TensorType:
        """The same dtype, row-major, another shape."""
        return TensorType(self.dtype, shape)

    def with_extent(self, axis: int, extent: Dim) -> TensorType:
        """The same tensor, longer or shorter along an axis."""
        return replace(self, shape=(*self.shape[:axis], extent, *self.shape[axis + 1 :]))

    def with_layout(self, layout: Layout) -> TensorType:
        """The same tensor, stored differently."""
        return replace(self, layout=layout)

    def __str__(self) -> str:
        layout = "" if self.layout is None else str(self.layout)
        return f"{self.dtype}[{','.join(map(str, self.shape))}]{layout}"


@dataclass(frozen=True, slots=True)
class BufferType:
    """Memory holding one tensor.

    ``strides`` (in elements, one per axis of the storage shape) is None where the storage is contiguous;
    a view of a part of another buffer has the strides of that buffer.
    """

    tensor: TensorType
    strides: tuple[Dim, ...] | None = None

    @property
    def storage_strides(self) -> tuple[Dim, ...]:
        """The strides, spelled out for contiguous storage too."""
        return self.strides if self.strides is not None else contiguous_strides(self.tensor)

    def __str__(self) -> str:
        strides = "" if self.strides is None else f" strides({','.join(map(str, self.strides))})"
        return f"buffer {self.tensor}{strides}"


@dataclass(frozen=True, slots=True)
class ScalarType:
    """One number; ``i64`` also serves as index, ``i1`` as condition."""

    dtype: str

    def __str__(self) -> str:
        return self.dtype


@dataclass(frozen=True, slots=True)
class VectorType:
    """``lanes`` numbers in one register."""

    dtype: str
    lanes: int

    def __str__(self) -> str:
        return f"{self.dtype}x{self.lanes}"


@dataclass(frozen=True, slots=True)
class PointerType:
    """The address of a run of numbers; loads and stores index it in elements."""

    dtype: str

    def __str__(self) -> str:
        return f"ptr<{self.dtype}>"


Type = TensorType | BufferType | ScalarType | VectorType | PointerType


def check_type(type_: Type) -> None:
    """OpError unless dtype and layout exist and there is at least one element."""
    if isinstance(type_, ScalarType | VectorType | PointerType) and type_.dtype not in DTYPE_BYTES:
        raise OpError(f"'{type_.dtype}' is not a dtype")
    if isinstance(type_, VectorType) and type_.lanes < 1:
        raise OpError(f"lanes must be >= 1, got {type_.lanes}")
    if isinstance(type_, BufferType):
        type_ = type_.tensor
    if not isinstance(type_, TensorType):
        return
    for extent in type_.shape:
        if isinstance(extent, int) and extent < 1:
            raise OpError(f"extents must be >= 1, got {type_}")
    layout = type_.layout
    if layout is not None and not (0 <= layout.axis < type_.rank and layout.size >= 2):
        raise OpError(f"a layout blocks one of the axes by 2 or more, got {type_}")


def contiguous_strides(tensor: TensorType) -> tuple[Dim, ...]:
    """Strides in elements of the row-major array that stores the tensor."""
    strides: list[Dim] = []
    total: Dim = 1
    for extent in reversed(storage_shape(tensor.shape, tensor.layout)):
        strides.append(total)
        total = total * extent
    return tuple(reversed(strides))


def substitute_type(type_: Type, values: Mapping[str, Dim]) -> Type:
    """Replace symbols in the shape of a tensor or buffer type."""
    if isinstance(type_, TensorType):
        return replace(type_, shape=tuple(substitute(d, values) for d in type_.shape))
    if isinstance(type_, BufferType):
        tensor = substitute_type(type_.tensor, values)
        assert isinstance(tensor, TensorType)
        strides = None if type_.strides is None else tuple(substitute(d, values) for d in type_.strides)
        return BufferType(tensor, strides)
    return type_


def type_symbols(type_: Type) -> frozenset[str]:
    """The symbols in the shape of a tensor or buffer type."""
    if isinstance(type_, BufferType):
        type_ = type_.tensor
    if not isinstance(type_, TensorType):
        return frozenset()
    return frozenset().union(*(symbols(d) for d in type_.shape))
