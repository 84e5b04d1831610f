"""Iteration spaces: boxes of indices, and how each memory is walked along their axes.

A :class:`Space` has the storage axes of a result (the lanes of a blocked layout are its last axis), or axes
that a lowering makes up. Every memory is a :class:`View` with one stride an axis, 0 where it is broadcast.
``merged`` joins neighbouring axes that all views walk as one: what is left of an elementwise kernel on
contiguous memory is a single axis, whatever its layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.ir.core import Op, Value
from netc.ir.dim import Dim
from netc.ir.layout import storage_shape
from netc.ir.loop_builder import Index, LoopBuilder
from netc.ir.types import TensorType

SOURCE = "<"  # the view of the anchor's operand


@dataclass(frozen=True, slots=True)
class View:
    """Memory with a stride for each axis of a space; ``offset`` is that of the element at the origin."""

    pointer: Value
    strides: tuple[Dim, ...]
    offset: Index = 0


class Space:
    """``extents`` of the axes, ``kinds`` (only axes of one kind are merged), ``views`` by name.

    It computes its extents and strides where it is made: in front of all loops.
    """

    def __init__(
        self,
        b: LoopBuilder,
        extents: Sequence[Dim],
        views: dict[str, View],
        kinds: Sequence[str] | None = None,
    ) -> None:
        self.b = b
        self.dims = tuple(extents)
        self.kinds = tuple(kinds) if kinds is not None else ("",) * len(self.dims)
        self.views = views
        self.extents: tuple[Index, ...] = tuple(b.dim(d) for d in self.dims)
        self._strides = {name: tuple(b.dim(d) for d in view.strides) for name, view in views.items()}

    def merged(self) -> Space:
        """The same space with as few axes as possible.

        Axes of extent 1 are left out, but at least one axis of each named kind stays.
        """
        axes: list[tuple[Dim, str, list[Dim]]] = []
        for axis in reversed(range(len(self.dims))):
            extent, kind = self.dims[axis], self.kinds[axis]
            strides = [v.strides[axis] for v in self.views.values()]
            if axes and axes[0][1] == kind:
                inner, _, inner_strides = axes[0]
                if extent == 1:
                    continue
                if inner == 1 or all(
                    outer == stride * inner for outer, stride in zip(strides, inner_strides, strict=True)
                ):
                    axes[0] = (extent * inner, kind, strides if inner == 1 else inner_strides)
                    continue
            elif extent == 1 and not kind:
                continue
            axes.insert(0, (extent, kind, strides))
        views = {
            name: View(view.pointer, tuple(a[2][i] for a in axes), view.offset)
            for i, (name, view) in enumerate(self.views.items())
        }
        return Space(self.b, [a[0] for a in axes], views, [a[1] for a in axes])

    def reordered(self, order: Sequence[int]) -> Space:
        """The space whose axis i is axis ``order[i]`` of this one."""
        views = {
            name: View(v.pointer, tuple(v.strides[i] for i in order), v.offset)
            for name, v in self.views.items()
        }
        return Space(self.b, [self.dims[i] for i in order], views, [self.kinds[i] for i in order])

    def of_kind(self, kind: str) -> list[int]:
        """The axes of a kind."""
        return [i for i, k in enumerate(self.kinds) if k == kind]

    def stride(self, name: str, axis: int) -> Index:
        """The stride of a view along an axis."""
        return self._strides[name][axis]

    def at(self, name: str, indices: Sequence[Index], axes: Sequence[int] | None = None) -> Index:
        """The offset of a view at indices along all axes, or along some of them."""
        strides = self._strides[name]
        chosen = strides if axes is None else [strides[a] for a in axes]
        return self.b.iadd(self.views[name].offset, self.b.linear(indices, chosen))

    def shifted(self, name: str, at: Index, axis: int, index: Index) -> Index:
        """An offset moved by an index along one axis."""
        return self.b.iadd(at, self.b.imul(index, self._strides[name][axis]))


def storage_axes(type_: TensorType) -> tuple[Dim, ...]:
    """The extents of the storage axes of a type."""
    return storage_shape(type_.shape, type_.layout)


def broadcast_strides(memory: Memory, result: TensorType) -> tuple[Dim, ...]:
    """Strides of an operand along the storage axes of the result that it broadcasts to."""
    strides = [
        0 if extent == 1 and whole != 1 else stride
        for extent, whole, stride in zip(
            memory.type.shape, result.shape, memory.stride_dims[: result.rank], strict=True
        )
    ]
    if result.layout is None:
        return tuple(strides)
    axis = result.layout.axis
    lanes = 1 if memory.type.layout is not None and strides[axis] != 0 else 0
    if memory.type.layout is None:
        strides[axis] = 0
    return (*strides, lanes)


def arguments_read(kernel: Kernel, ops: Sequence[Op]) -> list[str]:
    """The body arguments that some of the ops read, or that the body yields as they are."""
    values = [v for op in ops for v in op.operands] + list(kernel.body.results)
    return [name for name in dict.fromkeys(v.name for v in values) if name in kernel.arguments]


def result_views(kernel: Kernel, ops: Sequence[Op]) -> dict[str, View]:
    """Views along the storage axes of the result: arguments of elementwise ops by name, writes as ``>i``."""
    result = kernel.writes[0].type
    views = {
        name: View(kernel.arguments[name].pointer, broadcast_strides(kernel.arguments[name], result))
        for name in arguments_read(kernel, ops)
    }
    return views | {
        name: View(memory.pointer, broadcast_strides(memory, result))
        for name, memory in zip(write_names(kernel), kernel.writes, strict=True)
    }


def write_names(kernel: Kernel) -> list[str]:
    """The names of the views that are written."""
    return [f">{i}" for i in range(len(kernel.writes))]
