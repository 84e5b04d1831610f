"""Gradients of convolutions' weights on blocked gradients: register-tiled, summed without atomics.

``dw[o, c, t] = sum over n, p of dy[n, o, p] * x[n, c, stride * p - pad + dilation * t]``. Registers run along
the output channels. Three forms share the loops:

- channels: x blocked; a tile's cells are input channels of one tap, broadcast from neighbouring elements;
- taps: x row-major (images); the cells are the taps of one kernel row of one channel;
- depthwise: x blocked; the cells are the taps of one kernel row, and x is read as vectors.

An item of work is a super-tile of results with all pixels, so each result is summed by one thread in an order
that follows from the shapes. Pixels come in chunks; between chunks the partial sums rest in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.columns import Window
from netc.backends.llvm.lower.conv_schedule import ceildiv
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.weight_gradient_schedule import (
    Chunk,
    Problem,
    Supertile,
    choose_cells,
    choose_chunk,
    choose_supertile,
    even,
)
from netc.ir.core import Op, Value
from netc.ir.dim import Dim
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType

LATENCY_ACCUMULATORS = 8  # multiply-adds in flight; with fewer sums, neighbouring pixels get their own
Range = tuple[Index, Index]


def applies(anchor: Op) -> bool:
    """2-D, dy blocked; groups of whole blocks or of one channel each, with x blocked too."""
    x, dy, dw = (v.type for v in (*anchor.operands, anchor.result))
    assert isinstance(x, TensorType)
    assert isinstance(dy, TensorType)
    assert isinstance(dw, TensorType)
    if dy.layout is None or dy.rank != 4 or (x.layout is not None and x.layout != dy.layout):
        return False
    group, size = anchor.attrs.group, dy.layout.size
    if group == 1 or _depthwise(anchor):
        return group == 1 or x.layout is not None
    outputs, depth, *_ = dw.static_shape
    return x.layout is not None and outputs // group % size == 0 and depth % size == 0


def _depthwise(anchor: Op) -> bool:
    dw = anchor.result.type
    assert isinstance(dw, TensorType)
    return bool(anchor.attrs.group > 1 and dw.shape[0] == anchor.attrs.group and dw.shape[1] == 1)


def lower(kernel: Kernel, anchor: Op, _tail: Sequence[Op]) -> None:
    """Emit the whole kernel; no ops follow the anchor."""
    _WeightGradient(kernel, anchor).emit()


@dataclass(frozen=True, slots=True)
class _Cell:
    """A broadcast of the tile: its input's offset from the window's, its tap in a row, its result."""

    shift: Index
    tap: Index
    result: Index


@dataclass(frozen=True, slots=True)
class _Box:
    """The pixels of a chunk, as ranges; ``first``: the sums start here."""

    images: Range
    rows: Range
    columns: Range
    first: Value | bool


class _WeightGradient:
    def __init__(self, kernel: Kernel, anchor: Op) -> None:
        self.kernel, self.b = kernel, kernel.b
        self.x, self.dy = (kernel.operand(v) for v in anchor.operands)
        self.dw = kernel.writes[0]
        assert self.dy.type.layout is not None
        self.block = self.dy.type.layout.size
        outputs, self.depth, self.taps_v, self.taps_h = self.dw.type.static_shape
        attrs = anchor.attrs
        self.vertical = Window(self.taps_v, attrs.stride[0], attrs.dilation[0], *attrs.pad[0])
        self.horizontal = Window(self.taps_h, attrs.stride[1], attrs.dilation[1], *attrs.pad[1])
        self.depthwise = _depthwise(anchor)
        self.channels = self.x.type.layout is not None and not self.depthwise
        blocks = ceildiv(outputs, self.block)
        self.groups = blocks if self.depthwise else attrs.group
        self.blocks = blocks // self.groups
        self.plane()
        self.choose()

    def plane(self) -> None:
        """Rows and columns of the gradient; where a window is a single point, one long row."""
        one = Window(1, 1, 1, 0, 0)
        extents: tuple[Dim, Dim] = self.dy.type.shape[2], self.dy.type.shape[3]
        self.in_extents: tuple[Dim, Dim] = self.x.type.shape[2], self.x.type.shape[3]
        if self.vertical == self.horizontal == one and self.x.rows_follow and self.dy.rows_follow:
            extents = self.in_extents = (1, extents[0] * extents[1])
        self.extents = extents

    def choose(self) -> None:
        target = self.kernel.target
        if self.channels:
            choices = [c for c in range(1, self.block + 1) if self.block % c == 0]
        else:
            choices = sorted({even(self.taps_h, count) for count in range(1, self.taps_h + 1)})
        self.cells, self.vectors = choose_cells(target, choices, self.blocks)
        images, rows, columns = (
            d if isinstance(d, int) else None for d in (self.dy.type.shape[0], *self.extents)
        )
        self.chunk: Chunk = choose_chunk(target, self.block, self.vectors, images, rows, columns)
        taps = self.taps_v * self.taps_h
        if self.channels:
            lanes = self.block
            self.problem = Problem(
                self.groups, self.blocks, ceildiv(self.depth, lanes), lanes * taps, lanes * 4 * self.area()
            )
        else:
            width = self.block if self.depthwise else 1
            parts = self.depth * self.taps_v
            self.problem = Problem(
                self.groups, self.blocks, parts, self.taps_h, width * 4 * self.area() // self.taps_v or 1
            )
        pixels = self.chunk.images * self.chunk.rows * self.chunk.columns
        self.supertile: Supertile = choose_supertile(target, self.problem, self.vectors, pixels)
        if self.depthwise:
            # all rows of taps see the same pixels
            self.supertile = Supertile(1, self.problem.parts)
        least = self.cells * self.vectors
        self.phases = ceildiv(LATENCY_ACCUMULATORS, least) if least < LATENCY_ACCUMULATORS else 1

    def area(self) -> int:
        """How many input pixels there are for a pixel of the gradient."""
        return self.vertical.stride * self.horizontal.stride

    # --- loops ---
    def emit(self) -> None:
        b, chunk = self.b, self.chunk
        tiles = ceildiv(self.blocks, self.vectors)
        across = ceildiv(tiles, self.supertile.tiles)
        along = ceildiv(self.problem.parts, self.supertile.parts)
        first, last = self.kernel.share(self.groups * across * along)
        images, rows, columns = (b.dim(d) for d in (self.dy.type.shape[0], *self.extents))
        with b.loop(first, last) as item:
            group, o, p = b.split(item.index, [self.groups, across, along])
            o_range = self.piece(o, self.supertile.tiles, tiles)
            p_range = self.piece(p, self.supertile.parts, self.problem.parts)
            with (
                b.loop(0, images, chunk.images) as image,
                b.loop(0, rows, chunk.rows) as row,
                b.loop(0, columns, chunk.columns) as column,
            ):
                start = b.iadd(b.iadd(image.index, row.index), column.index)
                box = _Box(
                    (image.index, b.imin(images, b.iadd(image.index, chunk.images))),
                    (row.index, b.imin(rows, b.iadd(row.index, chunk.rows))),
                    (column.index, b.imin(columns, b.iadd(column.index, chunk.columns))),
                    b.icompare("eq", start, 0),
                )
                with b.loop(*o_range) as tile:
                    self.tile(group, b.imul(tile.index, self.vectors), p_range, box)

    def piece(self, index: Index, size: int, extent: int) -> Range:
        if size >= extent:
            return 0, extent
        start = self.b.imul(index, size)
        return start, self.b.imin(extent, self.b.iadd(start, size))

    def tile(self, group: Index, within: Index, parts: Range, box: _Box) -> None:
        """All parts of a super-tile for some vectors of outputs."""
        b = self.b
        out_block = b.iadd(b.imul(group, self.blocks), within)
        rest = self.blocks % self.vectors
        limit = self.blocks - self.vectors
        with b.when(b.icompare("le", within, limit) if rest else True):
            self.parts(group, out_block, self.vectors, parts, box)
        if rest:
            with b.when(b.icompare("gt", within, limit)):
                self.parts(group, out_block, rest, parts, box)

    def parts(self, group: Index, out_block: Index, vectors: int, parts: Range, box: _Box) -> None:
        if self.channels:
            self.channel_parts(group, out_block, vectors, parts, box)
            return
        b = self.b
        with b.loop(*parts) as part:
            channel, tap_row = b.split(part.index, [self.depth, self.taps_v])
            # of a depthwise convolution the group is the block, along axis 1 of x as along axis 0 of dw
            base = b.imul(group if self.depthwise else channel, self.x.strides[1])
            for first in range(0, self.taps_h, self.cells):
                taps = range(first, min(first + self.cells, self.taps_h))
                cells = [
                    _Cell(b.iadd(base, self.column_shift(t)), t, self.result(out_block, channel, tap_row, t))
                    for t in taps
                ]
                self.micro_kernel(cells, tap_row, out_block, vectors, box)

    def channel_parts(self, group: Index, out_block: Index, vectors: int, parts: Range, box: _Box) -> None:
        """Some input channels at a time, for every tap."""
        b = self.b
        per_part = self.block // self.cells
        whole = self.depth // self.cells
        with b.loop(b.imul(parts[0], per_part), b.imin(whole, b.imul(parts[1], per_part))) as some:
            self.taps(group, b.imul(some.index, self.cells), self.cells, out_block, vectors, box)
        if self.depth % self.cells:
            with b.when(b.icompare("eq", parts[1], self.problem.parts)):
                self.taps(group, whole * self.cells, self.depth % self.cells, out_block, vectors, box)

    def taps(
        self, group: Index, channel: Index, count: int, out_block: Index, vectors: int, box: _Box
    ) -> None:
        b = self.b
        absolute = b.iadd(b.imul(group, self.depth), channel)
        base = b.iadd(b.imul(b.idiv(absolute, self.block), self.x.strides[1]), b.irem(absolute, self.block))
        with b.loop(0, self.taps_v) as tap_row, b.loop(0, self.taps_h) as tap:
            shift = b.iadd(base, self.column_shift(tap.index))
            cells = [
                _Cell(
                    b.iadd(shift, i),
                    tap.index,
                    self.result(out_block, b.iadd(channel, i), tap_row.index, tap.index),
                )
                for i in range(count)
            ]
            self.micro_kernel(cells, tap_row.index, out_block, vectors, box)

    def column_shift(self, tap: Index) -> Index:
        b = self.b
        column = b.isub(b.imul(tap, self.horizontal.dilation), self.horizontal.before)
        return b.imul(column, self.x.strides[3])

    def result(self, out_block: Index, channel: Index, tap_row: Index, tap: Index) -> Index:
        return self.b.linear([out_block, channel, tap_row, tap], self.dw.strides[:4])

    # --- the register tile ---
    def micro_kernel(
        self, cells: list[_Cell], tap_row: Index, out_block: Index, vectors: int, box: _Box
    ) -> None:
        """Add a chunk's pixels to the sums of ``cells`` x ``vectors``."""
        b = self.b
        own = [(cell, v) for cell in cells for v in range(vectors)]
        totals = [self.initial(cell, v, box) for cell, v in own]
        zero = b.const(0.0, f"f32x{self.block}")
        totals += [zero] * (len(own) * (self.phases - 1))
        low, high = self.vertical.output_bounds(b, tap_row, b.dim(self.in_extents[0]), b.dim(self.extents[0]))
        with b.loop(*box.images, 1, totals) as image:
            with b.loop(b.imax(low, box.rows[0]), b.imin(high, box.rows[1]), 1, image.carried) as row:
                in_row = b.iadd(
                    b.isub(b.imul(row.index, self.vertical.stride), self.vertical.before),
                    b.imul(tap_row, self.vertical.dilation),
                )
                x_row = b.linear([image.index, in_row], [self.x.strides[0], self.x.strides[2]])
                dy_row = b.linear([image.index, out_block, row.index], self.dy.strides[:3])
                row.carry(self.row(list(row.carried), cells, vectors, x_row, dy_row, box))
            image.carry(row.results)
        for i, (cell, v) in enumerate(own):
            total = image.results[i]
            for phase in range(1, self.phases):
                total = b.add(total, image.results[phase * len(own) + i])
            b.store(total, self.dw.pointer, self.vector_at(cell.result, v))

    def vector_at(self, at: Index, vector: int) -> Index:
        return self.b.iadd(at, self.b.imul(vector, self.dw.strides[0]))

    def initial(self, cell: _Cell, vector: int, box: _Box) -> Value:
        b = self.b
        zero = b.const(0.0, f"f32x{self.block}")
        if box.first is True:
            return zero
        return b.select(
            box.first, zero, b.load(self.dw.pointer, self.vector_at(cell.result, vector), self.block)
        )

    def row(
        self,
        totals: list[Value],
        cells: list[_Cell],
        vectors: int,
        x_row: Index,
        dy_row: Index,
        box: _Box,
    ) -> list[Value]:
        """One row of pixels: those that every cell has an input for, and then each cell's others."""
        b = self.b
        bounds = [self.column_bounds(cell, box) for cell in cells]
        if self.channels:
            return self.run(totals, cells, range(len(cells)), vectors, x_row, dy_row, bounds[0])
        start = b.imin(bounds[0][0], box.columns[1])
        end = b.imax(start, bounds[-1][1])
        totals = self.run(totals, cells, range(len(cells)), vectors, x_row, dy_row, (start, end))
        for i, (low, high) in enumerate(bounds):
            for edge in ((low, b.imin(start, high)), (end, high)):
                totals = self.run(totals, cells, [i], vectors, x_row, dy_row, edge)
        return totals

    def column_bounds(self, cell: _Cell, box: _Box) -> Range:
        b = self.b
        width, outputs = b.dim(self.in_extents[1]), b.dim(self.extents[1])
        low, high = self.horizontal.output_bounds(b, cell.tap, width, outputs)
        return b.imax(low, box.columns[0]), b.imin(high, box.columns[1])

    def run(
        self,
        totals: list[Value],
        cells: list[_Cell],
        which: Sequence[int],
        vectors: int,
        x_row: Index,
        dy_row: Index,
        columns: Range,
    ) -> list[Value]:
        """Columns one after the other; those of a phase have sums of their own where many cells run."""
        b = self.b
        start, end = columns
        phases = self.phases if len(which) > 1 else 1
        whole = end
        if phases > 1:
            count = b.imax(0, b.isub(end, start))
            whole = b.iadd(start, b.imul(b.idiv(count, phases), phases))
        for low, high, step in ((start, whole, phases), (whole, end, 1))[: min(phases, 2)]:
            with b.loop(low, high, step, totals) as column:
                sums = list(column.carried)
                for phase in range(step):
                    at = b.iadd(column.index, phase)
                    self.pixel(sums, phase * len(cells) * vectors, cells, which, vectors, x_row, dy_row, at)
                column.carry(sums)
            totals = list(column.results)
        return totals

    def pixel(
        self,
        sums: list[Value],
        offset: int,
        cells: list[_Cell],
        which: Sequence[int],
        vectors: int,
        x_row: Index,
        dy_row: Index,
        column: Index,
    ) -> None:
        b, block = self.b, self.block
        dy_at = b.iadd(dy_row, b.imul(column, self.dy.strides[3]))
        gradients = [
            b.load(self.dy.pointer, b.iadd(dy_at, b.imul(v, self.dy.strides[1])), block)
            for v in range(vectors)
        ]
        x_at = b.iadd(x_row, b.imul(b.imul(column, self.horizontal.stride), self.x.strides[3]))
        for i in which:
            at = b.iadd(x_at, cells[i].shift)
            value = b.load(self.x.pointer, at, block) if self.depthwise else b.load(self.x.pointer, at)
            x = b.splat(value, block)
            for v in range(vectors):
                cell = offset + i * vectors + v
                sums[cell] = b.fma(x, gradients[v], sums[cell])
