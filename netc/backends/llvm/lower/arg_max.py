"""The largest element along an axis, or where it is: ``tensor.top_k`` for k = 1, row-major.

Registers run along the last of the other axes where that is contiguous, each lane a result of its own;
otherwise one number is found at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.registers import Place, Registers, lanes_along
from netc.backends.llvm.lower.space import SOURCE, Space, View, result_views
from netc.backends.llvm.lower.sweep import runs
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType

COLUMN_VECTORS = 16


def applies(anchor: Op) -> bool:
    """One result along an axis that is not trivial."""
    x = anchor.operands[0].type
    assert isinstance(x, TensorType)
    return bool(anchor.attrs.k == 1 and x.shape[anchor.attrs.axis] != 1)


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``tensor.top_k`` with k = 1."""
    x = kernel.operand(anchor.operands[0])
    along = anchor.attrs.axis
    views = {
        name: View(v.pointer, tuple(0 if axis == along else s for axis, s in enumerate(v.strides)), v.offset)
        for name, v in result_views(kernel, tail).items()
    }
    views[SOURCE] = View(x.pointer, x.stride_dims)
    kinds = ["axis" if axis == along else "kept" for axis in range(x.type.rank)]
    space = Space(kernel.b, x.type.shape, views, kinds).merged()
    kept = space.of_kind("kept")
    space = space.reordered([*kept, *space.of_kind("axis")])
    last = max(len(kept) - 1, 0)
    lanes = lanes_along(kernel, space, last, tail) if kept else 0
    _ArgMax(kernel, anchor, tail, space, last, lanes).emit(len(kept))


class _ArgMax(Registers):
    def emit(self, kept: int) -> None:
        b, space = self.b, self.space
        if kept == 0:
            first, last = self.kernel.share(1)
            with b.loop(first, last):
                place = {n: space.at(n, [], range(0)) for n in space.views}
                self.finish(self.found(place, None), place)
            return
        along = space.extents[self.axis]
        chunk = COLUMN_VECTORS * self.size
        extents = [*space.extents[: self.axis], b.ceildiv(along, chunk)]
        first, last = self.kernel.share(b.iproduct(extents))
        with b.loop(first, last) as item:
            *indices, part = b.split(item.index, extents)
            start = b.imul(part, chunk)
            place = {n: space.at(n, [*indices, start], range(kept)) for n in space.views}

            def emit(start: Index, registers: int, rest: Index | None) -> None:
                for i in range(registers):
                    here = self.moved(place, self.axis, b.iadd(start, i * self.size))
                    self.finish(self.found(here, rest), here, rest)

            runs(b, b.at_most(chunk, along, start), self.size, 1, emit, along)

    def found(self, place: Place, count: Index | None) -> Value:
        """Walk the axis for the results of one register; of equal elements the last is taken."""
        b, axis = self.b, len(self.space.dims) - 1
        zero, one = b.const(0.0, self.type), b.const(1.0, self.type)
        start = [self.source(place, count), zero, zero]
        with b.loop(0, self.space.extents[axis], 1, start) as loop:
            best, where, at = loop.carried
            value = self.load(SOURCE, self.space.shifted(SOURCE, place[SOURCE], axis, loop.index), count)
            better = b.compare("ge", value, best)
            loop.carry([b.select(better, value, best), b.select(better, at, where), b.add(at, one)])
        return loop.results[0 if self.anchor.attrs.what == "values" else 1]
