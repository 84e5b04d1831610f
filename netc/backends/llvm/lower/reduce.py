"""Sums, means and maxima along any axes, row-major.

Where the last axis is reduced, registers run along it and are folded into one number at the end; where it
stays, each lane is a result of its own. Sums are added up by chunks, so that their error grows slowly.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.nest import nest
from netc.backends.llvm.lower.registers import Place, Registers, lanes_along
from netc.backends.llvm.lower.space import SOURCE, Space, View, result_views
from netc.backends.llvm.lower.sweep import runs
from netc.ir.core import Op, Value
from netc.ir.dim import product
from netc.ir.loop_builder import Index

CHAINS = 4
CHUNK_VECTORS = 256
COLUMN_VECTORS = 16
LOWEST = float("-inf")


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``tensor.reduce``."""
    b = kernel.b
    x = kernel.operand(anchor.operands[0])
    shape, axes = x.type.shape, anchor.attrs.axes
    views = {
        name: View(v.pointer, tuple(0 if axis in axes else s for axis, s in enumerate(v.strides)), v.offset)
        for name, v in result_views(kernel, tail).items()
    }
    views[SOURCE] = View(x.pointer, x.stride_dims)
    kinds = ["" if d == 1 else "reduced" if axis in axes else "kept" for axis, d in enumerate(shape)]
    space = Space(b, shape, views, kinds).merged()
    # kept axes in front
    kept, reduced = space.of_kind("kept"), space.of_kind("reduced")
    columns = not space.kinds or space.kinds[-1] == "kept"
    space = space.reordered([*kept, *reduced])
    count = b.dim(product(tuple(shape[axis] for axis in axes)))
    if not space.dims:
        _Reduce(kernel, anchor, tail, space, 0, 0, count).one()
    elif columns:
        along = len(kept) - 1
        lanes = lanes_along(kernel, space, along, tail)
        _Columns(kernel, anchor, tail, space, along, lanes, count).emit()
    else:
        along = len(space.dims) - 1
        lanes = lanes_along(kernel, space, along, tail, results=False)
        _Rows(kernel, anchor, tail, space, along, lanes, count).emit()


class _Reduce(Registers):
    """``elements`` is the number of elements that go into one result."""

    def __init__(
        self,
        kernel: Kernel,
        anchor: Op,
        tail: Sequence[Op],
        space: Space,
        axis: int,
        lanes: int,
        elements: Index,
    ) -> None:
        super().__init__(kernel, anchor, tail, space, axis, lanes)
        self.elements = elements
        self.kind = anchor.attrs.kind
        self.kept = len(space.of_kind("kept"))
        # of one register: results, where registers run along a reduced axis
        self.results = Registers(kernel, anchor, tail, space, axis, 0 if axis >= self.kept else lanes)

    def start(self) -> Value:
        return self.b.const(LOWEST if self.kind == "max" else 0.0, self.type)

    def fold(self, total: Value, value: Value) -> Value:
        return self.b.maximum(value, total) if self.kind == "max" else self.b.add(total, value)

    def result(self, value: Value, place: Place, count: Index | None) -> None:
        b = self.b
        if self.kind == "mean":
            divisor = b.cast("to_float", b.value(self.elements), "f32")
            value = b.div(value, b.splat(divisor, self.results.lanes))
        self.results.finish(value, place, count)

    def one(self) -> None:
        """All extents are 1."""
        first, last = self.kernel.share(1)
        with self.b.loop(first, last):
            place = {n: self.space.at(n, []) for n in self.space.views}
            self.result(self.source(place), place, None)


class _Rows(_Reduce):
    """The last axis is reduced."""

    def emit(self) -> None:
        b, space = self.b, self.space
        kept = space.extents[: self.kept]
        outer = range(self.kept, self.axis)
        first, last = self.kernel.share(b.iproduct(kept))
        with b.loop(first, last) as item:
            indices = b.split(item.index, kept) if kept else []
            place = {n: space.at(n, indices, range(self.kept)) for n in space.views}

            def row(reduced: list[Index], totals: list[Value]) -> list[Value]:
                here = place[SOURCE]
                for axis, index in zip(outer, reduced, strict=True):
                    here = space.shifted(SOURCE, here, axis, index)
                return self.row(here, space.extents[self.axis], totals)

            bounds: list[tuple[Index, Index]] = [(0, space.extents[a]) for a in outer]
            (value,) = nest(b, bounds, [self.start()], row)
            self.result(b.reduce("max" if self.kind == "max" else "sum", value), place, None)

    def row(self, at: Index, extent: Index, totals: list[Value]) -> list[Value]:
        """Fold a run of the last axis into the total, chunk by chunk."""
        b = self.b
        chunk = CHUNK_VECTORS * self.size
        with b.loop(0, extent, chunk, totals) as part:
            begin = self.space.shifted(SOURCE, at, self.axis, part.index)
            value = self.chunk(begin, b.at_most(chunk, extent, part.index))
            part.carry([self.fold(part.carried[0], value)])
        return list(part.results)

    def chunk(self, at: Index, count: Index) -> Value:
        b, size = self.b, self.size
        whole = b.imul(b.idiv(count, CHAINS * size), CHAINS * size)
        full = b.imul(b.idiv(count, size), size)

        def at_position(index: Index, rest: Index | None = None) -> Value:
            return self.load(SOURCE, self.space.shifted(SOURCE, at, self.axis, index), rest)

        with b.loop(0, whole, CHAINS * size, [self.start()] * CHAINS) as loop:
            loop.carry(
                [self.fold(t, at_position(b.iadd(loop.index, i * size))) for i, t in enumerate(loop.carried)]
            )
        one, two, three, four = loop.results
        total = self.fold(self.fold(one, two), self.fold(three, four))
        with b.loop(whole, full, size, [total]) as loop:
            loop.carry([self.fold(loop.carried[0], at_position(loop.index))])
        # once at most: the register that is not full
        with b.loop(full, count, size, loop.results) as loop:
            rest = b.isub(count, full)
            value = self.existing(at_position(full, rest), rest, LOWEST if self.kind == "max" else 0.0)
            loop.carry([self.fold(loop.carried[0], value)])
        return loop.results[0]


class _Columns(_Reduce):
    """The last axis stays; registers run along it."""

    def emit(self) -> None:
        b, space = self.b, self.space
        along = space.extents[self.axis]
        chunk = COLUMN_VECTORS * self.size
        extents = [*space.extents[: self.axis], b.ceildiv(along, chunk)]
        side_by_side = self.kernel.target.vector_registers // 2
        first, last = self.kernel.share(b.iproduct(extents))
        with b.loop(first, last) as item:
            *indices, part = b.split(item.index, extents)
            start = b.imul(part, chunk)
            place = {n: space.at(n, [*indices, start], range(self.kept)) for n in space.views}

            def emit(start: Index, registers: int, rest: Index | None) -> None:
                steps = [b.iadd(start, i * self.size) for i in range(registers)]
                places = [self.moved(place, self.axis, s) for s in steps]
                totals = self.columns([p[SOURCE] for p in places], rest)
                for here, value in zip(places, totals, strict=True):
                    self.result(value, here, rest)

            runs(b, b.at_most(chunk, along, start), self.size, side_by_side, emit, along)

    def columns(self, at: list[Index], count: Index | None) -> list[Value]:
        """Reduce some registers of neighbouring results over the box of all reduced axes."""
        b, space = self.b, self.space
        if self.kept == len(space.dims):
            return [self.load(SOURCE, a, count) for a in at]
        *outer, last = range(self.kept, len(space.dims))
        starts = [self.start()] * len(at)

        def chunked(indices: list[Index], totals: list[Value]) -> list[Value]:
            """The last reduced axis."""
            moves = b.linear(indices, [space.stride(SOURCE, axis) for axis in outer])
            here = [b.iadd(a, moves) for a in at]
            with b.loop(0, space.extents[last], CHUNK_VECTORS, totals) as part:
                end = b.iadd(part.index, b.at_most(CHUNK_VECTORS, space.extents[last], part.index))
                with b.loop(part.index, end, 1, starts) as loop:
                    places = [space.shifted(SOURCE, a, last, loop.index) for a in here]
                    values = [self.load(SOURCE, p, count) for p in places]
                    loop.carry([self.fold(t, v) for t, v in zip(loop.carried, values, strict=True)])
                part.carry([self.fold(t, v) for t, v in zip(part.carried, loop.results, strict=True)])
            return list(part.results)

        bounds: list[tuple[Index, Index]] = [(0, space.extents[axis]) for axis in outer]
        return nest(b, bounds, starts, chunked)
