"""Softmax along any axis, row-major.

Along the last axis a row is reduced to its maximum and its sum; rows that fit into a few registers stay
there. Along another axis the registers run over the positions behind it, each lane a softmax of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from netc.backends.llvm.lower import math
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.registers import Place, Registers, lanes_along
from netc.backends.llvm.lower.space import SOURCE, Space, View, result_views
from netc.backends.llvm.lower.sweep import runs
from netc.ir.core import Op, Value
from netc.ir.dim import Dim
from netc.ir.loop_builder import Index

ROW_REGISTERS = 8
CHAINS = 4
CHUNK_VECTORS = 16
LOWEST = float("-inf")

# (place of a register, its count, what was folded so far) -> that and the register
Step = Callable[[Place, Index | None, Value], Value]


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.softmax``."""
    x = kernel.operand(anchor.operands[0])
    views = result_views(kernel, tail) | {SOURCE: View(x.pointer, x.stride_dims)}
    space = softmax_space(kernel, x.type.shape, anchor.attrs.axis, views)
    last = len(space.dims) - 1
    Softmax(kernel, anchor, tail, space, lanes_along(kernel, space, last, tail)).emit()


def softmax_space(kernel: Kernel, shape: tuple[Dim, ...], axis: int, views: dict[str, View]) -> Space:
    """The space of a softmax: the axis of kind ``axis`` is the last one, or the last but one."""
    kinds = ["axis" if i == axis else "" if i < axis or d == 1 else "inner" for i, d in enumerate(shape)]
    space = Space(kernel.b, shape, views, kinds).merged()
    if "inner" not in space.kinds:
        return space
    along = space.kinds.index("axis")
    inner = len(space.dims) - 1
    order = [i for i in range(len(space.dims)) if i not in (along, inner)]
    return space.reordered([*order, along, inner])


class Softmax(Registers):
    """A softmax along the last axis of the space, or along the last but one.

    What becomes of probabilities is up to ``give``, what follows a row, to ``end_row``.
    """

    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space, lanes: int) -> None:
        super().__init__(kernel, anchor, tail, space, len(space.dims) - 1, lanes)
        # exponentials wait in the result, unless an operand still to be read lies there
        pointers = {space.views[n].pointer for n in self.reads}
        self.parked = space.views[self.writes[0]].pointer not in pointers

    def emit(self) -> None:
        """The kernel."""
        if "inner" in self.space.kinds:
            self.columns()
        else:
            self.rows()

    def give(self, value: Value, place: Place, count: Index | None, index: Index | None) -> None:
        """Store a register of probabilities; ``index`` is that along the axis, None where lanes run there."""
        del index
        self.finish(value, place, count)

    def end_row(self, place: Place) -> None:
        """After a softmax along the last axis; ``place`` is that of its first element."""

    # --- exponentials ---
    def exponential(self, value: Value, largest: Value) -> Value:
        """e^(value - largest)."""
        return math.exp_nonpositive(self.b, self.b.sub(value, largest))

    def raised(self, place: Place, count: Index | None, largest: Value) -> Value:
        """The exponentials of a register of inputs, which are also parked in the result."""
        value = self.exponential(self.source(place, count), largest)
        if self.parked:
            self.store(value, self.writes[0], place[self.writes[0]], count)
        return value

    def raised_again(self, place: Place, count: Index | None, largest: Value) -> Value:
        """The exponentials, from where they are parked."""
        if self.parked:
            return self.load(self.writes[0], place[self.writes[0]], count)
        return self.exponential(self.source(place, count), largest)

    # --- along the last axis ---
    def rows(self) -> None:
        """Softmaxes along the last axis."""
        b, space = self.b, self.space
        outer = space.extents[:-1]
        extent = space.dims[-1]
        first, last = self.kernel.share(b.iproduct(outer))
        with b.loop(first, last) as row:
            indices = b.split(row.index, outer) if outer else []
            place = {n: space.at(n, [*indices, 0]) for n in space.views}
            if isinstance(extent, int) and extent <= ROW_REGISTERS * self.size:
                self.short_row(place, extent)
            else:
                self.long_row(place, space.extents[-1])
            self.end_row(place)

    def short_row(self, place: Place, extent: int) -> None:
        """A row that fits into a few registers."""
        b = self.b
        starts = range(0, extent, self.size)
        counts = [None if extent - s >= self.size else extent - s for s in starts]
        places = [self.moved(place, self.axis, s) for s in starts]
        values = [self.source(p, c) for p, c in zip(places, counts, strict=True)]
        masked = [self.existing(v, c, LOWEST) for v, c in zip(values, counts, strict=True)]
        largest = b.splat(b.reduce("max", functools.reduce(self.larger, masked)), self.lanes)
        raised = [self.exponential(v, largest) for v in values]
        masked = [self.existing(v, c, 0.0) for v, c in zip(raised, counts, strict=True)]
        inverse = self.inverse(functools.reduce(b.add, masked))
        for value, here, count in zip(raised, places, counts, strict=True):
            self.give(b.mul(value, inverse), here, count, None)

    def larger(self, total: Value, value: Value) -> Value:
        """The larger, lane by lane."""
        return self.b.maximum(value, total)

    def inverse(self, total: Value) -> Value:
        """One over the sum of the lanes, in every lane."""
        b = self.b
        return b.splat(b.div(b.const(1.0, "f32"), b.reduce("sum", total)), self.lanes)

    def long_row(self, place: Place, extent: Index) -> None:
        """A row of any length."""
        b = self.b
        largest, total = self.row_sum(place, extent)
        inverse = self.inverse(total)

        def emit(start: Index, registers: int, rest: Index | None) -> None:
            for i in range(registers):
                here = self.moved(place, self.axis, b.iadd(start, i * self.size))
                self.give(b.mul(self.raised_again(here, rest, largest), inverse), here, rest, None)

        runs(b, extent, self.size, CHAINS, emit, extent)

    def row_sum(self, place: Place, extent: Index) -> tuple[Value, Value]:
        """A row's largest element in every lane, and a register that adds up to the exponentials' sum."""
        b = self.b

        def most(here: Place, count: Index | None, total: Value) -> Value:
            return self.larger(total, self.existing(self.source(here, count), count, LOWEST))

        largest = b.splat(b.reduce("max", self.fold(place, extent, LOWEST, most, self.larger)), self.lanes)

        def added(here: Place, count: Index | None, total: Value) -> Value:
            return b.add(total, self.existing(self.raised(here, count, largest), count, 0.0))

        return largest, self.fold(place, extent, 0.0, added, b.add)

    def fold(
        self, place: Place, extent: Index, start: float, step: Step, join: Callable[[Value, Value], Value]
    ) -> Value:
        """Fold the registers of a row into one, through several chains."""
        b, size = self.b, self.size
        whole = b.imul(b.idiv(extent, CHAINS * size), CHAINS * size)
        full = b.imul(b.idiv(extent, size), size)
        with b.loop(0, whole, CHAINS * size, [b.const(start, self.type)] * CHAINS) as loop:
            places = [self.moved(place, self.axis, b.iadd(loop.index, i * size)) for i in range(CHAINS)]
            loop.carry([step(p, None, t) for p, t in zip(places, loop.carried, strict=True)])
        with b.loop(whole, full, size, [functools.reduce(join, loop.results)]) as loop:
            loop.carry([step(self.moved(place, self.axis, loop.index), None, loop.carried[0])])
        # once at most: the register that is not full
        with b.loop(full, extent, size, loop.results) as loop:
            here = self.moved(place, self.axis, full)
            loop.carry([step(here, b.isub(extent, full), loop.carried[0])])
        return loop.results[0]

    # --- along another axis ---
    def columns(self) -> None:
        """Softmaxes along the last axis but one."""
        b, space = self.b, self.space
        chunk = self.size * CHUNK_VECTORS
        extents = [*space.extents[:-2], b.ceildiv(space.extents[-1], chunk)]
        side_by_side = self.kernel.target.vector_registers // 4
        first, last = self.kernel.share(b.iproduct(extents))
        with b.loop(first, last) as item:
            *indices, part = b.split(item.index, extents)
            start = b.imul(part, chunk)
            place = {n: space.at(n, [*indices, 0, start]) for n in space.views}

            def emit(start: Index, registers: int, rest: Index | None) -> None:
                steps = [b.iadd(start, i * self.size) for i in range(registers)]
                self.column([self.moved(place, self.axis, s) for s in steps], rest)

            whole = space.extents[-1]
            runs(b, b.at_most(chunk, whole, start), self.size, side_by_side, emit, whole)

    def column(self, places: list[Place], count: Index | None) -> None:
        """All of the axis for some registers of neighbouring positions."""
        b, axis = self.b, self.axis - 1
        largest, totals = self.column_sums(places, count)
        inverses = [b.div(b.const(1.0, self.type), total) for total in totals]
        with b.loop(0, self.space.extents[axis]) as loop:
            for place, most, inverse in zip(places, largest, inverses, strict=True):
                here = self.moved(place, axis, loop.index)
                value = b.mul(self.raised_again(here, count, most), inverse)
                self.give(value, here, count, loop.index)

    def column_sums(self, places: list[Place], count: Index | None) -> tuple[list[Value], list[Value]]:
        """For some registers of neighbouring positions: the largest elements, and the exponentials' sums."""
        b, axis = self.b, self.axis - 1

        def walk(start: float, step: Callable[[int, Place, Value], Value]) -> list[Value]:
            starts = [b.const(start, self.type)] * len(places)
            with b.loop(0, self.space.extents[axis], 1, starts) as loop:
                here = [self.moved(p, axis, loop.index) for p in places]
                loop.carry([step(i, here[i], total) for i, total in enumerate(loop.carried)])
            return list(loop.results)

        largest = walk(LOWEST, lambda _i, place, total: self.larger(total, self.source(place, count)))
        totals = walk(0.0, lambda i, place, total: b.add(total, self.raised(place, count, largest[i])))
        return largest, totals
