"""Local response normalisation across channels; memory is touched once.

Blocked: lanes are channels, and the squares of the neighbours are shifted in from the registers of the
adjacent blocks. Row-major: registers run over positions, and the squares of the window wait in registers
while it slides over the channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower import math
from netc.backends.llvm.lower.copy import SOURCE, write_names
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.point import apply
from netc.backends.llvm.lower.space import Space, View, arguments_read, result_views, storage_axes
from netc.backends.llvm.lower.sweep import runs
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index

POSITIONS = 32
CHUNK_VECTORS = 4
UNROLL = 2


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.lrn``."""
    x = kernel.operand(anchor.operands[0])
    views = result_views(kernel, tail) | {SOURCE: View(x.pointer, x.stride_dims)}
    blocked = x.type.layout is not None
    kinds = ["", "channels", *["inner"] * (x.type.rank - 2), *["lanes"] * blocked]
    extents = storage_axes(x.type)
    if x.type.rank == 2:
        # one position: an axis for it
        views = {n: View(v.pointer, (*v.strides[:2], 0, *v.strides[2:]), v.offset) for n, v in views.items()}
        kinds.insert(2, "inner")
        extents = (*extents[:2], 1, *extents[2:])
    space = Space(kernel.b, extents, views, kinds).merged()
    # all but the last of the inner axes are walked outside of the channels
    rank = len(space.dims)
    own = [space.kinds.index("channels"), rank - 2 if blocked else rank - 1, *([rank - 1] if blocked else [])]
    space = space.reordered([*[i for i in range(rank) if i not in own], *own])
    (_Blocked if blocked else _RowMajor)(kernel, anchor, tail, space).emit()


class _Lrn:
    """What both layouts share. ``outer`` axes come first, then channels, positions, and lanes."""

    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space) -> None:
        self.kernel = kernel
        self.b = kernel.b
        self.anchor = anchor
        self.tail = tail
        self.space = space
        self.reads = arguments_read(kernel, tail)
        self.writes = write_names(kernel)
        self.outer = space.kinds.index("channels")
        self.channels, self.positions = self.outer, self.outer + 1
        self.half = anchor.attrs.size // 2
        self.lanes = 0

    def emit(self) -> None:
        """Share images and runs of positions."""
        b, space = self.b, self.space
        chunk = self.chunk()
        chunks = b.ceildiv(space.extents[self.positions], chunk)
        outer = space.extents[: self.outer]
        total: Index = chunks
        for extent in outer:
            total = b.imul(total, extent)
        first, last = self.kernel.share(total)
        with b.loop(first, last) as item:
            *indices, part = b.split(item.index, [*outer, chunks])
            start = b.imul(part, chunk)
            axes = [*range(self.outer), self.positions]
            at = {n: space.at(n, [*indices, start], axes) for n in space.views}
            extent = space.dims[self.positions]
            left = b.isub(space.extents[self.positions], start)
            self.run(at, chunk if isinstance(extent, int) and extent % chunk == 0 else b.imin(chunk, left))

    def chunk(self) -> int:
        """How many positions an item of work has."""
        raise NotImplementedError

    def run(self, at: dict[str, Index], count: Index) -> None:
        """All channels at some positions."""
        raise NotImplementedError

    def moved(self, at: dict[str, Index], axis: int, index: Index) -> dict[str, Index]:
        return {n: self.space.shifted(n, a, axis, index) for n, a in at.items()}

    def sum(self, values: Sequence[Value]) -> Value:
        """Added up as a tree."""
        values = list(values)
        while len(values) > 1:
            pairs = [self.b.add(x, y) for x, y in zip(values[::2], values[1::2], strict=False)]
            values = pairs + values[len(pairs) * 2 :]
        return values[0]

    def normalised(self, x: Value, squares: Value) -> Value:
        """x / (k + alpha / size * squares) ^ beta."""
        b, attrs = self.b, self.anchor.attrs
        base = b.fma(squares, b.like(attrs.alpha / attrs.size, x), b.like(attrs.k, x))
        if attrs.beta >= 0 and math.is_product(attrs.beta):
            return b.div(x, math.power(b, base, attrs.beta))
        return b.mul(x, math.power(b, base, -attrs.beta))

    def load(self, name: str, at: Index, count: Index | None, axis: int) -> Value:
        """A register along ``axis``; 0 in lanes that do not exist."""
        b, pointer = self.b, self.space.views[name].pointer
        if not self.lanes or self.space.stride(name, axis) == 0:
            return b.splat(b.load(pointer, at), self.lanes)
        return b.load_first(pointer, at, self.lanes if count is None else count, self.lanes)

    def finish(self, value: Value, at: dict[str, Index], count: Index | None, axis: int) -> None:
        """The elementwise ops, and the store."""
        known = {self.anchor.result.name: value}
        known |= {name: self.load(name, at[name], count, axis) for name in self.reads}
        values = apply(self.b, self.tail, known, self.kernel.body.results)
        for name, result in zip(self.writes, values, strict=True):
            pointer = self.space.views[name].pointer
            if self.lanes:
                self.b.store_first(result, pointer, at[name], self.lanes if count is None else count)
            else:
                self.b.store(result, pointer, at[name])


class _RowMajor(_Lrn):
    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space) -> None:
        super().__init__(kernel, anchor, tail, space)
        fits = all(space.stride(n, self.positions) == 1 for n in (SOURCE, *self.writes)) and all(
            space.stride(n, self.positions) in (0, 1) for n in self.reads
        )
        self.lanes = kernel.target.lanes if fits else 0

    def chunk(self) -> int:
        return CHUNK_VECTORS * max(1, self.lanes)

    def run(self, at: dict[str, Index], count: Index) -> None:
        def emit(start: Index, _registers: int, rest: Index | None) -> None:
            self.slide(self.moved(at, self.positions, start), rest)

        runs(self.b, count, max(1, self.lanes), 1, emit)

    def slide(self, at: dict[str, Index], count: Index | None) -> None:
        """The window over all channels at one register of positions."""
        b, half = self.b, self.half
        extent = self.space.extents[self.channels]
        zero = b.const(0.0, f"f32x{self.lanes}" if self.lanes else "f32")

        def square(channel: Index) -> Value:
            """0 beyond the last channel."""
            exists = b.icompare("lt", channel, extent)
            inside = channel if exists is True else b.imin(channel, b.isub(extent, 1))
            here = self.space.shifted(SOURCE, at[SOURCE], self.channels, inside)
            value = self.load(SOURCE, here, count, self.positions)
            return b.select(exists, b.mul(value, value), zero)

        # squares of the channels around the first one, but for the last of them
        window = [zero] * half + [square(c) for c in range(half)]
        with b.loop(0, extent, 1, window) as loop:
            squares = [*loop.carried, square(b.iadd(loop.index, half))]
            here = self.moved(at, self.channels, loop.index)
            x = self.load(SOURCE, here[SOURCE], count, self.positions)
            self.finish(self.normalised(x, self.sum(squares)), here, count, self.positions)
            loop.carry(squares[1:])


class _Blocked(_Lrn):
    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space) -> None:
        super().__init__(kernel, anchor, tail, space)
        type_ = kernel.writes[0].type
        assert type_.layout is not None
        self.lanes = type_.layout.size
        self.lane_axis = self.positions + 1
        self.extent = self.b.dim(type_.shape[1])

    def chunk(self) -> int:
        return POSITIONS

    def run(self, at: dict[str, Index], count: Index) -> None:
        b, lanes = self.b, self.lanes
        blocks = self.space.extents[self.channels]
        reach = 0 if blocks == 1 else -(-self.half // lanes)
        with b.loop(0, blocks) as block:
            here = self.moved(at, self.channels, block.index)
            neighbours = [self.neighbour(block.index, d) for d in range(-reach, reach + 1)]

            def emit(
                start: Index,
                registers: int,
                _rest: Index | None,
                here: dict[str, Index] = here,
                neighbours: list[tuple[Index, Value | bool]] = neighbours,
            ) -> None:
                for i in range(registers):
                    place = self.moved(here, self.positions, b.iadd(start, i))
                    self.position(place, neighbours)

            runs(b, count, 1, UNROLL, emit)

    def neighbour(self, block: Index, distance: int) -> tuple[Index, Value | bool]:
        """How many blocks away to read (0 where there is none), and which of the lanes there count."""
        b, lanes = self.b, self.lanes
        whole = isinstance(self.extent, int) and self.extent % lanes == 0
        if distance == 0 and whole:
            return 0, True
        blocks = self.space.extents[self.channels]
        wanted = b.iadd(block, distance)
        near = b.imin(b.imax(wanted, 0), b.isub(blocks, 1))
        count = b.imin(lanes, b.imax(0, b.isub(self.extent, b.imul(wanted, lanes))))
        if distance < 0:
            # of blocks before the first none counts
            count = b.imin(count, b.imul(b.imax(0, b.iadd(wanted, 1)), lanes))
        return b.isub(near, block), b.first_lanes(count, lanes)

    def position(self, at: dict[str, Index], neighbours: list[tuple[Index, Value | bool]]) -> None:
        b, lanes = self.b, self.lanes
        zero = b.const(0.0, f"f32x{lanes}")
        squares = []
        for distance, counts in neighbours:
            away = self.space.shifted(SOURCE, at[SOURCE], self.channels, distance)
            value = b.select(counts, b.load(self.space.views[SOURCE].pointer, away, lanes), zero)
            squares.append(b.mul(value, value))
        reach = len(neighbours) // 2

        def shifted(by: int) -> Value:
            block, lane = divmod(by, lanes)
            first = squares[block + reach] if -reach <= block <= reach else zero
            if lane == 0:
                return first
            second = squares[block + 1 + reach] if block + 1 <= reach else zero
            return b.shuffle(first, second, range(lane, lane + lanes))

        x = b.load(self.space.views[SOURCE].pointer, at[SOURCE], lanes)
        near = range(max(-self.half, -(reach + 1) * lanes + 1), min(self.half, (reach + 1) * lanes - 1) + 1)
        total = self.sum([shifted(by) for by in near])
        self.finish(self.normalised(x, total), at, None, self.lane_axis)
