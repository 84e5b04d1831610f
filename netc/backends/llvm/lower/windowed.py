"""What depthwise convolution and pooling share: channel blocks are independent, windows slide over a plane.

An item of work is some output rows of one block of channels of one image; a register tile is a run of
neighbouring outputs, one register each, whose lanes are the channels of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.columns import Tile, Window, static_tiles, symbolic_tiles
from netc.backends.llvm.lower.conv_schedule import rows_per_item
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.point import Point
from netc.ir.core import Value
from netc.ir.loop_builder import Index, LoopBuilder


@dataclass(frozen=True, slots=True)
class Place:
    """A register tile: which image, block, output row, first output column, and the kind of tile."""

    image: Index
    block: Index
    row: Index
    column: Index
    tile: Tile

    def point(self, b: LoopBuilder, memory: Memory, pixel: int) -> Point:
        """The point of one output of the tile."""
        assert memory.type.layout is not None
        indices = (self.image, self.block, self.row, b.iadd(self.column, pixel))
        return Point(indices, memory.type.layout, 1, memory.type.layout.size)


def for_each_tile(
    kernel: Kernel, x: Memory, y: Memory, horizontal: Window, largest: int, emit: Callable[[Place], None]
) -> None:
    """Run ``emit`` for every register tile of a blocked [N, C, H, W] result, work shared over threads."""
    b = kernel.b
    images, blocks, rows, columns = kernel.storage_extents(y.type)
    assert y.type.layout is not None
    items = (images if isinstance(images, int) else 1) * (blocks if isinstance(blocks, int) else 1)
    row_bytes = (columns if isinstance(columns, int) else 64) * y.type.layout.size * 4
    size = rows_per_item(rows if isinstance(rows, int) else None, row_bytes, items, kernel.target)
    row_items = b.ceildiv(rows, size)
    first, last = kernel.share(b.imul(b.imul(images, blocks), row_items))
    width = x.type.shape[3]
    with b.loop(first, last) as item:
        image, block, row_item = b.split(item.index, [images, blocks, row_items])
        start = b.imul(row_item, size)
        with b.loop(start, b.imin(b.iadd(start, size), rows)) as row:
            if isinstance(columns, int) and isinstance(width, int):
                tiles = static_tiles(horizontal, columns, width, largest)
            else:
                tiles = symbolic_tiles(b, horizontal, columns, b.dim(width), largest)
            for tile in tiles:
                with b.loop(0, tile.repeat) as repeat:
                    column = b.iadd(tile.start, b.imul(repeat.index, tile.size))
                    emit(Place(image, block, row.index, column, tile))


def input_offset(
    b: LoopBuilder, x: Memory, place: Place, vertical: Window, horizontal: Window, tap_row: Index, tap: Index
) -> Index:
    """Offset of the input under a tile's first output at a tap; in the padding it is not for reading."""
    row = b.iadd(
        b.isub(b.imul(place.row, vertical.stride), vertical.before), b.imul(tap_row, vertical.dilation)
    )
    column = b.iadd(
        b.isub(b.imul(place.column, horizontal.stride), horizontal.before), b.imul(tap, horizontal.dilation)
    )
    return b.linear([place.image, place.block, row, column], x.strides[:4])


def accumulate(
    kernel: Kernel,
    x: Memory,
    place: Place,
    vertical: Window,
    horizontal: Window,
    totals: list[list[Value]],
    step: Callable[[list[Value], Value, Index, Index], list[Value]],
) -> list[list[Value]]:
    """Fold the inputs under each output's window: ``totals = step(totals, input, tap_row, tap)``."""
    b = kernel.b
    width = len(totals[0])

    def apart(flat: Sequence[Value]) -> list[list[Value]]:
        return [list(flat[i : i + width]) for i in range(0, len(flat), width)]

    assert x.type.layout is not None
    lanes = x.type.layout.size
    first, last = vertical.tap_bounds(b, place.row, b.dim(x.type.shape[2]))
    with b.loop(first, last, 1, [v for total in totals for v in total]) as tap_row:
        sums = apart(tap_row.carried)
        if place.tile.taps is None:
            bounds = horizontal.tap_bounds(b, place.column, b.dim(x.type.shape[3]))
            with b.loop(*bounds, 1, sums[0]) as tap:
                at = input_offset(b, x, place, vertical, horizontal, tap_row.index, tap.index)
                value = b.load(x.pointer, at, lanes)
                tap.carry(step(list(tap.carried), value, tap_row.index, tap.index))
            sums = [list(tap.results)]
        else:
            for number in range(horizontal.taps):
                at = input_offset(b, x, place, vertical, horizontal, tap_row.index, number)
                for pixel, taps in enumerate(place.tile.taps):
                    if number in taps:
                        shift = b.imul(pixel * horizontal.stride, x.strides[3])
                        value = b.load(x.pointer, b.iadd(at, shift), lanes)
                        sums[pixel] = step(sums[pixel], value, tap_row.index, number)
        tap_row.carry([v for total in sums for v in total])
    return apart(tap_row.results)
