"""Winograd's convolution on a blocked layout, chunk by chunk of tiles.

A thread transforms the inputs of a chunk, multiplies them by the weights of a few output channels at each of
the ``extent ** 2`` places of a tile, and transforms the products back; bias and elementwise tail follow in
registers. Both transforms have channels in the lanes. The products are matrix products, tiles x input
channels x output channels, in register tiles as those of a convolution of 1x1. The memory in between is the
thread's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.conv_schedule import ceildiv
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.point import Point, finish_at
from netc.backends.llvm.lower.winograd_schedule import WinogradCut, candidate_cuts, plane_of_tiles, schedule
from netc.backends.llvm.lower.winograd_transform import (
    Grid,
    transform_inputs,
    transform_outputs,
    transform_weights_row,
)
from netc.backends.llvm.target import Target
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index, LoopBuilder
from netc.ir.ops.winograd import channels_seen, is_transformed
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import winograd


def applies(anchor: Op) -> bool:
    """Blocked weights, and planes of known size."""
    u, y = anchor.operands[1].type, anchor.result.type
    assert isinstance(u, TensorType)
    assert isinstance(y, TensorType)
    return u.layout is not None and all(isinstance(size, int) for size in y.shape[2:])


def scratch_bytes(anchor: Op, target: Target, given: str | None) -> int:
    """The memory that a thread needs for itself."""
    return schedule(anchor, target, given).scratch_elements * 4


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel: the convolution ``anchor`` and its elementwise ``tail``."""
    _Winograd(kernel, anchor, tail).emit()


def candidates(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> list[WinogradCut]:
    """Cuts near the model's choice, the most promising first."""
    del tail
    return candidate_cuts(anchor, kernel.target)


Condition = Value | bool
_Position = tuple[Index, Condition]  # along an axis, and whether it lies in the plane


@dataclass(frozen=True, slots=True)
class _Outputs:
    """``vectors`` blocks of output channels from ``block`` on, and the first block of the inputs they see."""

    block: Index
    vectors: int
    in_block: Index


class _Winograd:
    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
        self.kernel, self.b, self.anchor, self.tail = kernel, kernel.b, anchor, tail
        self.x = kernel.operand(anchor.operands[0])
        self.u = kernel.operand(anchor.operands[1])
        self.bias = kernel.bias(anchor)
        self.y = kernel.writes[0]
        assert self.u.type.layout is not None
        self.block = self.u.type.layout.size
        self.size = anchor.attrs.tile
        self.matrices = winograd(self.size, anchor.attrs.taps)
        self.extent = self.matrices.extent
        self.cut = schedule(anchor, kernel.target, kernel.launch.attrs.schedule)
        outputs, depth = self.u.type.static_shape[0], channels_seen(self.u.type)
        assert isinstance(depth, int)
        self.depth = depth
        self.transformed = is_transformed(self.u.type)
        self.groups = anchor.attrs.group
        self.out_blocks = ceildiv(outputs // self.groups, self.block)  # of a group
        self.in_blocks = ceildiv(self.depth * self.groups, self.block)  # of all groups
        self.plane = plane_of_tiles(anchor)
        # where this thread's transformed inputs begin, and its products
        self.inputs_at = kernel.b.imul(kernel.tid, self.cut.scratch_elements)
        self.products_at = kernel.b.iadd(self.inputs_at, self.extent**2 * self.cut.input_stride)
        self.weights_at = kernel.b.iadd(self.products_at, self.extent**2 * self.cut.product_stride)

    def emit(self) -> None:
        """The loop over chunks, and over parts of the output channels."""
        b, cut = self.b, self.cut
        tiles = b.imul(b.dim(self.y.type.shape[0]), self.plane[0] * self.plane[1])
        first, last = self.kernel.share(b.imul(b.ceildiv(tiles, cut.tiles), cut.parts))
        per_group = ceildiv(self.out_blocks, cut.vectors)
        per_part = ceildiv(self.groups * per_group, cut.parts)
        with b.loop(first, last) as item:
            chunk, part = b.split(item.index, [0, cut.parts])
            start = b.imul(chunk, cut.tiles)
            count = b.imin(cut.tiles, b.isub(tiles, start))
            # the parts of a chunk follow each other: only the first of this thread finds nothing there
            with b.when(_any(b, b.icompare("eq", part, 0), b.icompare("eq", item.index, first))):
                self.transform_chunk(start, count)
            begin = b.imul(part, per_part)
            end = b.imin(self.groups * per_group, b.iadd(begin, per_part))
            with b.loop(begin, end) as vectors:
                group, within = b.split(vectors.index, [0, per_group])
                self.some_outputs(group, b.imul(within, cut.vectors), start, count)

    # --- inputs ---
    def transform_chunk(self, start: Index, count: Index) -> None:
        """The transformed inputs of a chunk, and zeros up to a whole register tile."""
        b, extent = self.b, self.extent
        (top, _), (left, _) = self.anchor.attrs.pad
        height, width = _plane(self.x)
        # a block of channels after the other: a tile's lines are then the only ones that are read ahead
        with b.loop(0, self.in_blocks) as block, b.loop(0, count) as each:
            image, row, column = b.split(b.iadd(start, each.index), [0, *self.plane])
            y, x = b.isub(b.imul(row, self.size), top), b.isub(b.imul(column, self.size), left)
            inside = _all(
                b,
                b.icompare("ge", y, 0),
                b.icompare("le", y, height - extent),
                b.icompare("ge", x, 0),
                b.icompare("le", x, width - extent),
            )
            with b.when(inside):
                rows: list[_Position] = [(b.iadd(y, i), True) for i in range(extent)]
                columns: list[_Position] = [(b.iadd(x, i), True) for i in range(extent)]
                self.transform_tile(image, block.index, rows, columns, each.index)
            with b.when(_not(b, inside)):
                self.transform_tile(
                    image, block.index, self.clipped(y, height), self.clipped(x, width), each.index
                )
        last = b.imul(b.ceildiv(count, self.cut.pixels), self.cut.pixels)
        zero = b.const(0.0, f"f32x{self.block}")
        with b.loop(count, last) as each, b.loop(0, extent**2) as place, b.loop(0, self.in_blocks) as block:
            b.store(zero, self.kernel.scratch, self.input_at(place.index, block.index, each.index))

    def clipped(self, start: Index, size: int) -> list[_Position]:
        """The positions of a tile along an axis."""
        b = self.b
        found: list[_Position] = []
        for i in range(self.extent):
            at = b.iadd(start, i)
            within = b.imax(0, b.imin(at, size - 1))
            found.append((within, b.icompare("eq", at, within)))
        return found

    def transform_tile(
        self,
        image: Index,
        block: Index,
        rows: Sequence[_Position],
        columns: Sequence[_Position],
        index: Index,
    ) -> None:
        """One tile, a block of channels."""
        b, x = self.b, self.x
        zero = b.const(0.0, f"f32x{self.block}")
        plane = b.linear([image, block], x.strides[:2])

        def load(row: _Position, column: _Position) -> Value:
            at = b.iadd(plane, b.linear([row[0], column[0]], x.strides[2:4]))
            return b.select(_all(b, row[1], column[1]), b.load(x.pointer, at, self.block), zero)

        tile = [[load(row, column) for column in columns] for row in rows]
        transformed = transform_inputs(b, self.matrices, tile)
        for place, value in enumerate(v for line in transformed for v in line):
            b.store(value, self.kernel.scratch, self.input_at(place, block, index))

    def input_at(self, place: Index, block: Index, tile: Index) -> Index:
        """Where the transformed inputs of a tile lie, a block of channels."""
        strides = [self.cut.input_stride, self.cut.room * self.block, self.block]
        return self.b.iadd(self.inputs_at, self.b.linear([place, block, tile], strides))

    # --- products and outputs ---
    def some_outputs(self, group: Index, block: Index, start: Index, count: Index) -> None:
        """The output channels from ``block`` of a group on, as many as register tiles have, of a chunk."""
        b, vectors = self.b, self.cut.vectors
        first = b.iadd(b.imul(group, self.out_blocks), block)
        in_block = b.imul(group, self.depth // self.block)
        rest = self.out_blocks % vectors
        whole = b.icompare("le", block, self.out_blocks - vectors) if rest else True
        with b.when(whole):
            self.outputs(_Outputs(first, vectors, in_block), start, count)
        with b.when(_not(b, whole)):
            self.outputs(_Outputs(first, rest, in_block), start, count)

    def outputs(self, outputs: _Outputs, start: Index, count: Index) -> None:
        """The products at every place of the tiles, then their outputs."""
        b, cut = self.b, self.cut
        if not outputs.vectors:
            return
        if self.transformed:
            with b.loop(0, self.extent**2) as place, b.loop(0, self.depth, cut.depth) as step:
                end = b.imin(self.depth, b.iadd(step.index, cut.depth))
                with b.loop(0, b.ceildiv(count, cut.pixels)) as each:
                    self.product(outputs, place.index, each.index, step.index, end, None)
        else:
            self.transform_and_multiply(outputs, count)
        with b.loop(0, outputs.vectors) as vector, b.loop(0, count) as each:
            products = [
                [self.load_product(i * self.extent + j, vector.index, each.index) for j in range(self.extent)]
                for i in range(self.extent)
            ]
            tile = transform_outputs(b, self.matrices, products)
            self.finish(tile, b.iadd(outputs.block, vector.index), b.iadd(start, each.index))

    def transform_and_multiply(self, outputs: _Outputs, count: Index) -> None:
        """The same with weights that come as they are: a row of places at a time, whose weights L1 holds."""
        b, cut, extent = self.b, self.cut, self.extent
        with b.loop(0, self.depth, cut.depth) as step, b.loop(0, extent) as row:
            end = b.imin(self.depth, b.iadd(step.index, cut.depth))
            for number in range(extent):
                with b.when(b.icompare("eq", row.index, number)):
                    self.transform_weights(outputs, number, step.index, end)
            with b.loop(0, extent) as column, b.loop(0, b.ceildiv(count, cut.pixels)) as each:
                place = b.iadd(b.imul(row.index, extent), column.index)
                self.product(outputs, place, each.index, step.index, end, column.index)

    def transform_weights(self, outputs: _Outputs, row: int, start: Index, end: Index) -> None:
        """A row of the transformed weights of some channels: a window of each output of a block in the lanes.

        Each row asks for its share of the next pass's weights.
        """
        b, block, u = self.b, self.block, self.u
        taps, depth = self.anchor.attrs.taps, self.cut.depth
        last = b.icompare("ge", end, self.depth)
        behind = b.isub(b.imul(outputs.vectors, u.strides[0]), b.imul(start, u.strides[1]))
        ahead = b.select(last, b.value(behind), b.value(b.imul(depth, u.strides[1])))
        with b.loop(0, outputs.vectors) as vector, b.loop(start, end) as channel:
            at = b.linear([b.iadd(outputs.block, vector.index), channel.index], u.strides[:2])
            places = [[b.iadd(at, (i * taps + j) * block) for j in range(taps)] for i in range(taps)]
            window = [[b.load(u.pointer, place, block) for place in line] for line in places]
            share = ceildiv(taps * taps, self.extent)
            for tap in range(row * share, min((row + 1) * share, taps * taps)):
                b.prefetch(u.pointer, b.iadd(b.iadd(at, ahead), tap * block), level=2)
            within = b.isub(channel.index, start)
            for column, value in enumerate(transform_weights_row(b, self.matrices, window, row)):
                b.store(value, self.kernel.scratch, self.weight_at(column, vector.index, within))

    def weight_at(self, column: Index, vector: Index, channel: Index) -> Index:
        """Where the transformed weights of a row of places lie."""
        strides = [self.cut.weight_stride, self.cut.depth * self.block, self.block]
        return self.b.iadd(self.weights_at, self.b.linear([column, vector, channel], strides))

    def product(
        self,
        outputs: _Outputs,
        place: Index,
        number: Index,
        start: Index,
        end: Index,
        column: Index | None,
    ) -> None:
        """One register tile: ``pixels`` tiles x some blocks of output channels, over some input channels.

        ``column`` is where the weights are that were transformed here.

        Each asks for its share of the weights behind these: the next then need not wait for them.
        """
        b, block = self.b, self.block
        tile = b.imul(number, self.cut.pixels)
        numbers = self.cut.room // self.cut.pixels
        zero = b.const(0.0, f"f32x{block}")
        first = b.icompare("eq", start, 0)
        cells = [(p, v) for p in range(self.cut.pixels) for v in range(outputs.vectors)]
        totals = [zero] * len(cells)
        if first is not True:
            totals = [b.select(first, zero, self.load_product(place, v, b.iadd(tile, p))) for p, v in cells]
        with b.loop(start, end, block, totals) as blocks:
            channels: Index = block
            if self.depth % block:
                channels = b.imin(block, b.isub(end, blocks.index))
            x_block = b.iadd(outputs.in_block, b.idiv(blocks.index, block))
            xs_at = self.input_at(place, x_block, tile)
            if column is None:
                us_at = b.linear([outputs.block, place, blocks.index], self.u.strides[:3])
                pointer, channel_stride, vector_stride = self.u.pointer, self.u.strides[2], self.u.strides[0]
            else:
                us_at = self.weight_at(column, 0, b.isub(blocks.index, start))
                pointer, channel_stride, vector_stride = self.kernel.scratch, block, self.cut.depth * block
            with b.loop(0, channels, 1, blocks.carried) as channel:
                x_at = b.iadd(xs_at, channel.index)
                u_at = b.iadd(us_at, b.imul(channel.index, channel_stride))
                weights = [
                    b.load(pointer, b.iadd(u_at, b.imul(v, vector_stride)), block)
                    for v in range(outputs.vectors)
                ]
                for share in range(ceildiv(outputs.vectors, numbers) if column is None else 0):
                    vector = b.imin(b.iadd(number, share * numbers), outputs.vectors - 1)
                    ahead = b.iadd(b.imul(vector, self.u.strides[0]), self.cut.depth * block)
                    b.prefetch(self.u.pointer, b.iadd(u_at, ahead), level=2)
                sums = list(channel.carried)
                for pixel in range(self.cut.pixels):
                    x = b.splat(b.load(self.kernel.scratch, b.iadd(x_at, pixel * block)), block)
                    for v, weight in enumerate(weights):
                        cell = pixel * outputs.vectors + v
                        sums[cell] = b.fma(x, weight, sums[cell])
                channel.carry(sums)
            blocks.carry(channel.results)
        for (p, v), total in zip(cells, blocks.results, strict=True):
            b.store(total, self.kernel.scratch, self.product_at(place, v, b.iadd(tile, p)))

    def product_at(self, place: Index, vector: Index, tile: Index) -> Index:
        """Where the products of a tile lie, a block of output channels."""
        strides = [self.cut.product_stride, self.cut.room * self.block, self.block]
        return self.b.iadd(self.products_at, self.b.linear([place, vector, tile], strides))

    def load_product(self, place: Index, vector: Index, tile: Index) -> Value:
        return self.b.load(self.kernel.scratch, self.product_at(place, vector, tile), self.block)

    def finish(self, outputs: Grid, out_block: Index, tile: Index) -> None:
        """Bias, tail and stores of a tile's outputs; those beyond the plane are left out."""
        b, size = self.b, self.size
        image, row, column = b.split(tile, [0, *self.plane])
        y, x = b.imul(row, size), b.imul(column, size)
        height, width = _plane(self.y)
        if self.bias is not None:
            bias = b.load(self.bias.pointer, b.imul(out_block, self.block), self.block)
            outputs = [[b.add(value, bias) for value in line] for line in outputs]
        whole = _all(
            b,
            True if height % size == 0 else b.icompare("le", y, height - size),
            True if width % size == 0 else b.icompare("le", x, width - size),
        )

        def store(value: Value, at_y: Index, at_x: Index) -> None:
            point = Point((image, out_block, at_y, at_x), self.y.type.layout, 1, self.block)
            finish_at(self.kernel, self.anchor, value, self.tail, self.kernel.writes, point)

        places = [(i, j) for i in range(size) for j in range(size)]
        with b.when(whole):
            for i, j in places:
                store(outputs[i][j], b.iadd(y, i), b.iadd(x, j))
        with b.when(_not(b, whole)):
            for i, j in places:
                at_y, at_x = b.iadd(y, i), b.iadd(x, j)
                with b.when(_all(b, b.icompare("lt", at_y, height), b.icompare("lt", at_x, width))):
                    store(outputs[i][j], at_y, at_x)


def _plane(memory: Memory) -> tuple[int, int]:
    height, width = memory.type.shape[2:]
    assert isinstance(height, int)
    assert isinstance(width, int)
    return height, width


def _all(b: LoopBuilder, *conditions: Condition) -> Condition:
    found: Condition = True
    for condition in conditions:
        if condition is False or found is False:
            return False
        if isinstance(condition, Value):
            found = condition if found is True else b.binary("and", found, condition)
    return found


def _any(b: LoopBuilder, one: Condition, other: Condition) -> Condition:
    if one is True or other is True:
        return True
    if isinstance(one, Value) and isinstance(other, Value):
        return b.binary("or", one, other)
    return one or other


def _not(b: LoopBuilder, condition: Condition) -> Condition:
    if isinstance(condition, bool):
        return not condition
    return b.select(condition, b.const(0, "i1"), b.const(1, "i1"))
