"""Local response normalisation across channels; memory is touched once.

Blocked: lanes are channels, and the squares of the neighbours are shifted in from the registers of the
adjacent blocks. Row-major: registers run over positions, and the squares of the window wait in registers
while it slides over the channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower import math
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.registers import Place, Registers, lanes_along
from netc.backends.llvm.lower.space import SOURCE, Space, View, result_views, storage_axes
from netc.backends.llvm.lower.sweep import runs
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType

POSITIONS = 64
CHUNK_VECTORS = 16
UNROLL = 2


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.lrn``."""
    x = kernel.operand(anchor.operands[0])
    views = result_views(kernel, tail) | {SOURCE: View(x.pointer, x.stride_dims)}
    space = lrn_space(kernel, x.type, views)
    axis = len(space.dims) - 1
    if x.type.layout is not None:
        _Blocked(kernel, anchor, tail, space, axis, x.type.layout.size).emit(POSITIONS)
    else:
        lanes = lanes_along(kernel, space, axis, tail)
        _RowMajor(kernel, anchor, tail, space, axis, lanes).emit(CHUNK_VECTORS * max(1, lanes))


def lrn_space(kernel: Kernel, type_: TensorType, views: dict[str, View]) -> Space:
    """The space of a normalisation: outer axes, channels, positions, and the lanes of a blocked layout."""
    blocked = type_.layout is not None
    kinds = ["", "channels", *["inner"] * (type_.rank - 2), *["lanes"] * blocked]
    extents = storage_axes(type_)
    if type_.rank == 2:
        # one position: an axis for it
        views = {n: View(v.pointer, (*v.strides[:2], 0, *v.strides[2:]), v.offset) for n, v in views.items()}
        kinds.insert(2, "inner")
        extents = (*extents[:2], 1, *extents[2:])
    space = Space(kernel.b, extents, views, kinds).merged()
    # all but the last of the inner axes are walked outside of the channels
    rank = len(space.dims)
    own = [space.kinds.index("channels"), rank - 2 if blocked else rank - 1, *([rank - 1] if blocked else [])]
    return space.reordered([*[i for i in range(rank) if i not in own], *own])


class ChannelWindows(Registers):
    """What both layouts share. ``outer`` axes come first, then channels, positions, and lanes."""

    def __init__(
        self, kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space, axis: int, lanes: int
    ) -> None:
        super().__init__(kernel, anchor, tail, space, axis, lanes)
        self.outer = space.kinds.index("channels")
        self.channels, self.positions = self.outer, self.outer + 1
        self.half = anchor.attrs.size // 2

    def emit(self, chunk: int) -> None:
        """Share images and runs of ``chunk`` positions."""
        b, space = self.b, self.space
        extents = [*space.extents[: self.outer], b.ceildiv(space.extents[self.positions], chunk)]
        first, last = self.kernel.share(b.iproduct(extents))
        with b.loop(first, last) as item:
            *indices, part = b.split(item.index, extents)
            start = b.imul(part, chunk)
            axes = [*range(self.outer), self.positions]
            place = {n: space.at(n, [*indices, start], axes) for n in space.views}
            self.run(place, b.at_most(chunk, space.extents[self.positions], start))

    def run(self, place: Place, count: Index) -> None:
        """All channels at some positions."""
        raise NotImplementedError

    def sum(self, values: Sequence[Value]) -> Value:
        """Added up as a tree."""
        values = list(values)
        while len(values) > 1:
            pairs = [self.b.add(x, y) for x, y in zip(values[::2], values[1::2], strict=False)]
            values = pairs + values[len(pairs) * 2 :]
        return values[0]

    def base(self, squares: Value) -> Value:
        """k + alpha / size * squares."""
        b, attrs = self.b, self.anchor.attrs
        return b.fma(squares, b.like(attrs.alpha / attrs.size, squares), b.like(attrs.k, squares))

    def normalised(self, x: Value, base: Value) -> Value:
        """x / base ^ beta."""
        b, attrs = self.b, self.anchor.attrs
        signed = attrs.k < 0 or attrs.alpha < 0
        if attrs.beta >= 0 and math.is_product(attrs.beta):
            return b.div(x, math.power(b, base, attrs.beta, signed=signed))
        return b.mul(x, math.power(b, base, -attrs.beta, signed=signed))


class _RowMajor(ChannelWindows):
    def run(self, place: Place, count: Index) -> None:
        def emit(start: Index, registers: int, rest: Index | None) -> None:
            steps = [self.b.iadd(start, i * self.size) for i in range(registers)]
            self.slide([self.moved(place, self.positions, s) for s in steps], rest)

        side_by_side = max(1, self.kernel.target.vector_registers // 2 // self.anchor.attrs.size)
        runs(self.b, count, self.size, side_by_side, emit, self.space.extents[self.positions])

    def slide(self, places: list[Place], count: Index | None) -> None:
        """The windows over all channels at some registers of positions."""
        b, half, size = self.b, self.half, self.anchor.attrs.size
        extent = self.space.extents[self.channels]
        zero = b.const(0.0, self.type)

        def square(place: Place, channel: Index) -> Value:
            """0 beyond the last channel."""
            exists = b.icompare("lt", channel, extent)
            inside = channel if exists is True else b.imin(channel, b.isub(extent, 1))
            value = self.source(self.moved(place, self.channels, inside), count)
            return b.select(exists, b.mul(value, value), zero)

        # squares of the channels around the first one, but for the last of them
        windows = [v for p in places for v in ([zero] * half + [square(p, c) for c in range(half)])]
        with b.loop(0, extent, 1, windows) as loop:
            following = []
            for i, place in enumerate(places):
                window = loop.carried[i * (size - 1) : (i + 1) * (size - 1)]
                squares = [*window, square(place, b.iadd(loop.index, half))]
                here = self.moved(place, self.channels, loop.index)
                base = self.base(self.sum(squares))
                self.finish(self.normalised(self.source(here, count), base), here, count)
                following += squares[1:]
            loop.carry(following)


class BlockedWindows(ChannelWindows):
    """Windows over lanes: which neighbouring blocks they reach, and their sums."""

    @property
    def reach(self) -> int:
        """How many blocks away a window may reach."""
        return 0 if self.space.extents[self.channels] == 1 else -(-self.half // self.lanes)

    def neighbour(self, block: Index, distance: int) -> tuple[Index, Value | bool]:
        """How many blocks away to read (0 where there is none), and which of the lanes there count."""
        b, lanes = self.b, self.lanes
        channels = b.dim(self.kernel.writes[0].type.shape[1])
        if distance == 0 and isinstance(channels, int) and channels % lanes == 0:
            return 0, True
        blocks = self.space.extents[self.channels]
        wanted = b.iadd(block, distance)
        near = b.imin(b.imax(wanted, 0), b.isub(blocks, 1))
        count = b.imin(lanes, b.imax(0, b.isub(channels, b.imul(wanted, lanes))))
        if distance < 0:
            # of blocks before the first none counts
            count = b.imin(count, b.imul(b.imax(0, b.iadd(wanted, 1)), lanes))
        return b.isub(near, block), b.first_lanes(count, lanes)

    def window_sum(self, values: Sequence[Value]) -> Value:
        """In each lane the sum over its window; ``values`` are the registers of the blocks around."""
        lanes, reach = self.lanes, len(values) // 2
        zero = self.b.const(0.0, self.type)

        def shifted(by: int) -> Value:
            """In lane i, the value of the channel ``by`` after that of lane i."""
            block, lane = divmod(by, lanes)
            first = values[block + reach] if -reach <= block <= reach else zero
            if lane == 0:
                return first
            second = values[block + 1 + reach] if block + 1 <= reach else zero
            return self.b.shuffle(first, second, range(lane, lane + lanes))

        furthest = min(self.half, (reach + 1) * lanes - 1)
        return self.sum([shifted(by) for by in range(-furthest, furthest + 1)])


class _Blocked(BlockedWindows):
    def run(self, place: Place, count: Index) -> None:
        b = self.b
        with b.loop(0, self.space.extents[self.channels]) as block:
            here = self.moved(place, self.channels, block.index)
            neighbours = [self.neighbour(block.index, d) for d in range(-self.reach, self.reach + 1)]

            def emit(start: Index, registers: int, _rest: Index | None) -> None:
                for i in range(registers):
                    self.position(self.moved(here, self.positions, b.iadd(start, i)), neighbours)

            runs(b, count, 1, UNROLL, emit, self.space.extents[self.positions])

    def position(self, place: Place, neighbours: list[tuple[Index, Value | bool]]) -> None:
        b = self.b
        zero = b.const(0.0, self.type)
        squares = []
        for distance, counts in neighbours:
            value = b.select(counts, self.source(self.moved(place, self.channels, distance)), zero)
            squares.append(b.mul(value, value))
        self.finish(self.normalised(self.source(place), self.base(self.window_sum(squares))), place)
