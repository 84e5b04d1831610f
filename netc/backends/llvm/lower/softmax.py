"""Softmax along any axis, row-major.

Along the last axis a row is reduced to its maximum and its sum; rows that fit into a few registers stay
there. Along another axis the registers run over the positions behind it, each lane a softmax of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from netc.backends.llvm.lower import math
from netc.backends.llvm.lower.copy import SOURCE, write_names
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.point import apply
from netc.backends.llvm.lower.space import Space, View, arguments_read, result_views
from netc.backends.llvm.lower.sweep import runs
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index

ROW_REGISTERS = 8
UNROLL = 4
CHUNK_VECTORS = 16
LOWEST = float("-inf")

# (offsets of a register, how many of its lanes exist or None, what was folded so far) -> that with the register
Step = Callable[[dict[str, Index], Index | None, Value], Value]
Join = Callable[[Value, Value], Value]


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.softmax``."""
    x = kernel.operand(anchor.operands[0])
    shape, axis = x.type.shape, anchor.attrs.axis
    views = result_views(kernel, tail) | {SOURCE: View(x.pointer, x.stride_dims)}
    kinds = ["axis" if i == axis else "" if i < axis or d == 1 else "inner" for i, d in enumerate(shape)]
    space = Space(kernel.b, shape, views, kinds).merged()
    if "inner" in space.kinds:
        along = space.kinds.index("axis")
        inner = len(space.dims) - 1
        order = [i for i in range(len(space.dims)) if i not in (along, inner)]
        _Softmax(kernel, anchor, tail, space.reordered([*order, along, inner])).columns()
    else:
        _Softmax(kernel, anchor, tail, space).rows()


class _Softmax:
    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space) -> None:
        self.kernel = kernel
        self.b = kernel.b
        self.anchor = anchor
        self.tail = tail
        self.space = space
        self.reads = arguments_read(kernel, tail)
        self.writes = write_names(kernel)
        last = len(space.dims) - 1
        whole = all(space.stride(n, last) == 1 for n in (SOURCE, *self.writes)) and all(
            space.stride(n, last) in (0, 1) for n in self.reads
        )
        self.lanes = kernel.target.lanes if whole else 0
        self.size = max(1, self.lanes)
        self.type = f"f32x{self.lanes}" if self.lanes else "f32"
        # exponentials wait in the result, unless an operand still to be read lies there
        pointers = {space.views[n].pointer for n in self.reads}
        self.parked = space.views[self.writes[0]].pointer not in pointers

    # --- registers ---
    def load(self, name: str, at: Index, count: Index | None) -> Value:
        pointer = self.space.views[name].pointer
        if not self.lanes or self.space.stride(name, len(self.space.dims) - 1) == 0:
            return self.b.splat(self.b.load(pointer, at), self.lanes)
        return self.b.load_first(pointer, at, self.size if count is None else count, self.lanes)

    def store(self, value: Value, name: str, at: Index, count: Index | None) -> None:
        pointer = self.space.views[name].pointer
        if self.lanes:
            self.b.store_first(value, pointer, at, self.size if count is None else count)
        else:
            self.b.store(value, pointer, at)

    def existing(self, value: Value, count: Index | None, other: float) -> Value:
        """``other`` in lanes that do not exist."""
        if count is None or not self.lanes:
            return value
        return self.b.select(self.b.first_lanes(count, self.lanes), value, self.b.like(other, value))

    def exponential(self, value: Value, largest: Value) -> Value:
        return math.exp_nonpositive(self.b, self.b.sub(value, largest))

    def finish(self, value: Value, at: dict[str, Index], count: Index | None) -> None:
        """The elementwise ops on some results, and the store."""
        known = {self.anchor.result.name: value}
        known |= {name: self.load(name, at[name], count) for name in self.reads}
        values = apply(self.b, self.tail, known, self.kernel.body.results)
        for name, result in zip(self.writes, values, strict=True):
            self.store(self.b.splat(result, self.lanes), name, at[name], count)

    def moved(self, at: dict[str, Index], axis: int, index: Index) -> dict[str, Index]:
        return {n: self.space.shifted(n, a, axis, index) for n, a in at.items()}

    # --- along the last axis ---
    def rows(self) -> None:
        b, space = self.b, self.space
        total: Index = 1
        for extent in space.extents[:-1]:
            total = b.imul(total, extent)
        first, last = self.kernel.share(total)
        extent = space.dims[-1]
        with b.loop(first, last) as row:
            indices = b.split(row.index, space.extents[:-1]) if len(space.dims) > 1 else []
            at = {n: space.at(n, [*indices, 0]) for n in space.views}
            if isinstance(extent, int) and extent <= ROW_REGISTERS * self.size:
                self.short_row(at, extent)
            else:
                self.long_row(at, space.extents[-1])

    def short_row(self, at: dict[str, Index], extent: int) -> None:
        b, axis = self.b, len(self.space.dims) - 1
        starts = range(0, extent, self.size)
        counts = [None if extent - s >= self.size else extent - s for s in starts]
        places = [self.moved(at, axis, s) for s in starts]
        values = [self.load(SOURCE, p[SOURCE], c) for p, c in zip(places, counts, strict=True)]
        largest = self.existing(values[0], counts[0], LOWEST)
        for value, count in zip(values[1:], counts[1:], strict=True):
            largest = b.maximum(self.existing(value, count, LOWEST), largest)
        largest = b.splat(b.reduce("max", largest), self.lanes)
        raised = [self.exponential(v, largest) for v in values]
        total = self.existing(raised[0], counts[0], 0.0)
        for value, count in zip(raised[1:], counts[1:], strict=True):
            total = b.add(total, self.existing(value, count, 0.0))
        inverse = self.inverse(total)
        for value, place, count in zip(raised, places, counts, strict=True):
            self.finish(b.mul(value, inverse), place, count)

    def inverse(self, total: Value) -> Value:
        b = self.b
        return b.splat(b.div(b.const(1.0, "f32"), b.reduce("sum", total)), self.lanes)

    def long_row(self, at: dict[str, Index], extent: Index) -> None:
        b = self.b

        def larger(place: dict[str, Index], count: Index | None, total: Value) -> Value:
            value = self.existing(self.load(SOURCE, place[SOURCE], count), count, LOWEST)
            return b.maximum(value, total)

        largest = b.splat(b.reduce("max", self.fold(at, extent, LOWEST, larger, b.maximum)), self.lanes)

        def added(place: dict[str, Index], count: Index | None, total: Value) -> Value:
            return b.add(total, self.existing(self.raised(place, count, largest), count, 0.0))

        inverse = self.inverse(self.fold(at, extent, 0.0, added, b.add))

        def emit(start: Index, registers: int, rest: Index | None) -> None:
            for i in range(registers):
                place = self.moved(at, len(self.space.dims) - 1, b.iadd(start, i * self.size))
                self.finish(b.mul(self.raised_again(place, rest, largest), inverse), place, rest)

        runs(b, extent, self.size, UNROLL, emit)

    def fold(self, at: dict[str, Index], extent: Index, start: float, step: Step, join: Join) -> Value:
        """Fold the registers of a row into one, through several chains."""
        b, size, axis = self.b, self.size, len(self.space.dims) - 1
        whole = b.imul(b.idiv(extent, UNROLL * size), UNROLL * size)
        full = b.imul(b.idiv(extent, size), size)
        with b.loop(0, whole, UNROLL * size, [b.const(start, self.type)] * UNROLL) as loop:
            places = [self.moved(at, axis, b.iadd(loop.index, i * size)) for i in range(UNROLL)]
            loop.carry([step(p, None, t) for p, t in zip(places, loop.carried, strict=True)])
        total = functools.reduce(join, loop.results)
        with b.loop(whole, full, size, [total]) as loop:
            loop.carry([step(self.moved(at, axis, loop.index), None, loop.carried[0])])
        # once at most: the register that is not full
        with b.loop(full, extent, size, loop.results) as loop:
            loop.carry([step(self.moved(at, axis, full), b.isub(extent, full), loop.carried[0])])
        return loop.results[0]

    # --- exponentials ---
    def raised(self, place: dict[str, Index], count: Index | None, largest: Value) -> Value:
        """The exponentials of a register of inputs, which are also parked in the result."""
        value = self.exponential(self.load(SOURCE, place[SOURCE], count), largest)
        if self.parked:
            self.store(value, self.writes[0], place[self.writes[0]], count)
        return value

    def raised_again(self, place: dict[str, Index], count: Index | None, largest: Value) -> Value:
        if self.parked:
            return self.load(self.writes[0], place[self.writes[0]], count)
        return self.exponential(self.load(SOURCE, place[SOURCE], count), largest)

    # --- along another axis ---
    def columns(self) -> None:
        b, space = self.b, self.space
        inner = len(space.dims) - 1
        chunk = self.size * CHUNK_VECTORS
        chunks = b.ceildiv(space.extents[inner], chunk)
        outer = space.extents[:-2]
        total: Index = chunks
        for extent in outer:
            total = b.imul(total, extent)
        first, last = self.kernel.share(total)
        with b.loop(first, last) as item:
            *indices, part = b.split(item.index, [*outer, chunks])
            start = b.imul(part, chunk)
            at = {n: space.at(n, [*indices, 0, start]) for n in space.views}

            def emit(start: Index, registers: int, rest: Index | None, at: dict[str, Index] = at) -> None:
                places = [self.moved(at, inner, b.iadd(start, i * self.size)) for i in range(registers)]
                self.column(places, rest)

            runs(b, b.imin(chunk, b.isub(space.extents[inner], start)), self.size, UNROLL, emit)

    def column(self, places: list[dict[str, Index]], count: Index | None) -> None:
        """All of the axis for some registers of neighbouring positions."""
        b = self.b
        axis = len(self.space.dims) - 2
        extent = self.space.extents[axis]

        def walk(start: float, step: Callable[[int, dict[str, Index], Value], Value]) -> list[Value]:
            with b.loop(0, extent, 1, [b.const(start, self.type)] * len(places)) as loop:
                here = [self.moved(p, axis, loop.index) for p in places]
                loop.carry([step(i, here[i], total) for i, total in enumerate(loop.carried)])
            return list(loop.results)

        largest = walk(LOWEST, lambda _i, place, t: b.maximum(self.load(SOURCE, place[SOURCE], count), t))
        totals = walk(0.0, lambda i, place, t: b.add(t, self.raised(place, count, largest[i])))
        inverses = [b.div(b.const(1.0, self.type), total) for total in totals]
        with b.loop(0, extent) as loop:
            for place, most, inverse in zip(places, largest, inverses, strict=True):
                here = self.moved(place, axis, loop.index)
                self.finish(b.mul(self.raised_again(here, count, most), inverse), here, count)
