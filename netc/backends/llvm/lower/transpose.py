"""Kernels that change the order of elements: transposes, and conversions between layouts.

Memory is read along one axis and written along another. Square tiles of these two axes are loaded row by
row, transposed in registers, and stored row by row, so that both sides move whole registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.copy import copy_through, finish_element
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.registers import Place, Registers
from netc.backends.llvm.lower.space import (
    SOURCE,
    Space,
    View,
    arguments_read,
    result_views,
    storage_axes,
    write_names,
)
from netc.backends.llvm.lower.sweep import runs
from netc.ir.core import Op, Value
from netc.ir.dim import Dim
from netc.ir.layout import Blocked
from netc.ir.loop_builder import Index, LoopBuilder
from netc.ir.types import TensorType, VectorType

TILES_PER_ITEM = 16
PART = 4  # lanes of a 128-bit part of a register, within which shuffles are cheapest


# --- registers ---
def transposed(b: LoopBuilder, rows: Sequence[Value]) -> list[Value]:
    """The columns of a square of registers; the size is a power of two, 2 or more."""
    size = len(rows)
    if size == 2:
        return [b.shuffle(rows[0], rows[1], (0, 2)), b.shuffle(rows[0], rows[1], (1, 3))]
    # squares of 4 x 4 within the parts: column c of part p is now part p of quarter[c]
    quarters: list[list[Value]] = [[] for _ in range(PART)]
    for group in range(0, size, PART):
        for column, value in enumerate(_transposed_parts(b, rows[group : group + PART], size)):
            quarters[column].append(value)
    columns = [_transposed_units(b, quarter, PART) for quarter in quarters]
    return [columns[i % PART][i // PART] for i in range(size)]


def _transposed_parts(b: LoopBuilder, rows: Sequence[Value], size: int) -> list[Value]:
    """Transpose 4 rows within each part of 4 lanes."""

    def within_parts(x: Value, y: Value, lanes: tuple[int, int, int, int]) -> Value:
        wanted = [lane if lane < PART else lane - PART + size for lane in lanes]
        return b.shuffle(x, y, [part + lane for part in range(0, size, PART) for lane in wanted])

    low = [within_parts(rows[i], rows[i + 1], (0, 4, 1, 5)) for i in (0, 2)]
    high = [within_parts(rows[i], rows[i + 1], (2, 6, 3, 7)) for i in (0, 2)]
    halves = ((0, 1, 4, 5), (2, 3, 6, 7))
    return [within_parts(pair[0], pair[1], lanes) for pair in (low, high) for lanes in halves]


def _transposed_units(b: LoopBuilder, rows: Sequence[Value], unit: int) -> list[Value]:
    """Transpose a square whose elements are runs of ``unit`` lanes."""
    if len(rows) == 1:
        return [rows[0]]
    from_pairs: list[list[Value]] = [[], []]
    type_ = rows[0].type
    assert isinstance(type_, VectorType)
    count = type_.lanes // unit
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        for parity in (0, 1):
            lanes = [u * unit + i for u in range(parity, 2 * count, 2) for i in range(unit)]
            from_pairs[parity].append(b.shuffle(first, second, lanes))
    even, odd = (_transposed_units(b, half, unit) for half in from_pairs)
    return [value for pair in zip(even, odd, strict=True) for value in pair]


# --- tiles ---
@dataclass(frozen=True, slots=True)
class _Partial:
    """In the last block of axis ``block``, only ``count`` elements of axis ``axis`` exist."""

    block: int
    axis: int
    count: Index


class _Tiles(Registers):
    """The space's last two axes are the one that the source is contiguous along, and that of the result.

    ``padded``: the result has room for whole tiles along its axis, and wants zeros there. ``flat``: both are
    contiguous along the last axis, and there is nothing to transpose.
    """

    def __init__(
        self,
        kernel: Kernel,
        anchor: Op,
        tail: Sequence[Op],
        space: Space,
        size: int,
        partial: _Partial | None = None,
        *,
        padded: bool = False,
        flat: bool = False,
    ) -> None:
        self.across, self.along = len(space.dims) - 2, len(space.dims) - 1
        super().__init__(kernel, anchor, tail, space, self.along, size)
        self.partial = partial
        self.padded = padded
        self.flat = flat

    def emit(self) -> None:
        b, space = self.b, self.space
        outer = list(space.extents[:-2])
        chunks = [self.chunk(self.across), self.chunk(self.along)]
        counts = [b.ceildiv(space.extents[axis], c) for axis, c in zip((-2, -1), chunks, strict=True)]
        first, last = self.kernel.share(b.iproduct([*outer, *counts]))
        with b.loop(first, last) as item:
            *indices, across, along = b.split(item.index, [*outer, *counts])
            start = [b.imul(across, chunks[0]), b.imul(along, chunks[1])]
            count = [
                b.at_most(chunk, space.extents[axis], begin)
                for axis, chunk, begin in zip((-2, -1), chunks, start, strict=True)
            ]
            place = {name: space.at(name, [*indices, *start]) for name in space.views}
            self.by_blocks(indices, place, count)

    def chunk(self, axis: int) -> int:
        """Many tiles along one axis, one along the other."""
        other = self.space.dims[self.across + self.along - axis]
        short = isinstance(other, int) and other <= self.size
        return self.size * TILES_PER_ITEM if short or axis == self.along else self.size

    def by_blocks(self, indices: Sequence[Index], place: Place, count: list[Index]) -> None:
        """Whole blocks, and the last one with what exists of it."""
        b, partial = self.b, self.partial
        extents = list(self.space.extents[-2:])
        if partial is None:
            self.tiles(place, count, extents)
            return
        last = b.isub(self.space.extents[partial.block], 1)
        with b.when(b.icompare("lt", indices[partial.block], last)):
            self.tiles(place, count, extents)
        count[partial.axis - self.across] = extents[partial.axis - self.across] = partial.count
        with b.when(b.icompare("eq", indices[partial.block], last)):
            self.tiles(place, count, extents)

    def tiles(self, place: Place, count: Sequence[Index], extents: Sequence[Index]) -> None:
        """``count`` elements along both axes, a part of ``extents``."""

        def columns(start: Index, _count: int, rest: Index | None) -> None:
            here = self.moved(place, self.across, start)

            def rows(begin: Index, _count: int, end: Index | None) -> None:
                there = self.moved(here, self.along, begin)
                self.tile(there, self.size if rest is None else rest, self.size if end is None else end)

            runs(self.b, count[1], self.size, 1, rows, extents[1])

        runs(self.b, count[0], self.size, 1, columns, extents[0])

    def tile(self, place: Place, across: Index, along: Index) -> None:
        """One square: ``along`` rows of ``across`` elements of the source exist."""
        b, size = self.b, self.size
        stored = size if self.padded else along
        if self.flat:
            self.finish(self.source(place, along), place, stored)
            return
        rows = [self.row(place, i, across, along) for i in range(size)]
        for j, column in enumerate(transposed(b, rows)):
            with b.when(b.icompare("lt", j, across)):
                self.finish(column, self.moved(place, self.across, j), stored)

    def row(self, place: Place, i: int, across: Index, along: Index) -> Value:
        b, size = self.b, self.size
        exists = b.icompare("lt", i, along)
        zero = b.const(0.0, self.type)
        if exists is False:
            return zero
        # a row that does not exist is read from the last one that does
        index = i if exists is True else b.imin(i, b.isub(along, 1))
        at = self.space.shifted(SOURCE, place[SOURCE], self.along, index)
        value = b.load_first(self.space.views[SOURCE].pointer, at, across, size)
        return b.select(exists, value, zero) if self.padded else value


# --- tensor.transpose ---
def lower_transpose(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.transpose``."""
    x = kernel.operand(anchor.operands[0])
    views = result_views(kernel, tail)
    views[SOURCE] = View(x.pointer, tuple(x.stride_dims[axis] for axis in anchor.attrs.perm))
    space = Space(kernel.b, kernel.writes[0].type.shape, views).merged()
    rank = len(space.dims)
    contiguous = [axis for axis in range(rank) if space.stride(SOURCE, axis) == 1]
    if not contiguous or contiguous[0] == rank - 1 or not _along_last(kernel, space, tail):
        copy_through(kernel, anchor, tail, space)
        return
    across = contiguous[0]
    order = [axis for axis in range(rank) if axis not in (across, rank - 1)]
    space = space.reordered([*order, across, rank - 1])
    _Tiles(kernel, anchor, tail, space, kernel.target.lanes).emit()


def _along_last(kernel: Kernel, space: Space, tail: Sequence[Op]) -> bool:
    """Whether results, and what the elementwise ops read, can be moved as registers along the last axis."""
    last = len(space.dims) - 1
    return all(space.stride(n, last) == 1 for n in write_names(kernel)) and all(
        space.stride(n, last) in (0, 1) for n in arguments_read(kernel, tail)
    )


# --- layout.convert ---
def lower_convert(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``layout.convert``."""
    x, y = kernel.operand(anchor.operands[0]), kernel.writes[0]
    if x.type.layout == y.type.layout:
        views = result_views(kernel, tail) | {SOURCE: View(x.pointer, x.stride_dims)}
        copy_through(kernel, anchor, tail, Space(kernel.b, storage_axes(y.type), views).merged())
    elif x.type.layout is not None and y.type.layout is not None:
        _convert_by_elements(kernel, anchor, tail)
    elif y.type.layout is not None:
        _to_blocked(kernel, anchor, tail, x, y.type.layout)
    else:
        assert x.type.layout is not None
        _from_blocked(kernel, anchor, tail, x, x.type.layout)


def _partial_count(kernel: Kernel, extent: Dim, size: int) -> Index | None:
    """How many elements the last block holds; None where all blocks are whole."""
    if isinstance(extent, int):
        return extent % size or None
    b = kernel.b
    return b.iadd(b.irem(b.isub(b.dim(extent), 1), size), 1)


def _to_blocked(kernel: Kernel, anchor: Op, tail: Sequence[Op], x: Memory, layout: Blocked) -> None:
    type_, axis, size = kernel.writes[0].type, layout.axis, layout.size
    strides = list(x.stride_dims)
    step = strides[axis]
    strides[axis] = step * size
    views = result_views(kernel, tail)
    views[SOURCE] = View(x.pointer, (*strides, step))
    _convert(kernel, anchor, tail, _blocked_space(kernel, type_, views), layout, padded=True)


def _from_blocked(kernel: Kernel, anchor: Op, tail: Sequence[Op], x: Memory, layout: Blocked) -> None:
    axis, size = layout.axis, layout.size

    def cut(strides: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """Strides of a row-major memory along the source's storage axes."""
        return (*strides[:axis], strides[axis] * size, *strides[axis + 1 :], strides[axis])

    views = {n: View(v.pointer, cut(v.strides)) for n, v in result_views(kernel, tail).items()}
    views[SOURCE] = View(x.pointer, x.stride_dims)
    _convert(kernel, anchor, tail, _blocked_space(kernel, x.type, views), layout, padded=False)


def _blocked_space(kernel: Kernel, blocked: TensorType, views: dict[str, View]) -> Space:
    """The space of a blocked storage, with at least one axis between the blocks and the lanes."""
    assert blocked.layout is not None
    *extents, lanes = storage_axes(blocked)
    axis = blocked.layout.axis
    inner = blocked.rank - axis - 1
    views = {n: View(v.pointer, (*v.strides[:-1], 0, v.strides[-1]), v.offset) for n, v in views.items()}
    kinds = [""] * axis + ["block"] + ["inner"] * (inner + 1) + ["lanes"]
    return Space(kernel.b, (*extents, 1, lanes), views, kinds)


def _convert(
    kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space, layout: Blocked, *, padded: bool
) -> None:
    """The axes of the space are those of the blocked storage; ``padded``: the result is the blocked side."""
    count = _partial_count(kernel, kernel.writes[0].type.shape[layout.axis], layout.size)
    space = space.merged()
    across, lanes = len(space.dims) - 2, len(space.dims) - 1
    block = space.kinds.index("block")
    flat = space.dims[across] == 1 and space.stride(SOURCE, lanes) == 1 and _along_last(kernel, space, tail)
    if not flat and not padded:
        space = space.reordered([*range(across), lanes, across])
    readable = flat or space.stride(SOURCE, across) == 1 or space.dims[across] == 1
    if layout.size & (layout.size - 1) or not readable or not _along_last(kernel, space, tail):
        _convert_by_elements(kernel, anchor, tail)
        return
    partial = None
    if count is not None:
        partial = _Partial(block, lanes if flat or padded else across, count)
    _Tiles(kernel, anchor, tail, space, layout.size, partial, padded=padded, flat=flat).emit()


def _convert_by_elements(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Element by element: two blocked layouts, or memory whose gaps do not fit tiles."""
    b = kernel.b
    x, y = kernel.operand(anchor.operands[0]), kernel.writes[0].type
    space = Space(b, storage_axes(y), result_views(kernel, tail))
    first, last = kernel.share(b.iproduct(space.extents))
    with b.loop(first, last) as loop:
        stored = b.split(loop.index, space.extents)
        logical = stored[: y.rank]
        exists: Value | bool = True
        if y.layout is not None:
            axis, extent = y.layout.axis, b.dim(y.shape[y.layout.axis])
            position = b.iadd(b.imul(stored[axis], y.layout.size), stored[-1])
            exists = b.icompare("lt", position, extent)
            logical[axis] = b.imin(position, b.isub(extent, 1))
        source = logical
        if x.type.layout is not None:
            axis, size = x.type.layout.axis, x.type.layout.size
            source = [*logical, b.irem(logical[axis], size)]
            source[axis] = b.idiv(logical[axis], size)
        value = b.load(x.pointer, b.linear(source, x.strides))
        value = b.select(exists, value, b.const(0.0, "f32"))
        finish_element(kernel, anchor, tail, space, stored, value)
