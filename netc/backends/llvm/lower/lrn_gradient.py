"""The gradient of local response normalisation across channels; memory is touched once.

With s the base of a channel's power, own = dy s^-beta and r = own x / s, the gradient is
own - 2 alpha beta / size * x * (sum of r over the window): a window over what needs a window itself. So the
walk over the channels (blocked: over their blocks) is half a window ahead with r, and a whole one with the
squares; what it comes back to waits in registers.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.lrn import (
    CHUNK_VECTORS,
    POSITIONS,
    BlockedWindows,
    ChannelWindows,
    lrn_space,
)
from netc.backends.llvm.lower.registers import Place, lanes_along
from netc.backends.llvm.lower.space import SOURCE, View, result_views
from netc.backends.llvm.lower.sweep import runs
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index

GRADIENT = "<dy"
UNROLL = 2


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.lrn_gradient``."""
    dy, x = (kernel.operand(v) for v in anchor.operands)
    views = result_views(kernel, tail)
    views |= {SOURCE: View(x.pointer, x.stride_dims), GRADIENT: View(dy.pointer, dy.stride_dims)}
    space = lrn_space(kernel, x.type, views)
    axis = len(space.dims) - 1
    if x.type.layout is not None:
        _Blocked(kernel, anchor, tail, space, axis, x.type.layout.size).emit(POSITIONS)
    else:
        dense = space.stride(GRADIENT, axis) == 1
        lanes = lanes_along(kernel, space, axis, tail) if dense else 0
        _RowMajor(kernel, anchor, tail, space, axis, lanes).emit(CHUNK_VECTORS * max(1, lanes))


class _Gradient(ChannelWindows):
    def ratio(self, dy: Value, x: Value, base: Value) -> tuple[Value, Value]:
        """dy base^-beta, and that times x / base."""
        own = self.normalised(dy, base)
        return own, self.b.div(self.b.mul(own, x), base)

    def gradient(self, own: Value, x: Value, ratios: Value) -> Value:
        """dx from the window's sum of ratios."""
        b, attrs = self.b, self.anchor.attrs
        slope = b.mul(x, b.like(-2 * attrs.alpha * attrs.beta / attrs.size, x))
        return b.fma(slope, ratios, own)


class _RowMajor(_Gradient):
    def run(self, place: Place, count: Index) -> None:
        def emit(start: Index, _registers: int, rest: Index | None) -> None:
            self.slide(self.moved(place, self.positions, start), rest)

        runs(self.b, count, self.size, 1, emit, self.space.extents[self.positions])

    def slide(self, place: Place, count: Index | None) -> None:
        """The windows over all channels at one register of positions."""
        b, half, size = self.b, self.half, self.anchor.attrs.size
        extent = self.space.extents[self.channels]
        zero = b.const(0.0, self.type)

        def at(name: str, channel: Index) -> Value:
            """0 beyond the last channel."""
            exists = b.icompare("lt", channel, extent)
            inside = channel if exists is True else b.imin(channel, b.isub(extent, 1))
            where = self.space.shifted(name, place[name], self.channels, inside)
            return b.select(exists, self.load(name, where, count), zero)

        def square(channel: Index) -> Value:
            value = at(SOURCE, channel)
            return b.mul(value, value)

        def ahead(channel: Index, squares: Sequence[Value]) -> tuple[Value, Value]:
            own, ratio = self.ratio(at(GRADIENT, channel), at(SOURCE, channel), self.base(self.sum(squares)))
            # beyond the last channel the base may be 0
            exists = b.icompare("lt", channel, extent)
            return own, b.select(exists, ratio, zero)

        squares = [zero] * half + [square(c) for c in range(2 * half)]
        waiting = [ahead(c, squares[c : c + size]) for c in range(half)]
        owns = [own for own, _ in waiting]
        ratios = [zero] * half + [ratio for _, ratio in waiting]
        with b.loop(0, extent, 1, [*squares[half:], *ratios, *owns]) as loop:
            seen = list(loop.carried)
            squares = [*seen[: 2 * half], square(b.iadd(loop.index, 2 * half))]
            own, ratio = ahead(b.iadd(loop.index, half), squares)
            ratios = [*seen[2 * half : 4 * half], ratio]
            owns = [*seen[4 * half :], own]
            here = self.moved(place, self.channels, loop.index)
            self.finish(self.gradient(owns[0], self.source(here, count), self.sum(ratios)), here, count)
            loop.carry([*squares[1:], *ratios[1:], *owns[1:]])


class _Blocked(BlockedWindows, _Gradient):
    def run(self, place: Place, count: Index) -> None:
        def emit(start: Index, registers: int, _rest: Index | None) -> None:
            steps = [self.b.iadd(start, i) for i in range(registers)]
            self.slide([self.moved(place, self.positions, s) for s in steps])

        runs(self.b, count, 1, UNROLL, emit, self.space.extents[self.positions])

    def slide(self, places: list[Place]) -> None:
        """The windows over all blocks at some positions."""
        b, reach = self.b, self.reach
        blocks = self.space.extents[self.channels]
        zero = b.const(0.0, self.type)

        def square(place: Place, block: Index, distance: int) -> Value:
            value = self.near(SOURCE, place, block, distance)
            return b.mul(value, value)

        def ahead(place: Place, block: Index, distance: int, squares: Sequence[Value]) -> tuple[Value, Value]:
            dy, x = (self.near(n, place, block, distance) for n in (GRADIENT, SOURCE))
            own, ratio = self.ratio(dy, x, self.base(self.window_sum(squares)))
            return own, b.select(self.neighbour(block, distance)[1], ratio, zero)

        width = 2 * reach
        starts: list[Value] = []
        for place in places:
            squares = [zero] * reach + [square(place, 0, d) for d in range(width)]
            waiting = [ahead(place, 0, d, squares[d : d + width + 1]) for d in range(reach)]
            starts += (
                squares[reach:]
                + [zero] * reach
                + [ratio for _, ratio in waiting]
                + [own for own, _ in waiting]
            )
        with b.loop(0, blocks, 1, starts) as loop:
            following: list[Value] = []
            each = 5 * reach
            for i, place in enumerate(places):
                here = self.moved(place, self.channels, loop.index)
                seen = list(loop.carried[i * each : (i + 1) * each])
                squares = [*seen[:width], square(here, loop.index, width)]
                own, ratio = ahead(here, loop.index, reach, squares)
                ratios = [*seen[width : 2 * width], ratio]
                owns = [*seen[2 * width :], own]
                self.finish(self.gradient(owns[0], self.source(here), self.window_sum(ratios)), here)
                following += [*squares[1:], *ratios[1:], *owns[1:]]
            loop.carry(following)

    def near(self, name: str, place: Place, block: Index, distance: int) -> Value:
        """A register some blocks on; 0 in lanes that are no channel."""
        step, counts = self.neighbour(block, distance)
        at = self.space.shifted(name, place[name], self.channels, step)
        return self.b.select(counts, self.load(name, at), self.b.const(0.0, self.type))
