"""Inner products: each weight is read once, in the order of memory; samples are the pixels of a tile.

Registers run along the outputs, so the weights are blocked by outputs or stored [K, N]; the inputs are
broadcast, as in the convolution. For weights stored [N, K] see :mod:`inner_product_rows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.conv_schedule import (
    MacTile,
    choose_tile,
    fits_registers,
    given_tile,
    near_tiles,
    other_depths,
)
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.point import Point, finish_at
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType

VECTORS_OF_ONE_SAMPLE = 8
WANTED_ITEMS = 8
STREAMS = (1, 2, 3, 4, 6, 8, 12)  # vectors of outputs that are tried for one sample


def applies(anchor: Op) -> bool:
    """The weights of neighbouring outputs lie side by side."""
    return _is_static(anchor) and (anchor.attrs.transpose or _weight(anchor).layout is not None)


def _is_static(anchor: Op) -> bool:
    """Whether the weight's extents are known: those of a gradient's factor may be symbols."""
    return all(isinstance(d, int) for d in _weight(anchor).shape)


def _weight(anchor: Op) -> TensorType:
    type_ = anchor.operands[1].type
    assert isinstance(type_, TensorType)
    return type_


@dataclass(frozen=True, slots=True)
class _Samples:
    """``size`` samples from ``start``."""

    start: Index
    size: int


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """y[m, n..n+lanes] += x[m, k] * w[n..n+lanes, k]."""
    Columns(kernel, anchor, tail).emit()


def candidates(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> list[MacTile]:
    """Tiles near the model's choice, the most promising first."""
    return Columns(kernel, anchor, tail).candidates()


class Columns:
    """The loops over outputs, samples and K; what a product is may differ."""

    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
        self.kernel, self.b, self.anchor, self.tail = kernel, kernel.b, anchor, tail
        self.x = self.input()
        self.w = kernel.operand(anchor.operands[1])
        self.bias = kernel.bias(anchor)
        self.y = kernel.writes[0]
        layout = self.w.type.layout
        self.lanes = layout.size if layout is not None else kernel.b.lanes
        shape = self.w.type.static_shape
        self.depth, self.outputs = shape if self.transposed else (shape[1], shape[0])
        self.blocks = -(-self.outputs // self.lanes)
        self.tile = self.choose()

    # --- what narrow factors change ---
    def input(self) -> Memory:
        """The input, in the elements that are broadcast."""
        return self.kernel.operand(self.anchor.operands[0])

    @property
    def transposed(self) -> bool:
        """Whether the weight is [K,N]."""
        return bool(self.anchor.attrs.transpose)

    @property
    def partials(self) -> Value:
        """Where partial sums rest between passes, one for each result."""
        return self.y.pointer

    def start(self, block: Index) -> Value:
        """What the sums of a vector of outputs begin with: the bias or zero."""
        if self.bias is None:
            return self.b.const(0.0, f"f32x{self.lanes}")
        return self.load_vector(self.bias, block)

    def multiply_add(self, x: Value, w: Value, total: Value) -> Value:
        """The products of a broadcast input with a vector of weights, added to a total."""
        return self.b.fma(x, w, total)

    def finished(self, total: Value, block: Index) -> Value:
        """The result of the anchor from a vector's sum."""
        del block
        return total

    def load_vector(self, memory: Memory, block: Index) -> Value:
        """A number for each output of a vector."""
        b = self.b
        column = b.imul(block, self.lanes)
        if memory.type.layout is not None or not self.outputs % self.lanes:
            return b.load(memory.pointer, column, self.lanes)
        return b.load_first(memory.pointer, column, b.isub(self.outputs, column), self.lanes)

    def choose(self) -> MacTile:
        """The register tile."""
        samples = self.y.type.shape[0]
        known = samples if isinstance(samples, int) else None
        given = self.kernel.launch.attrs.schedule
        if given is not None:
            return given_tile(given, self.kernel.target, self.depth, 1)
        if known == 1:
            # enough streams to hide latency, enough items for the threads
            vectors = max(1, min(VECTORS_OF_ONE_SAMPLE, self.blocks // WANTED_ITEMS))
            return MacTile(1, vectors, self.depth)
        return choose_tile(self.kernel.target, known, self.blocks, 1, self.depth)

    def candidates(self) -> list[MacTile]:
        """The model's choice and others near it; for one sample, other numbers of streams."""
        target, samples = self.kernel.target, self.y.type.shape[0]
        if samples == 1:
            tiles = [MacTile(1, vectors, self.depth) for vectors in STREAMS if vectors <= self.blocks]
            fitting = [tile for tile in tiles if fits_registers(target, 1, tile.vectors)]
            return [self.tile, *(tile for tile in fitting if tile != self.tile)]
        known = samples if isinstance(samples, int) else None
        near = near_tiles(target, known, self.blocks, 1, self.depth)
        depths = other_depths(self.tile, self.depth, target.lanes)
        return [self.tile, *(tile for _, tile in near if tile != self.tile), *depths]

    def emit(self) -> None:
        """The whole kernel."""
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
        """One register tile, over some of K."""
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
                    sums[cell] = self.multiply_add(x, weights[v], sums[cell])
            k.carry(sums)
        with b.when(last):
            for (_, v), point, total in zip(cells, points, k.results, strict=True):
                result = self.finished(total, b.iadd(block, v))
                finish_at(self.kernel, self.anchor, result, self.tail, self.kernel.writes, point)
        if last is not True:
            with b.when(b.icompare("lt", end, self.depth)):
                for point, total in zip(points, k.results, strict=True):
                    self.store_partial(point, total)

    def point(self, sample: Index, block: Index) -> Point:
        """Where a vector of outputs of a sample lies in the result."""
        column = self.b.imul(block, self.lanes)
        count = None
        if self.outputs % self.lanes:
            count = self.b.imin(self.lanes, self.b.isub(self.outputs, column))
        return Point((sample, column), None, 1, self.lanes, count)

    def initial(
        self, first: Value | bool, cells: list[tuple[int, int]], points: list[Point], block: Index
    ) -> list[Value]:
        """What the accumulators begin with: nothing yet, or the sums of the earlier passes."""
        b = self.b
        vectors = max(v for _, v in cells) + 1
        starts = [self.start(b.iadd(block, v)) for v in range(vectors)]
        if first is True:
            return [starts[v] for _, v in cells]
        return [
            b.select(first, starts[v], self.load_partial(p)) for (_, v), p in zip(cells, points, strict=True)
        ]

    def load_weight(self, block: Index, k: Index) -> Value:
        """The weights of a vector of outputs."""
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
        """The sums of an earlier pass."""
        at = self._partial_at(point)
        if point.count is None:
            return self.b.load(self.partials, at, self.lanes)
        return self.b.load_first(self.partials, at, point.count, self.lanes)

    def store_partial(self, point: Point, total: Value) -> None:
        """Keep sums for the next pass."""
        at = self._partial_at(point)
        if point.count is None:
            self.b.store(total, self.partials, at)
        else:
            self.b.store_first(total, self.partials, at, point.count)
