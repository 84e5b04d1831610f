"""Sums, means and maxima along any axes of what elementwise ops make of the operands; any layout.

One walk over the operands serves several reductions. Where the last axis is reduced, registers run along it
and are folded into one number at the end; where it stays (also: the lanes of a blocked layout), each lane is
a result of its own. Sums are added up by chunks, so that their error grows slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netc.backends.launch_body import parts_of
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.nest import nest
from netc.backends.llvm.lower.point import apply
from netc.backends.llvm.lower.registers import Place, Registers
from netc.backends.llvm.lower.space import (
    Space,
    View,
    arguments_read,
    broadcast_strides,
    result_views,
    storage_axes,
    write_names,
)
from netc.backends.llvm.lower.sweep import runs
from netc.ir.core import Op, Value
from netc.ir.dim import product
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType, VectorType

CHAINS = 4
CHUNK_VECTORS = 256
COLUMN_VECTORS = 16
LOWEST = float("-inf")

# what to fold: (registers of the operands by name, which of the neighbouring results) -> one value a fold
Mapped = Callable[[Mapping[str, Value], int], Sequence[Value]]


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of one or more ``tensor.reduce``, or of a ``nn.moments``."""
    b = kernel.b
    parts = parts_of(kernel.body)
    type_ = anchor.operands[0].type
    assert isinstance(type_, TensorType)
    axes, extents = anchor.attrs.axes, storage_axes(type_)
    views = {
        name: View(v.pointer, tuple(0 if axis in axes else s for axis, s in enumerate(v.strides)), v.offset)
        for name, v in result_views(kernel, tail).items()
    }
    operands = operands_of(kernel, (*parts.before, *parts.anchors))
    for name in operands:
        memory = kernel.arguments[name]
        views[source_of(name)] = View(memory.pointer, broadcast_strides(memory, type_))
    kinds = ["" if d == 1 else "reduced" if axis in axes else "kept" for axis, d in enumerate(extents)]
    space = Space(b, extents, views, kinds).merged()
    # kept axes in front
    kept, reduced = space.of_kind("kept"), space.of_kind("reduced")
    columns = not space.kinds or space.kinds[-1] == "kept"
    space = space.reordered([*kept, *reduced])
    count = b.dim(product(tuple(type_.shape[axis] for axis in axes)))
    along = (len(kept) if columns else len(space.dims)) - 1
    dense = [source_of(n) for n in operands]
    if columns:
        dense += arguments_read(kernel, tail)
    lanes = _lanes(kernel, space, along, dense, write_names(kernel) if columns else ())
    walk = (_Columns if columns else _Rows)(kernel, parts.before, parts.anchors, tail, space, along, lanes)
    walk.emit(count)


def operands_of(kernel: Kernel, ops: Sequence[Op]) -> list[str]:
    """The body arguments that ops read."""
    names = dict.fromkeys(v.name for op in ops for v in op.operands)
    return [name for name in names if name in kernel.arguments]


def source_of(argument: str) -> str:
    """The name of the view of an argument where it is reduced; its own is that among the results."""
    return f"<{argument}"


def _lanes(kernel: Kernel, space: Space, axis: int, reads: Sequence[str], writes: Sequence[str]) -> int:
    """The machine's lanes where all reads and writes are contiguous along an axis, else 0."""
    if axis < 0:
        return 0
    fits = all(space.stride(n, axis) == 1 for n in writes) and all(
        space.stride(n, axis) in (0, 1) for n in reads
    )
    return kernel.target.lanes if fits else 0


class _Walk(Registers):
    """``before`` makes of the operands what the ``anchors`` reduce."""

    def __init__(
        self,
        kernel: Kernel,
        before: Sequence[Op],
        anchors: Sequence[Op],
        tail: Sequence[Op],
        space: Space,
        axis: int,
        lanes: int,
    ) -> None:
        super().__init__(kernel, anchors[0], tail, space, axis, lanes)
        self.before = before
        self.anchors = anchors
        self.operands = operands_of(kernel, (*before, *anchors))
        self.kept = len(space.of_kind("kept"))

    def emit(self, elements: Index) -> None:
        """The kernel; ``elements`` go into each result."""
        raise NotImplementedError

    def totals(
        self, places: Sequence[Place], count: Index | None, kinds: Sequence[str], mapped: Mapped
    ) -> list[list[Value]]:
        """For each of some neighbouring registers of results: one reduction a kind, without division."""
        raise NotImplementedError

    def reduced(
        self, places: Sequence[Place], count: Index | None, elements: Index
    ) -> list[dict[str, Value]]:
        """For each of some neighbouring registers of results: the anchors' results by name."""
        divisor = self.b.cast("to_float", self.b.value(elements), "f32")

        def mean(total: Value) -> Value:
            lanes = total.type.lanes if isinstance(total.type, VectorType) else 0
            return self.b.div(total, self.b.splat(divisor, lanes))

        sources = [op.operands[0] for op in self.anchors]

        def values(registers: Mapping[str, Value], _: int = 0) -> list[Value]:
            return apply(self.b, self.before, registers, sources)

        if self.anchor.name == "nn.moments":
            means = [mean(sums[0]) for sums in self.totals(places, count, ["sum"], values)]
            centres = [self.b.splat(m, self.lanes) for m in means]

            def squares(registers: Mapping[str, Value], result: int) -> list[Value]:
                centred = self.b.sub(values(registers)[0], centres[result])
                return [self.b.mul(centred, centred)]

            variances = [mean(sums[0]) for sums in self.totals(places, count, ["sum"], squares)]
            names = [r.name for r in self.anchor.results]
            return [dict(zip(names, pair, strict=True)) for pair in zip(means, variances, strict=True)]
        kinds = [op.attrs.kind for op in self.anchors]
        return [
            {
                op.result.name: mean(total) if kind == "mean" else total
                for op, kind, total in zip(self.anchors, kinds, totals, strict=True)
            }
            for totals in self.totals(places, count, kinds, values)
        ]

    # --- folding ---
    def chains(self, kinds: Sequence[str], results: int = 1) -> int:
        """How many folds side by side hide the latency of one."""
        return max(1, CHAINS // (results * len(kinds)))

    def starts(self, kinds: Sequence[str]) -> list[Value]:
        return [self.b.const(_start(kind), self.type) for kind in kinds]

    def fold(self, kinds: Sequence[str], totals: Sequence[Value], values: Sequence[Value]) -> list[Value]:
        b = self.b
        return [
            b.maximum(value, total) if kind == "max" else b.add(total, value)
            for kind, total, value in zip(kinds, totals, values, strict=True)
        ]

    def folded(self, kinds: Sequence[str], chains: Sequence[Sequence[Value]]) -> list[Value]:
        """Chains added up as a tree."""
        chains = [list(c) for c in chains]
        while len(chains) > 1:
            pairs = [self.fold(kinds, x, y) for x, y in zip(chains[::2], chains[1::2], strict=False)]
            chains = pairs + chains[len(pairs) * 2 :]
        return list(chains[0])

    def registers(self, at: Mapping[str, Index], count: Index | None) -> dict[str, Value]:
        """The operands' registers at the offsets of their views."""
        return {name: self.load(source_of(name), at[source_of(name)], count) for name in self.operands}

    def stepped(self, at: Mapping[str, Index], axis: int, index: Index) -> Place:
        """The offsets of the operands some elements further along an axis."""
        names = [source_of(name) for name in self.operands]
        return {n: self.space.shifted(n, at[n], axis, index) for n in names}


def _start(kind: str) -> float:
    return LOWEST if kind == "max" else 0.0


class _Rows(_Walk):
    """The last axis is reduced. The registers of the results are scalars."""

    def emit(self, elements: Index) -> None:
        b, space = self.b, self.space
        kept = space.extents[: self.kept]
        results = Registers(self.kernel, self.anchor, self.tail, space, self.axis, 0)
        first, last = self.kernel.share(b.iproduct(kept))
        with b.loop(first, last) as item:
            indices = b.split(item.index, kept) if kept else []
            place = {n: space.at(n, indices, range(self.kept)) for n in space.views}
            (known,) = self.reduced([place], None, elements)
            results.finish_all(known, place)

    def totals(
        self, places: Sequence[Place], count: Index | None, kinds: Sequence[str], mapped: Mapped
    ) -> list[list[Value]]:
        assert count is None
        b, space = self.b, self.space
        (place,) = places
        outer = range(self.kept, self.axis)

        def row(indices: list[Index], totals: list[Value]) -> list[Value]:
            here = place
            for axis, index in zip(outer, indices, strict=True):
                here = self.stepped(here, axis, index)
            return self.row(here, space.extents[self.axis], totals, kinds, mapped)

        bounds: list[tuple[Index, Index]] = [(0, space.extents[a]) for a in outer]
        totals = nest(b, bounds, self.starts(kinds), row)
        ends = zip(kinds, totals, strict=True)
        return [[b.reduce("max" if kind == "max" else "sum", total) for kind, total in ends]]

    def row(
        self, at: Place, extent: Index, totals: list[Value], kinds: Sequence[str], mapped: Mapped
    ) -> list[Value]:
        """Fold a run of the last axis into the totals, chunk by chunk."""
        b = self.b
        chunk = CHUNK_VECTORS * self.size
        with b.loop(0, extent, chunk, totals) as part:
            begin = self.stepped(at, self.axis, part.index)
            values = self.chunk(begin, b.at_most(chunk, extent, part.index), kinds, mapped)
            part.carry(self.fold(kinds, part.carried, values))
        return list(part.results)

    def chunk(self, at: Place, count: Index, kinds: Sequence[str], mapped: Mapped) -> list[Value]:
        b, size = self.b, self.size
        width, chains = len(kinds), self.chains(kinds)
        whole = b.imul(b.idiv(count, chains * size), chains * size)
        full = b.imul(b.idiv(count, size), size)

        def at_position(index: Index, rest: Index | None = None) -> list[Value]:
            values = mapped(self.registers(self.stepped(at, self.axis, index), rest), 0)
            return [self.existing(v, rest, _start(k)) for v, k in zip(values, kinds, strict=True)]

        with b.loop(0, whole, chains * size, self.starts(kinds) * chains) as loop:
            following = []
            for i in range(chains):
                totals = loop.carried[i * width : (i + 1) * width]
                following += self.fold(kinds, totals, at_position(b.iadd(loop.index, i * size)))
            loop.carry(following)
        sums = self.folded(kinds, [loop.results[i * width : (i + 1) * width] for i in range(chains)])
        if chains > 1:
            with b.loop(whole, full, size, sums) as loop:
                loop.carry(self.fold(kinds, loop.carried, at_position(loop.index)))
            sums = list(loop.results)
        if size > 1:
            # once at most: the register that is not full
            with b.loop(full, count, size, sums) as loop:
                rest = b.isub(count, full)
                loop.carry(self.fold(kinds, loop.carried, at_position(full, rest)))
            sums = list(loop.results)
        return sums


class _Columns(_Walk):
    """The last axis stays, or there is none; registers run along it."""

    def emit(self, elements: Index) -> None:
        b, space = self.b, self.space
        if self.axis < 0:
            first, last = self.kernel.share(1)
            with b.loop(first, last):
                self.results([{n: space.at(n, [], []) for n in space.views}], None, elements)
            return
        along = space.extents[self.axis]
        chunk = COLUMN_VECTORS * self.size
        extents = [*space.extents[: self.axis], b.ceildiv(along, chunk)]
        side_by_side = max(1, self.kernel.target.vector_registers // (2 * len(self.anchors)))
        first, last = self.kernel.share(b.iproduct(extents))
        with b.loop(first, last) as item:
            *indices, part = b.split(item.index, extents)
            start = b.imul(part, chunk)
            place = {n: space.at(n, [*indices, start], range(self.kept)) for n in space.views}

            def emit(start: Index, registers: int, rest: Index | None) -> None:
                steps = [b.iadd(start, i * self.size) for i in range(registers)]
                self.results([self.moved(place, self.axis, s) for s in steps], rest, elements)

            runs(b, b.at_most(chunk, along, start), self.size, side_by_side, emit, along)

    def results(self, places: Sequence[Place], count: Index | None, elements: Index) -> None:
        """Compute and store some neighbouring registers of results."""
        for place, known in zip(places, self.reduced(places, count, elements), strict=True):
            self.finish_all(known, place, count)

    def totals(
        self, places: Sequence[Place], count: Index | None, kinds: Sequence[str], mapped: Mapped
    ) -> list[list[Value]]:
        b, space, width = self.b, self.space, len(kinds)
        if self.kept == len(space.dims):
            return [list(mapped(self.registers(p, count), i)) for i, p in enumerate(places)]
        *outer, last = range(self.kept, len(space.dims))
        starts = self.starts(kinds) * len(places)
        chains = self.chains(kinds, len(places))
        every = list(kinds) * len(places)

        def at_position(here: Sequence[Place], index: Index) -> list[Value]:
            loaded = [self.registers(self.stepped(p, last, index), count) for p in here]
            return [value for i, registers in enumerate(loaded) for value in mapped(registers, i)]

        def chunked(indices: list[Index], totals: list[Value]) -> list[Value]:
            """The last reduced axis."""
            here = list(places)
            for axis, index in zip(outer, indices, strict=True):
                here = [self.stepped(p, axis, index) for p in here]
            with b.loop(0, space.extents[last], CHUNK_VECTORS, totals) as part:
                size = b.at_most(CHUNK_VECTORS, space.extents[last], part.index)
                whole = b.iadd(part.index, b.imul(b.idiv(size, chains), chains))
                end = b.iadd(part.index, size)
                with b.loop(part.index, whole, chains, starts * chains) as loop:
                    following = []
                    for i in range(chains):
                        mine = loop.carried[i * len(every) : (i + 1) * len(every)]
                        following += self.fold(every, mine, at_position(here, b.iadd(loop.index, i)))
                    loop.carry(following)
                chain = [loop.results[i * len(every) : (i + 1) * len(every)] for i in range(chains)]
                sums = self.folded(every, chain)
                if chains > 1:
                    with b.loop(whole, end, 1, sums) as loop:
                        loop.carry(self.fold(every, loop.carried, at_position(here, loop.index)))
                    sums = list(loop.results)
                part.carry(self.fold(every, part.carried, sums))
            return list(part.results)

        bounds: list[tuple[Index, Index]] = [(0, space.extents[axis]) for axis in outer]
        found = nest(b, bounds, starts, chunked)
        return [found[i * width : (i + 1) * width] for i in range(len(places))]
