"""Inner products: each weight is read once, in the order of memory; samples are the pixels of a tile.

Two forms. ``columns``: registers run along the outputs, weights blocked by outputs or stored [K, N]; the
inputs are broadcast, as in the convolution. ``rows``: weights stored [N, K], registers run along K and are
summed at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.conv_schedule import MacTile, choose_tile
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.point import Point, finish_at
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType

VECTORS_OF_ONE_SAMPLE = 8
DOTS_AT_ONCE = 4
WANTED_ITEMS = 8


def columns_applies(anchor: Op) -> bool:
    """The weights of neighbouring outputs lie side by side."""
    return anchor.attrs.transpose or _weight(anchor).layout is not None


def rows_applies(anchor: Op) -> bool:
    """The weights of one output lie side by side."""
    return not anchor.attrs.transpose and _weight(anchor).layout is None


def _weight(anchor: Op) -> TensorType:
    type_ = anchor.operands[1].type
    assert isinstance(type_, TensorType)
    return type_


@dataclass(frozen=True, slots=True)
class _Samples:
    """``size`` samples from ``start``."""

    start: Index
    size: int


def lower_columns(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """y[m, n..n+lanes] += x[m, k] * w[n..n+lanes, k]."""
    _Columns(kernel, anchor, tail).emit()


class _Columns:
    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
        self.kernel, self.b, self.anchor, self.tail = kernel, kernel.b, anchor, tail
        self.x = kernel.operand(anchor.operands[0])
        self.w = kernel.operand(anchor.operands[1])
        self.bias = kernel.bias(anchor)
        self.y = kernel.writes[0]
        layout = self.w.type.layout
        self.lanes = layout.size if layout is not None else kernel.b.lanes
        shape = self.w.type.static_shape
        self.depth, self.outputs = shape if anchor.attrs.transpose else (shape[1], shape[0])
        self.blocks = -(-self.outputs // self.lanes)
        self.tile = self.choose()

    def choose(self) -> MacTile:
        samples = self.y.type.shape[0]
        known = samples if isinstance(samples, int) else None
        if known == 1:
            # enough streams to hide latency, enough items for the threads
            vectors = max(1, min(VECTORS_OF_ONE_SAMPLE, self.blocks // WANTED_ITEMS))
            return MacTile(1, vectors, self.depth)
        return choose_tile(self.kernel.target, known, self.blocks, 1, self.depth)

    def emit(self) -> None:
        b = self.b
        groups = -(-self.blocks // self.tile.vectors)
        rest = self.blocks % self.tile.vectors
        first, last = self.kernel.share(groups)
        with b.loop(first, last) as item:
            block = b.imul(item.index, self.tile.vectors)
            with b.when(b.icompare("le", block, self.blocks - self.tile.vectors) if rest else True):
                self.item(block, self.tile.vectors)
            if rest:
                with b.when(b.icompare("gt", block, self.blocks - self.tile.vectors)):
                    self.item(block, rest)

    def item(self, block: Index, vectors: int) -> None:
        """All samples of some outputs, in passes over K whose weights stay in the L1 cache."""
        b = self.b
        samples = b.dim(self.y.type.shape[0])
        size = self.tile.pixels
        with b.loop(0, self.depth, self.tile.depth) as step:
            end = b.imin(self.depth, b.iadd(step.index, self.tile.depth))
            if isinstance(samples, int):
                whole, remainder = divmod(samples, size)
                with b.loop(0, whole) as tile:
                    self.cell(_Samples(b.imul(tile.index, size), size), block, vectors, step.index, end)
                if remainder:
                    self.cell(_Samples(samples - remainder, remainder), block, vectors, step.index, end)
                return
            whole_tiles = b.idiv(samples, size)
            with b.loop(0, whole_tiles) as tile:
                self.cell(_Samples(b.imul(tile.index, size), size), block, vectors, step.index, end)
            with b.loop(b.imul(whole_tiles, size), samples) as sample:
                self.cell(_Samples(sample.index, 1), block, vectors, step.index, end)

    def cell(self, samples: _Samples, block: Index, vectors: int, start: Index, end: Index) -> None:
        b = self.b
        cells = [(m, v) for m in range(samples.size) for v in range(vectors)]
        points = [self.point(b.iadd(samples.start, m), b.iadd(block, v)) for m, v in cells]
        first = b.icompare("eq", start, 0)
        last = b.icompare("eq", end, self.depth)
        totals = self.initial(first, cells, points, block)
        with b.loop(start, end, 1, totals) as k:
            weights = [self.load_weight(b.iadd(block, v), k.index) for v in range(vectors)]
            sums = list(k.carried)
            for m in range(samples.size):
                at = b.linear([b.iadd(samples.start, m), k.index], self.x.strides)
                x = b.splat(b.load(self.x.pointer, at), self.lanes)
                for v in range(vectors):
                    cell = m * vectors + v
                    sums[cell] = b.fma(x, weights[v], sums[cell])
            k.carry(sums)
        with b.when(last):
            for point, total in zip(points, k.results, strict=True):
                finish_at(self.kernel, self.anchor, total, self.tail, self.kernel.writes, point)
        if last is not True:
            with b.when(b.icompare("lt", end, self.depth)):
                for point, total in zip(points, k.results, strict=True):
                    self.store_partial(point, total)

    def point(self, sample: Index, block: Index) -> Point:
        column = self.b.imul(block, self.lanes)
        count = None
        if self.outputs % self.lanes:
            count = self.b.imin(self.lanes, self.b.isub(self.outputs, column))
        return Point((sample, column), None, 1, self.lanes, count)

    def initial(
        self, first: Value | bool, cells: list[tuple[int, int]], points: list[Point], block: Index
    ) -> list[Value]:
        b = self.b
        vectors = max(v for _, v in cells) + 1
        starts = [self.bias_vector(b.iadd(block, v)) for v in range(vectors)]
        if first is True:
            return [starts[v] for _, v in cells]
        return [
            b.select(first, starts[v], self.load_partial(p)) for (_, v), p in zip(cells, points, strict=True)
        ]

    def bias_vector(self, block: Index) -> Value:
        b = self.b
        if self.bias is None:
            return b.const(0.0, f"f32x{self.lanes}")
        column = b.imul(block, self.lanes)
        if self.bias.type.layout is not None or not self.outputs % self.lanes:
            return b.load(self.bias.pointer, column, self.lanes)
        return b.load_first(self.bias.pointer, column, b.isub(self.outputs, column), self.lanes)

    def load_weight(self, block: Index, k: Index) -> Value:
        b = self.b
        if self.w.type.layout is not None:
            at = b.linear([block, k], self.w.strides[:2])
            return b.load(self.w.pointer, at, self.lanes)
        column = b.imul(block, self.lanes)
        at = b.iadd(b.imul(k, self.w.strides[0]), column)
        if not self.outputs % self.lanes:
            return b.load(self.w.pointer, at, self.lanes)
        return b.load_first(self.w.pointer, at, b.isub(self.outputs, column), self.lanes)

    def _partial_at(self, point: Point) -> Index:
        return self.b.linear(point.indices, self.y.strides)

    def load_partial(self, point: Point) -> Value:
        at = self._partial_at(point)
        if point.count is None:
            return self.b.load(self.y.pointer, at, self.lanes)
        return self.b.load_first(self.y.pointer, at, point.count, self.lanes)

    def store_partial(self, point: Point, total: Value) -> None:
        at = self._partial_at(point)
        if point.count is None:
            self.b.store(total, self.y.pointer, at)
        else:
            self.b.store_first(total, self.y.pointer, at, point.count)


def lower_rows(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """y[m, n] = sum of a register that ran along K."""
    b = kernel.b
    x, w = kernel.operand(anchor.operands[0]), kernel.operand(anchor.operands[1])
    bias = kernel.bias(anchor)
    outputs, depth = w.type.static_shape
    samples = b.dim(x.type.shape[0])
    at_once = min(DOTS_AT_ONCE, outputs)
    groups = -(-outputs // at_once)
    first, last = kernel.share(b.imul(samples, groups))
    whole = depth // b.lanes * b.lanes
    with b.loop(first, last) as item:
        group, sample = b.split(item.index, [groups, samples])
        # the last group overlaps its neighbour rather than being shorter
        column = b.imin(b.imul(group, at_once), outputs - at_once)
        zero = b.const(0.0, f"f32x{b.lanes}")
        x_row = b.imul(sample, x.strides[0])
        totals: Sequence[Value] = [zero] * at_once
        if whole:
            with b.loop(0, whole, b.lanes, totals) as k:
                part = b.load(x.pointer, b.iadd(x_row, k.index), b.lanes)
                k.carry(_dot_step(kernel, w.pointer, column, depth, k.index, part, k.carried, None))
            totals = k.results
        if depth > whole:
            part = b.load_first(x.pointer, b.iadd(x_row, whole), depth - whole, b.lanes)
            totals = _dot_step(kernel, w.pointer, column, depth, whole, part, totals, depth - whole)
        for i, total in enumerate(totals):
            n = b.iadd(column, i)
            value = b.reduce("sum", total)
            if bias is not None:
                value = b.add(value, b.load(bias.pointer, n))
            finish_at(kernel, anchor, value, tail, kernel.writes, Point((sample, n), None, 1, 0))


def _dot_step(
    kernel: Kernel,
    weights: Value,
    column: Index,
    depth: int,
    k: Index,
    x: Value,
    totals: Sequence[Value],
    count: int | None,
) -> list[Value]:
    """Add the products of one register of inputs with the weights of neighbouring outputs."""
    b = kernel.b
    sums = []
    for i, total in enumerate(totals):
        at = b.iadd(b.imul(b.iadd(column, i), depth), k)
        w = b.load(weights, at, b.lanes) if count is None else b.load_first(weights, at, count, b.lanes)
        sums.append(b.fma(x, w, total))
    return sums
