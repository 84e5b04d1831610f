"""Inner products with row-major weights [N, K]: registers run along K, and are summed at the end of a chunk.

A tile of samples x outputs is a square of dot products. A group of outputs meets all samples before the next
one, chunk by chunk of K, so that its weights come from memory once and from the L1 cache then. Strips of K
keep the samples in the L2 cache. Between chunks the partial sums rest in the result.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.columns import balanced
from netc.backends.llvm.lower.conv_schedule import choose_tile, even_depth
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.point import Point, finish_at, load_at, store_at
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType

OUTPUTS_OF_ONE_SAMPLE = 8
SYMBOLIC_SAMPLES = 16


def applies(anchor: Op) -> bool:
    """The weights of one output lie side by side."""
    w = anchor.operands[1].type
    assert isinstance(w, TensorType)
    return not anchor.attrs.transpose and w.layout is None


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel: the product ``anchor`` and its elementwise ``tail``."""
    _Rows(kernel, anchor, tail).emit()


class _Rows:
    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
        self.kernel, self.b, self.anchor, self.tail = kernel, kernel.b, anchor, tail
        self.x = kernel.operand(anchor.operands[0])
        self.w = kernel.operand(anchor.operands[1])
        self.bias = kernel.bias(anchor)
        self.y = kernel.writes[0]
        self.outputs, self.depth = self.w.type.static_shape
        self.lanes = kernel.b.lanes
        self.choose()

    def choose(self) -> None:
        """The tile, and the lengths of chunks and strips of K."""
        target, depth = self.kernel.target, self.depth
        samples = self.y.type.shape[0]
        known = samples if isinstance(samples, int) else None
        if known == 1:
            self.samples, self.at_once = 1, min(OUTPUTS_OF_ONE_SAMPLE, self.outputs)
            self.chunk = self.strip = depth
            return
        tile = choose_tile(target, known, self.outputs, 1, depth)
        self.at_once = tile.vectors
        self.samples = tile.pixels if known is None else balanced(known, tile.pixels)[0]
        in_l1 = target.l1_bytes // 2 // (4 * self.at_once)
        in_l2 = target.l2_bytes // 2 // (4 * (known or SYMBOLIC_SAMPLES))
        self.strip = even_depth(depth, max(in_l2, self.lanes), self.lanes)
        self.chunk = even_depth(self.strip, max(min(in_l1, in_l2), self.lanes), self.lanes)

    def emit(self) -> None:
        b = self.b
        rest = self.outputs % self.at_once
        first, last = self.kernel.share(-(-self.outputs // self.at_once))
        with b.loop(0, self.depth, self.strip) as strip, b.loop(first, last) as item:
            column = b.imul(item.index, self.at_once)
            end = b.imin(self.depth, b.iadd(strip.index, self.strip))
            with b.when(b.icompare("le", column, self.outputs - self.at_once) if rest else True):
                self.group(column, self.at_once, strip.index, end)
            if rest:
                with b.when(b.icompare("gt", column, self.outputs - self.at_once)):
                    self.group(column, rest, strip.index, end)

    def group(self, column: Index, count: int, start: Index, end: Index) -> None:
        """All samples of ``count`` outputs, for a strip of K."""
        b, size = self.b, self.samples
        samples = b.dim(self.y.type.shape[0])
        with b.loop(start, end, self.chunk) as chunk:
            k_range = chunk.index, b.imin(end, b.iadd(chunk.index, self.chunk))
            if isinstance(samples, int):
                whole, remainder = divmod(samples, size)
                with b.loop(0, whole) as tile:
                    self.tile(b.imul(tile.index, size), size, column, count, *k_range)
                if remainder:
                    self.tile(samples - remainder, remainder, column, count, *k_range)
                return
            tiles = b.idiv(samples, size)
            with b.loop(0, tiles) as tile:
                self.tile(b.imul(tile.index, size), size, column, count, *k_range)
            with b.loop(b.imul(tiles, size), samples) as sample:
                self.tile(sample.index, 1, column, count, *k_range)

    def tile(self, sample: Index, size: int, column: Index, count: int, start: Index, end: Index) -> None:
        """The dot products of ``size`` samples with ``count`` outputs over a chunk of K."""
        b = self.b
        cells = [(m, n) for m in range(size) for n in range(count)]
        totals = [b.const(0.0, f"f32x{self.lanes}")] * len(cells)
        whole = self.depth // self.lanes * self.lanes
        with b.loop(start, b.imin(end, whole) if whole < self.depth else end, self.lanes, totals) as k:
            k.carry(self.step(k.carried, sample, size, column, count, k.index, self.lanes))
        totals = list(k.results)
        if whole < self.depth:
            with b.loop(whole, end, self.lanes, totals) as k:
                k.carry(self.step(k.carried, sample, size, column, count, whole, self.depth - whole))
            totals = list(k.results)
        first = b.icompare("eq", start, 0)
        last = b.icompare("eq", end, self.depth)
        points = [Point((b.iadd(sample, m), b.iadd(column, n)), None, 1, 0) for m, n in cells]
        sums = [
            b.add(b.reduce("sum", total), self.start(point, first))
            for total, point in zip(totals, points, strict=True)
        ]
        with b.when(last):
            for value, point in zip(sums, points, strict=True):
                finish_at(self.kernel, self.anchor, value, self.tail, self.kernel.writes, point)
        if last is not True:
            with b.when(b.icompare("lt", end, self.depth)):
                for value, point in zip(sums, points, strict=True):
                    store_at(self.kernel, self.y, point, value)

    def start(self, point: Point, first: Value | bool) -> Value:
        """The bias in the first chunk, the partial sum afterwards."""
        b = self.b
        bias = b.const(0.0, "f32") if self.bias is None else b.load(self.bias.pointer, point.indices[1])
        return bias if first is True else b.select(first, bias, load_at(self.kernel, self.y, point))

    def step(
        self,
        totals: Sequence[Value],
        sample: Index,
        size: int,
        column: Index,
        count: int,
        k: Index,
        elements: int,
    ) -> list[Value]:
        """Add the products of ``elements`` neighbouring k."""
        b = self.b
        weights = [
            b.load_first(
                self.w.pointer, b.linear([b.iadd(column, n), k], self.w.strides), elements, self.lanes
            )
            for n in range(count)
        ]
        sums = []
        for m in range(size):
            at = b.linear([b.iadd(sample, m), k], self.x.strides)
            x = b.load_first(self.x.pointer, at, elements, self.lanes)
            sums += [b.fma(x, w, totals[m * count + n]) for n, w in enumerate(weights)]
        return sums
