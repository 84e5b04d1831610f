"""Convolution with blocked output channels: register-tiled, without an im2col buffer.

An item of work is a group of output-channel vectors x an image x some output rows. Within an item the
input channels are walked in passes whose weights stay in the L2 cache; partial sums rest in the output
between passes. The innermost loop holds ``pixels x vectors`` accumulators in registers, reads the weights
of one tap as vectors and the inputs as broadcast scalars, so the input may be row-major (images) or
blocked alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netc.backends.llvm.lower.columns import Tile, Window, static_tiles, symbolic_tiles
from netc.backends.llvm.lower.conv_plane import Plane, can_recut, plane_of_rows, recut_plane
from netc.backends.llvm.lower.conv_schedule import (
    MacTile,
    ceildiv,
    choose_tile,
    given_tile,
    near_tiles,
    other_depths,
    plane_cost,
    row_counts,
    rows_per_item,
)
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.point import Point, finish_at, offset
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType

CHANNELS_AHEAD = 128  # a few hundred cycles before their turn


def applies(anchor: Op) -> bool:
    """2-D, output channels blocked, and groups of whole blocks."""
    w = anchor.operands[1].type
    assert isinstance(w, TensorType)
    if w.layout is None or w.layout.axis != 0 or w.rank != 4:
        return False
    outputs, depth, *_ = w.static_shape
    per_group = outputs // anchor.attrs.group
    return anchor.attrs.group == 1 or (per_group % w.layout.size == 0 and depth % w.layout.size == 0)


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel: the convolution ``anchor`` and its elementwise ``tail``."""
    ConvLowering(kernel, anchor, tail).emit()


def candidates(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> list[MacTile]:
    """Tiles near the model's choice, the most promising first."""
    return ConvLowering(kernel, anchor, tail).candidates()


class ConvLowering:
    """The loops over items, rows and tiles; what is computed in a tile is up to the planes."""

    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
        self.kernel = kernel
        self.b = kernel.b
        self.anchor = anchor
        self.tail = tail
        self.x = self.input()
        self.w = kernel.operand(anchor.operands[1])
        self.bias = kernel.bias(anchor)
        self.y = kernel.writes[0]
        assert self.w.type.layout is not None
        self.block = self.w.type.layout.size
        self.groups = anchor.attrs.group
        outputs, depth, self.taps_v, self.taps_h = self.w.type.static_shape
        self.depth = depth
        self.blocks = (
            -(-outputs // self.groups // self.block) if self.groups > 1 else -(-outputs // self.block)
        )
        self.planes, self.tile = self.choose()

    # --- what narrow factors change ---
    @property
    def micro_kernel(self) -> type[MicroKernel]:
        """What computes a register tile."""
        return MicroKernel

    def input(self) -> Memory:
        """The input, in the elements that are broadcast."""
        return self.kernel.operand(self.anchor.operands[0])

    @property
    def in_block(self) -> int:
        """How many of those a block of channels has."""
        return self.block

    @property
    def one_pass(self) -> bool:
        """Whether partial sums cannot rest in the output."""
        return self.y.type.dtype != "f32"

    def start(self, vector: Index) -> Value:
        """What the sums of a vector of outputs begin with: the bias or zero."""
        if self.bias is None:
            return self.b.const(0.0, f"f32x{self.block}")
        return self.load_vector(self.bias, vector)

    def multiply_add(self, x: Value, w: Value, total: Value) -> Value:
        """The products of a broadcast input with a vector of weights, added to a total."""
        return self.b.fma(x, w, total)

    def finished(self, total: Value, vector: Index) -> Value:
        """The result of the anchor from a vector's sum."""
        del vector
        return total

    def load_vector(self, memory: Memory, vector: Index) -> Value:
        """A number for each output of a vector."""
        return self.b.load(memory.pointer, self.b.imul(vector, self.block), self.block)

    def choose(self) -> tuple[list[Plane], MacTile]:
        """The rows of the plane, or the cut of a 1x1 plane that tiles best."""
        attrs = self.anchor.attrs
        vertical = Window(self.taps_v, attrs.stride[0], attrs.dilation[0], *attrs.pad[0])
        horizontal = Window(self.taps_h, attrs.stride[1], attrs.dilation[1], *attrs.pad[1])
        plane = plane_of_rows(self.b, self.x, self.y, vertical, horizontal)
        taps = self.taps_v * self.taps_h
        if not can_recut(plane, [self.x, *self.kernel.writes, *self.planes_of_tail()]):
            return [plane], self.choose_tile(plane.static_columns, taps)
        extent = self.y.type.shape[2] * self.y.type.shape[3]
        if not isinstance(extent, int):
            return [recut_plane(self.b, self.x, extent, 1)], self.choose_tile(None, 1)
        images = self.y.type.shape[0]
        best: tuple[float, int, MacTile] | None = None
        for rows in row_counts(extent):
            tile = self.choose_tile(ceildiv(extent, rows), 1)
            cost = plane_cost(extent, rows, self.blocks, tile, images if isinstance(images, int) else 1)
            # fewer rows are less to share among many threads, and more to hold in the cache
            if best is None or cost < best[0] * 0.995:
                best = cost, rows, tile
        assert best is not None
        return [recut_plane(self.b, self.x, extent, best[1])], best[2]

    def planes_of_tail(self) -> list[Memory]:
        """What the tail reads beside the convolution's result, less what is one number for a plane."""
        arguments = self.kernel.arguments
        read = [arguments[v.name] for op in self.tail for v in op.operands if v.name in arguments]
        return [memory for memory in read if memory.type.shape[2:] != (1, 1)]

    def choose_tile(self, columns: int | None, taps: int) -> MacTile:
        """The register tile for rows of so many outputs."""
        target, given = self.kernel.target, self.kernel.launch.attrs.schedule
        if given is not None:
            tile = given_tile(given, target, self.depth, self.block)
        else:
            tile = choose_tile(target, columns, self.blocks, taps, self.depth, 2)
        return replace(tile, depth=self.depth) if self.one_pass else tile

    def candidates(self) -> list[MacTile]:
        """The model's choice, others near it, and it with other depths."""
        target, plane = self.kernel.target, self.planes[0]
        taps = max(plane.vertical.taps * plane.horizontal.taps for plane in self.planes)
        near = near_tiles(target, plane.static_columns, self.blocks, taps, self.depth, 2)
        if self.one_pass:
            all_at_once = dict.fromkeys(replace(tile, depth=self.depth) for _, tile in near)
            return [self.tile, *(tile for tile in all_at_once if tile != self.tile)]
        depths = other_depths(self.tile, self.depth, self.block)
        return [self.tile, *(tile for _, tile in near if tile != self.tile), *depths]

    # --- loops ---
    def emit(self) -> None:
        """The whole kernel."""
        b = self.b
        plane = self.planes[0]
        images = b.dim(self.y.type.shape[0])
        per_group = -(-self.blocks // self.tile.vectors)
        channel_groups = self.groups * per_group
        static_rows = plane.rows if isinstance(plane.rows, int) else None
        columns = plane.static_columns or 96
        size = rows_per_item(
            static_rows,
            columns * self.tile.vectors * self.block * 4,
            channel_groups * (images if isinstance(images, int) else 1),
            self.kernel.target,
        )
        row_items = b.ceildiv(plane.rows, size)
        first, last = self.kernel.share(b.imul(b.imul(images, row_items), channel_groups))
        with b.loop(first, last) as item:
            if self.weights_fit_cache():
                # neighbouring items share their inputs
                image, row_item, channels = b.split(item.index, [images, row_items, channel_groups])
            else:
                # neighbouring items share their weights
                channels, image, row_item = b.split(item.index, [channel_groups, images, row_items])
            row = b.imul(row_item, size)
            group = b.idiv(channels, per_group)
            within = b.imul(b.irem(channels, per_group), self.tile.vectors)
            rest = self.blocks % self.tile.vectors
            whole = b.icompare("le", within, self.blocks - self.tile.vectors) if rest else True
            with b.when(whole):
                self.item(group, within, self.tile.vectors, image, row, size)
            if rest:
                with b.when(b.icompare("gt", within, self.blocks - self.tile.vectors)):
                    self.item(group, within, rest, image, row, size)

    def weights_fit_cache(self) -> bool:
        """Whether all weights stay in half of the L2 cache while the inputs pass by."""
        elements = self.w.type.elements
        return isinstance(elements, int) and elements * 4 <= self.kernel.target.l2_bytes // 2

    def asks_for_weights(self) -> bool:
        """Whether the next output channels' weights are asked for: with few taps their way here shows."""
        elements = self.w.type.elements
        return self.taps_v == 1 and isinstance(elements, int) and elements * 4 > self.kernel.target.l1_bytes

    def item(self, group: Index, within: Index, vectors: int, image: Index, row: Index, size: int) -> None:
        """``size`` rows of some output channels of an image, in every plane."""
        b = self.b
        for plane in self.planes:
            row_end = b.imin(b.iadd(row, size), plane.rows)
            self.rows(plane, group, within, vectors, image, (row, row_end))

    def rows(
        self,
        plane: Plane,
        group: Index,
        within: Index,
        vectors: int,
        image: Index,
        rows: tuple[Index, Index],
    ) -> None:
        """All passes over the input channels; only one where no tap has an input."""
        b = self.b
        out_block = b.iadd(b.imul(group, self.blocks), within)
        depth = self.depth if plane.empty else self.tile.depth
        with b.loop(0, self.depth, depth) as step:
            end = b.imin(self.depth, b.iadd(step.index, depth))
            first = b.icompare("eq", step.index, 0)
            last = b.icompare("eq", end, self.depth)
            with b.loop(*rows) as row:
                for whole, columns in self.lengths(plane, row.index):
                    with b.when(whole):
                        for tile in self.tiles(plane, columns):
                            with b.loop(0, tile.repeat) as repeat:
                                column = b.iadd(tile.start, b.imul(repeat.index, tile.size))
                                self.micro_kernel(
                                    self, plane, tile, vectors, group, out_block, image, row.index, column
                                ).emit(step.index, end, first, last)

    def lengths(self, plane: Plane, row: Index) -> list[tuple[Value | bool, int | None]]:
        """The known lengths that a row may have, and whether it has them."""
        if plane.last_columns is None:
            return [(True, plane.static_columns)]
        last = self.b.isub(plane.rows, 1)
        return [
            (self.b.icompare("lt", row, last), plane.static_columns),
            (self.b.icompare("eq", row, last), plane.last_columns),
        ]

    def tiles(self, plane: Plane, columns: int | None) -> list[Tile]:
        """The register tiles of a row of so many outputs, where that is known."""
        if columns is not None and plane.static_in_columns is not None:
            return static_tiles(plane.horizontal, columns, plane.static_in_columns, self.tile.pixels)
        return symbolic_tiles(self.b, plane.horizontal, plane.columns, plane.in_columns, self.tile.pixels)


class MicroKernel:
    """One register tile: ``tile.size`` pixels of one row x ``vectors`` blocks of output channels."""

    def __init__(
        self,
        conv: ConvLowering,
        plane: Plane,
        tile: Tile,
        vectors: int,
        group: Index,
        out_block: Index,
        image: Index,
        row: Index,
        column: Index,
    ) -> None:
        self.conv = conv
        self.plane = plane
        self.b = conv.b
        self.tile = tile
        self.vectors = vectors
        self.group = group
        self.out_block = out_block
        self.image = image
        self.row = row
        self.column = column

    def emit(self, start: Index, end: Index, first: Value | bool, last: Value | bool) -> None:
        """The sums over some channels, and what follows them after the last."""
        with self.b.when(last):
            self.prefetch_tail()
        totals = self.accumulate(start, end, self.initial(first))
        with self.b.when(last):
            for (pixel, vector), total in zip(self.cells(), totals, strict=True):
                point = self.point(pixel, vector)
                total = self.conv.finished(total, self.b.iadd(self.out_block, vector))
                finish_at(
                    self.conv.kernel, self.conv.anchor, total, self.conv.tail, self.conv.kernel.writes, point
                )
        if last is not True:
            with self.b.when(self.inverse(last)):
                for (pixel, vector), total in zip(self.cells(), totals, strict=True):
                    self.b.store(total, self.conv.y.pointer, self.out_offset(pixel, vector))

    def prefetch_tail(self) -> None:
        """Ask for what is added to the tile in the end, where that comes from memory."""
        kernel = self.conv.kernel
        for memory in self.conv.planes_of_tail():
            size = memory.type.storage_bytes
            if isinstance(size, int) and size <= kernel.target.l3_bytes // 4:
                continue
            for pixel, vector in self.cells():
                self.b.prefetch(memory.pointer, offset(kernel, memory, self.point(pixel, vector)))

    def inverse(self, condition: Value | bool) -> Value | bool:
        """Whether the condition does not hold."""
        if isinstance(condition, bool):
            return not condition
        yes, no = self.b.const(1, "i1"), self.b.const(0, "i1")
        return self.b.select(condition, no, yes)

    def cells(self) -> list[tuple[int, int]]:
        """Pixel and vector of each accumulator."""
        return [(p, v) for p in range(self.tile.size) for v in range(self.vectors)]

    def point(self, pixel: int, vector: int) -> Point:
        """Where an accumulator belongs in the result."""
        b = self.b
        row, column = self.plane.output(b, self.row, b.iadd(self.column, pixel))
        indices = (self.image, b.iadd(self.out_block, vector), row, column)
        return Point(indices, self.conv.y.type.layout, 1, self.conv.block)

    def out_offset(self, pixel: int, vector: int) -> Index:
        """The same as an offset."""
        return self.b.linear(self.point(pixel, vector).indices, self.conv.y.strides[:4])

    def initial(self, first: Value | bool) -> list[Value]:
        """Bias (or zero) on the first pass, the partial sums of the output afterwards."""
        b, conv = self.b, self.conv
        starts = [conv.start(b.iadd(self.out_block, v)) for v in range(self.vectors)]
        if first is True:
            return [starts[v] for _, v in self.cells()]
        return [
            b.select(first, starts[v], b.load(conv.y.pointer, self.out_offset(p, v), conv.block))
            for p, v in self.cells()
        ]

    def accumulate(self, start: Index, end: Index, totals: list[Value]) -> list[Value]:
        """Loop over channel blocks, kernel rows, channels of a block; taps of a row are unrolled."""
        b, conv = self.b, self.conv
        block = conv.in_block
        if self.plane.empty:
            return totals
        vertical = self.plane.vertical
        first_tap, last_tap = vertical.tap_bounds(b, self.row, self.plane.in_rows)
        with b.loop(start, end, block, totals) as blocks:
            channels: Index = b.imin(block, b.isub(end, blocks.index))
            if conv.depth % block == 0:
                channels = block
            with b.loop(first_tap, last_tap, 1, blocks.carried) as tap_rows:
                with b.loop(0, channels, 1, tap_rows.carried) as channel:
                    self.prefetch_inputs(blocks.index, channel.index, tap_rows.index)
                    x_at = self.input_offset(blocks.index, channel.index, tap_rows.index)
                    w_at = self.weight_offset(b.iadd(blocks.index, channel.index), tap_rows.index)
                    channel.carry(self.taps(list(channel.carried), x_at, w_at))
                tap_rows.carry(channel.results)
            blocks.carry(tap_rows.results)
        return list(blocks.results)

    def prefetch_inputs(self, channel_block: Index, channel: Index, tap_row: Index) -> None:
        """Ask for an input of the next block of channels: each channel for one pixel of the tile."""
        b, x = self.b, self.conv.x
        if x.type.layout is None:
            return
        at = self.input_offset(b.iadd(channel_block, self.conv.in_block), 0, tap_row)
        step = b.imul(self.plane.horizontal.stride, x.strides[3])
        b.prefetch(x.pointer, b.iadd(at, b.imul(channel, step)))

    def prefetch_weights(self, at: Index) -> None:
        """Ask for the same weights of the next output channels, which are far away when their turn comes.

        Where all channels are computed at once: for those of inputs further on.
        """
        b, w = self.b, self.conv.w
        only = self.conv.blocks <= self.vectors
        ahead = b.imul(CHANNELS_AHEAD, w.strides[1]) if only else b.imul(self.vectors, w.strides[0])
        for vector in range(self.vectors):
            b.prefetch(w.pointer, b.iadd(at, b.iadd(ahead, b.imul(vector, w.strides[0]))), level=2)

    def input_offset(self, channel_block: Index, channel: Index, tap_row: Index) -> Index:
        """Offset of the (possibly virtual) input under the tile's first pixel and tap 0."""
        b, conv = self.b, self.conv
        x, plane = conv.x, self.plane
        row = b.iadd(
            b.isub(b.imul(self.row, plane.vertical.stride), plane.vertical.before),
            b.imul(tap_row, plane.vertical.dilation),
        )
        column = b.isub(b.imul(self.column, plane.horizontal.stride), plane.horizontal.before)
        at = b.linear([self.image, row, column], [x.strides[0], plane.in_row_stride, x.strides[3]])
        first_channel = b.imul(self.group, conv.depth)
        if x.type.layout is None:
            index = b.iadd(b.iadd(first_channel, channel_block), channel)
            return b.iadd(at, b.imul(index, x.strides[1]))
        index = b.idiv(b.iadd(first_channel, channel_block), conv.in_block)
        return b.iadd(b.iadd(at, b.imul(index, x.strides[1])), channel)

    def weight_offset(self, channel: Index, tap_row: Index) -> Index:
        """Offset of the first vector of weights of a channel and a row of taps."""
        row, tap = self.plane.weight_tap(self.b, tap_row, 0)
        return self.b.linear([self.out_block, channel, row, tap], self.conv.w.strides[:4])

    def taps(self, totals: list[Value], x_at: Index, w_at: Index) -> list[Value]:
        """One channel, one kernel row: every tap of every pixel."""
        b = self.b
        horizontal = self.plane.horizontal
        if self.tile.taps is None:
            bounds = horizontal.tap_bounds(b, self.column, self.plane.in_columns)
            with b.loop(*bounds, 1, totals) as tap:
                tap.carry(self.one_tap(list(tap.carried), x_at, w_at, tap.index, [0]))
            return list(tap.results)
        for tap_number in range(horizontal.taps):
            pixels = [p for p, taps in enumerate(self.tile.taps) if tap_number in taps]
            if pixels:
                if tap_number:
                    b.fence()  # a broadcast shared by two taps would sit in a register between them
                totals = self.one_tap(totals, x_at, w_at, tap_number, pixels)
        return totals

    def one_tap(
        self, totals: list[Value], x_at: Index, w_at: Index, tap: Index, pixels: Sequence[int]
    ) -> list[Value]:
        """One tap of one channel, for the pixels that have it."""
        b, conv = self.b, self.conv
        block = conv.block
        horizontal = self.plane.horizontal
        tap_stride = b.imul(self.plane.column_phase.tap_step, conv.w.strides[3])
        x_stride = conv.x.strides[3]
        weights = [
            b.load(
                conv.w.pointer,
                b.iadd(b.iadd(w_at, b.imul(tap, tap_stride)), b.imul(v, conv.w.strides[0])),
                block,
            )
            for v in range(self.vectors)
        ]
        if conv.asks_for_weights():
            self.prefetch_weights(b.iadd(w_at, b.imul(tap, tap_stride)))
        totals = list(totals)
        for pixel in pixels:
            step = b.iadd(b.imul(tap, horizontal.dilation), pixel * horizontal.stride)
            x = b.splat(b.load(conv.x.pointer, b.iadd(x_at, b.imul(step, x_stride))), block)
            for v in range(self.vectors):
                cell = pixel * self.vectors + v
                totals[cell] = conv.multiply_add(x, weights[v], totals[cell])
        return totals
