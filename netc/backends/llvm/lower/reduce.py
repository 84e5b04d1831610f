"""Sums, means and maxima along any axes, row-major.

Where the last axis is reduced, registers run along it and are folded into one number at the end; where it
stays, each lane is a result of its own. Sums are added up by chunks, so that their error grows slowly.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.copy import SOURCE, write_names
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.nest import nest
from netc.backends.llvm.lower.point import apply
from netc.backends.llvm.lower.space import Space, View, arguments_read, result_views
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
    x = kernel.operand(anchor.operands[0])
    shape, axes = x.type.shape, anchor.attrs.axes
    views = {
        name: View(v.pointer, tuple(0 if axis in axes else s for axis, s in enumerate(v.strides)), v.offset)
        for name, v in result_views(kernel, tail).items()
    }
    views[SOURCE] = View(x.pointer, x.stride_dims)
    kinds = ["" if d == 1 else "reduced" if axis in axes else "kept" for axis, d in enumerate(shape)]
    space = Space(kernel.b, shape, views, kinds).merged()
    _Reduce(kernel, anchor, tail, space, x.type.shape).emit()


class _Reduce:
    def __init__(
        self, kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space, shape: Sequence[object]
    ) -> None:
        self.kernel = kernel
        self.b = kernel.b
        self.anchor = anchor
        self.tail = tail
        self.reads = arguments_read(kernel, tail)
        self.writes = write_names(kernel)
        self.maximum = anchor.attrs.kind == "max"
        self.count = product(tuple(d for i, d in enumerate(shape) if i in anchor.attrs.axes))  # type: ignore[misc]
        self.inner = space.kinds[-1] if space.kinds else "kept"
        # kept axes in front, but for the one that registers run along
        kept, reduced = space.of_kind("kept"), space.of_kind("reduced")
        self.space = space.reordered([*kept, *reduced])
        self.kept, self.reduced = len(kept), len(reduced)
        self.along = self.kept - 1 if self.inner == "kept" else len(space.dims) - 1
        moved = [SOURCE] if self.inner == "reduced" else [SOURCE, *self.writes]
        fits = bool(space.dims) and all(self.space.stride(n, self.along) == 1 for n in moved)
        if self.inner == "kept":
            fits = fits and all(self.space.stride(n, self.along) in (0, 1) for n in self.reads)
        self.lanes = kernel.target.lanes if fits else 0
        self.size = max(1, self.lanes)
        self.type = f"f32x{self.lanes}" if self.lanes else "f32"

    def emit(self) -> None:
        if self.inner == "kept":
            self.by_columns()
        else:
            self.by_rows()

    # --- values ---
    def start(self) -> Value:
        return self.b.const(LOWEST if self.maximum else 0.0, self.type)

    def fold(self, total: Value, value: Value) -> Value:
        return self.b.maximum(value, total) if self.maximum else self.b.add(total, value)

    def load(self, name: str, at: Index, count: Index | None) -> Value:
        b, pointer = self.b, self.space.views[name].pointer
        if not self.lanes or self.space.stride(name, self.along) == 0:
            return b.splat(b.load(pointer, at), self.lanes)
        return b.load_first(pointer, at, self.size if count is None else count, self.lanes)

    def finish(self, value: Value, at: dict[str, Index], count: Index | None, lanes: int) -> None:
        """Divide a mean, run the elementwise ops, store."""
        b = self.b
        if self.anchor.attrs.kind == "mean":
            divisor = b.cast("to_float", b.value(b.dim(self.count)), "f32")
            value = b.div(value, b.splat(divisor, lanes))
        known = {self.anchor.result.name: value}
        for name in self.reads:
            pointer = self.space.views[name].pointer
            known[name] = self.load(name, at[name], count) if lanes else b.load(pointer, at[name])
        values = apply(b, self.tail, known, self.kernel.body.results)
        for name, result in zip(self.writes, values, strict=True):
            pointer = self.space.views[name].pointer
            if lanes:
                b.store_first(result, pointer, at[name], self.size if count is None else count)
            else:
                b.store(result, pointer, at[name])

    # --- the last axis is reduced ---
    def by_rows(self) -> None:
        b, space = self.b, self.space
        kept = space.extents[: self.kept]
        total: Index = 1
        for extent in kept:
            total = b.imul(total, extent)
        first, last = self.kernel.share(total)
        outer = range(self.kept, self.along)
        with b.loop(first, last) as item:
            indices = b.split(item.index, kept) if kept else []
            at = {n: space.at(n, indices, range(self.kept)) for n in space.views}

            def row(reduced: list[Index], totals: list[Value], at: dict[str, Index] = at) -> list[Value]:
                here = at[SOURCE]
                for axis, index in zip(outer, reduced, strict=True):
                    here = space.shifted(SOURCE, here, axis, index)
                return self.row(here, space.extents[self.along], totals)

            bounds: list[tuple[Index, Index]] = [(0, space.extents[a]) for a in outer]
            (value,) = nest(b, bounds, [self.start()], row)
            self.finish(b.reduce("max" if self.maximum else "sum", value), at, None, 0)

    def row(self, at: Index, extent: Index, totals: list[Value]) -> list[Value]:
        """Fold a run of the last axis into the total, chunk by chunk."""
        b, size = self.b, self.size
        chunk = CHUNK_VECTORS * size
        with b.loop(0, extent, chunk, totals) as part:
            left = b.isub(extent, part.index)
            count = chunk if isinstance(extent, int) and extent % chunk == 0 else b.imin(chunk, left)
            begin = self.space.shifted(SOURCE, at, self.along, part.index)
            part.carry([self.fold(part.carried[0], self.chunk(begin, count))])
        return list(part.results)

    def chunk(self, at: Index, count: Index) -> Value:
        b, size = self.b, self.size
        whole = b.imul(b.idiv(count, CHAINS * size), CHAINS * size)
        full = b.imul(b.idiv(count, size), size)

        def step(total: Value, index: Index) -> Value:
            return self.fold(total, self.load(SOURCE, self.space.shifted(SOURCE, at, self.along, index), None))

        with b.loop(0, whole, CHAINS * size, [self.start()] * CHAINS) as loop:
            loop.carry([step(t, b.iadd(loop.index, i * size)) for i, t in enumerate(loop.carried)])
        one, two, three, four = loop.results
        total = self.fold(self.fold(one, two), self.fold(three, four))
        with b.loop(whole, full, size, [total]) as loop:
            loop.carry([step(loop.carried[0], loop.index)])
        # once at most: the register that is not full
        with b.loop(full, count, size, loop.results) as loop:
            rest = b.isub(count, full)
            value = self.load(SOURCE, self.space.shifted(SOURCE, at, self.along, full), rest)
            if self.lanes:
                value = b.select(b.first_lanes(rest, self.lanes), value, self.start())
            loop.carry([self.fold(loop.carried[0], value)])
        return loop.results[0]

    # --- the last axis stays ---
    def by_columns(self) -> None:
        b, space = self.b, self.space
        if not space.dims:
            first, last = self.kernel.share(1)
            with b.loop(first, last):
                at = {n: space.at(n, []) for n in space.views}
                self.finish(b.load(space.views[SOURCE].pointer, at[SOURCE]), at, None, 0)
            return
        along = space.extents[self.along]
        chunk = COLUMN_VECTORS * self.size
        chunks = b.ceildiv(along, chunk)
        outer = space.extents[: self.along]
        total: Index = chunks
        for extent in outer:
            total = b.imul(total, extent)
        first, last = self.kernel.share(total)
        with b.loop(first, last) as item:
            *indices, part = b.split(item.index, [*outer, chunks])
            start = b.imul(part, chunk)
            at = {n: space.at(n, [*indices, start], range(self.kept)) for n in space.views}

            def emit(start: Index, registers: int, rest: Index | None, at: dict[str, Index] = at) -> None:
                places = [
                    {n: space.shifted(n, a, self.along, b.iadd(start, i * self.size)) for n, a in at.items()}
                    for i in range(registers)
                ]
                totals = self.columns([p[SOURCE] for p in places], rest)
                for place, value in zip(places, totals, strict=True):
                    self.finish(value, place, rest, self.lanes)

            runs(b, b.imin(chunk, b.isub(along, start)), self.size, CHAINS, emit)

    def columns(self, at: list[Index], count: Index | None) -> list[Value]:
        """Reduce some registers of neighbouring results over the box of all reduced axes."""
        b, space = self.b, self.space
        axes = range(self.kept, self.kept + self.reduced)
        starts = [self.start()] * len(at)

        def place(here: Index, indices: Sequence[Index]) -> Index:
            for axis, index in zip(axes, indices, strict=False):
                here = space.shifted(SOURCE, here, axis, index)
            return here

        def chunked(indices: list[Index], totals: list[Value]) -> list[Value]:
            """The last reduced axis."""
            here = [place(a, indices) for a in at]
            last = axes[-1]
            with b.loop(0, space.extents[last], CHUNK_VECTORS, totals) as part:
                end = b.imin(space.extents[last], b.iadd(part.index, CHUNK_VECTORS))
                with b.loop(part.index, end, 1, starts) as loop:
                    values = [
                        self.load(SOURCE, space.shifted(SOURCE, a, last, loop.index), count) for a in here
                    ]
                    loop.carry([self.fold(t, v) for t, v in zip(loop.carried, values, strict=True)])
                part.carry([self.fold(t, v) for t, v in zip(part.carried, loop.results, strict=True)])
            return list(part.results)

        if not self.reduced:
            return [self.load(SOURCE, a, count) for a in at]
        bounds: list[tuple[Index, Index]] = [(0, space.extents[axis]) for axis in axes[:-1]]
        return nest(b, bounds, starts, chunked)
