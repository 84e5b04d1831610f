"""Runs an elementwise computation over a space: registers along the last axis, work shared by chunks.

The space should be merged. An item of work is a run along the last axis; where that axis is short (a few
registers), a run along the last but one, so that what does not change along it is loaded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.space import Space
from netc.ir.core import Value
from netc.ir.loop_builder import Index, LoopBuilder

# registers by the name of their view -> the values to write
Compute = Callable[[Mapping[str, Value]], Sequence[Value]]

CHUNK_VECTORS = 64
WANTED_ITEMS = 64
SHORT_AXIS_VECTORS = 4


def sweep(
    kernel: Kernel,
    space: Space,
    reads: Sequence[str],
    writes: Sequence[str],
    compute: Compute,
    unroll: int = 4,
    positions: str | None = None,
) -> None:
    """Load ``reads``, ``compute``, store to ``writes``, for every element of the space.

    Of the view ``positions``, if given, the offsets are what is computed with, not the elements.
    """
    _Sweep(kernel, space, reads, writes, compute, unroll, positions).emit()


def register_lanes(lanes: int, extent: object) -> int:
    """The lanes of registers along an axis: those of the machine, or a whole short axis."""
    if isinstance(extent, int) and extent > 1 and extent & (extent - 1) == 0 and extent < 2 * lanes:
        return extent
    return lanes


def runs(
    b: LoopBuilder,
    count: Index,
    size: int,
    unroll: int,
    emit: Callable[[Index, int, Index | None], None],
    whole: Index,
) -> None:
    """Cut ``count`` positions into registers: ``emit(first position, registers, positions of the last)``.

    The last argument is None where all registers are full. The positions are a part, beginning at a multiple
    of ``size``, of an axis of extent ``whole``; if that is known, so is what is left for the last register.
    """
    wide = size * unroll
    unrolled = b.imul(b.idiv(count, wide), wide)
    with b.loop(0, unrolled, wide) as loop:
        emit(loop.index, unroll, None)
    full = b.imul(b.idiv(count, size), size)
    if unroll > 1:
        with b.loop(unrolled, full, size) as loop:
            emit(loop.index, 1, None)
    rest = b.isub(count, full)
    known = whole % size if isinstance(whole, int) else rest
    if size > 1 and known != 0:
        with b.when(b.icompare("gt", rest, 0)):
            emit(full, 1, known)


@dataclass(frozen=True, slots=True)
class _Cell:
    """One register: its position along the walked axis, its first column, how many lanes exist."""

    position: int
    column: int
    count: Index | None


class _Sweep:
    def __init__(
        self,
        kernel: Kernel,
        space: Space,
        reads: Sequence[str],
        writes: Sequence[str],
        compute: Compute,
        unroll: int,
        positions: str | None,
    ) -> None:
        self.positions = positions
        self.kernel = kernel
        self.b = kernel.b
        self.space = space
        self.reads = reads
        self.writes = writes
        self.compute = compute
        self.unroll = unroll
        self.lanes = self.choose_lanes()

    def choose_lanes(self) -> int:
        """0 (scalars) where some memory has gaps along the last axis."""
        space = self.space
        if not space.dims:
            return 0
        last = len(space.dims) - 1
        loaded = [n for n in self.reads if n != self.positions]
        if any(space.stride(n, last) not in (0, 1) for n in loaded) or any(
            space.stride(n, last) != 1 for n in self.writes
        ):
            return 0
        return register_lanes(self.kernel.target.lanes, space.dims[last])

    def emit(self) -> None:
        b, space = self.b, self.space
        if not space.dims:
            first, last = self.kernel.share(1)
            with b.loop(first, last):
                self.cells({n: space.at(n, []) for n in space.views}, [_Cell(0, 0, None)], {})
            return
        short = self.columns()
        depth = len(space.dims) - (1 if short is None else 2)
        walked = space.extents[depth]
        size = max(self.lanes, 1) if short is None else 1
        chunk = self.chunk(depth, size)
        chunks = b.ceildiv(walked, chunk)
        outer = list(space.extents[:depth])
        first, last = self.kernel.share(b.iproduct([*outer, chunks]))
        with b.loop(first, last) as item:
            *indices, part = b.split(item.index, [*outer, chunks])
            start = b.imul(part, chunk)
            at = {n: space.at(n, [*indices, start], range(depth + 1)) for n in space.views}
            count = b.at_most(chunk, walked, start)
            if short is None:
                self.walk_registers(at, count)
            else:
                self.walk_positions(at, count, short)

    def columns(self) -> list[_Cell] | None:
        """The registers that cover a short last axis; None where it is long or the only one."""
        extent = self.space.dims[-1]
        size = max(self.lanes, 1)
        if len(self.space.dims) < 2 or not isinstance(extent, int) or extent > SHORT_AXIS_VECTORS * size:
            return None
        cells = []
        for column in range(0, extent, size):
            count = min(size, extent - column)
            cells.append(_Cell(0, column, None if count == size else count))
        return cells

    def chunk(self, depth: int, size: int) -> int:
        """How many positions along the walked axis an item has: enough items, none too small."""
        walked = self.space.dims[depth]
        unit = size * self.unroll
        if not isinstance(walked, int):
            return CHUNK_VECTORS * size
        outer = math.prod(d for d in self.space.dims[:depth] if isinstance(d, int))
        wanted = max(1, WANTED_ITEMS // outer)
        even = -(-walked // wanted)
        return min(CHUNK_VECTORS * size, max(2 * unit, -(-even // unit) * unit))

    # --- the two ways to walk ---
    def walk_registers(self, at: dict[str, Index], count: Index) -> None:
        b = self.b
        axis = len(self.space.dims) - 1
        fixed = self.invariants(at, axis, [_Cell(0, 0, None)])

        def emit(start: Index, registers: int, rest: Index | None) -> None:
            here = {n: self.space.shifted(n, a, axis, start) for n, a in at.items()}
            size = max(self.lanes, 1)
            self.cells(here, [_Cell(i * size, 0, rest) for i in range(registers)], fixed)

        runs(b, count, max(self.lanes, 1), self.unroll, emit, self.space.extents[axis])

    def walk_positions(self, at: dict[str, Index], count: Index, columns: list[_Cell]) -> None:
        axis = len(self.space.dims) - 2
        fixed = self.invariants(at, axis, columns)
        unroll = max(1, self.unroll // len(columns))

        def emit(start: Index, positions: int, _rest: Index | None) -> None:
            here = {n: self.space.shifted(n, a, axis, start) for n, a in at.items()}
            self.cells(here, [_Cell(p, c.column, c.count) for p in range(positions) for c in columns], fixed)

        runs(self.b, count, 1, unroll, emit, self.space.extents[axis])

    def invariants(
        self, at: Mapping[str, Index], axis: int, columns: Sequence[_Cell]
    ) -> dict[tuple[str, int], Value]:
        """Registers that stay the same along an axis, by view and column."""
        return {
            (n, c.column): self.load(n, at[n], c)
            for n in self.reads
            if self.space.stride(n, axis) == 0
            for c in columns
        }

    # --- registers ---
    def cells(
        self, at: Mapping[str, Index], cells: Sequence[_Cell], fixed: Mapping[tuple[str, int], Value]
    ) -> None:
        """Load all registers, then compute and store one after the other."""
        loaded = []
        for cell in cells:
            registers = {}
            for name in self.reads:
                known = fixed.get((name, cell.column))
                registers[name] = self.load(name, at[name], cell) if known is None else known
            loaded.append(registers)
        for cell, registers in zip(cells, loaded, strict=True):
            for name, value in zip(self.writes, self.compute(registers), strict=True):
                self.store(name, at[name], cell, self.b.splat(value, self.lanes))

    def place(self, name: str, at: Index, cell: _Cell) -> Index:
        """The offset of a register; ``at`` is the offset of position 0 of the walked axis, column 0."""
        space, b = self.space, self.b
        last = len(space.dims) - 1
        if last < 0:
            return at
        walked = last if self.columns() is None else last - 1
        at = b.iadd(at, b.imul(cell.position, space.stride(name, walked)))
        return b.iadd(at, b.imul(cell.column, space.stride(name, last)))

    def load(self, name: str, at: Index, cell: _Cell) -> Value:
        b = self.b
        pointer = self.space.views[name].pointer
        offset = self.place(name, at, cell)
        if name == self.positions:
            return self.numbered(offset)
        if not self.lanes or self.space.stride(name, len(self.space.dims) - 1) == 0:
            return b.splat(b.load(pointer, offset), self.lanes)
        if cell.count is None:
            return b.load(pointer, offset, self.lanes)
        return b.load_first(pointer, offset, cell.count, self.lanes)

    def numbered(self, offset: Index) -> Value:
        """The offsets of a register's elements."""
        b, last = self.b, len(self.space.dims) - 1
        first = b.splat(b.value(offset), self.lanes)
        if not self.lanes:
            return first
        assert self.positions is not None
        step = b.splat(b.value(self.space.stride(self.positions, last)), self.lanes)
        return b.add(first, b.mul(b.lane_numbers(self.lanes), step))

    def store(self, name: str, at: Index, cell: _Cell, value: Value) -> None:
        pointer = self.space.views[name].pointer
        offset = self.place(name, at, cell)
        if cell.count is None or not self.lanes:
            self.b.store(value, pointer, offset)
        else:
            self.b.store_first(value, pointer, offset, cell.count)
