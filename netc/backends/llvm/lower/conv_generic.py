"""Convolution of any rank, stride, dilation and grouping, row-major: the fallback.

Registers run along the last output axis where all taps of a register's outputs lie inside of the input;
at the borders outputs are computed one by one. A few output channels share each input load.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.columns import Tile, Window, symbolic_tiles
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.nest import nest
from netc.backends.llvm.lower.point import Point, finish_at
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index, LoopBuilder
from netc.ir.types import TensorType

CHANNELS_AT_ONCE = 4


def applies(anchor: Op) -> bool:
    """Whatever the shapes, as long as the output is row-major."""
    result = anchor.result.type
    assert isinstance(result, TensorType)
    return result.layout is None


def element(b: LoopBuilder, memory: Memory, coordinates: Sequence[Index]) -> Index:
    """The offset of one logical element, whatever the layout."""
    layout = memory.type.layout
    if layout is None:
        return b.linear(coordinates, memory.strides)
    stored = list(coordinates)
    stored[layout.axis] = b.idiv(coordinates[layout.axis], layout.size)
    return b.linear([*stored, b.irem(coordinates[layout.axis], layout.size)], memory.strides)


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel."""
    b = kernel.b
    x, w = kernel.operand(anchor.operands[0]), kernel.operand(anchor.operands[1])
    bias = kernel.bias(anchor)
    y = kernel.writes[0]
    attrs = anchor.attrs
    outputs, depth, *kernel_extents = w.type.static_shape
    windows = [
        Window(taps, stride, dilation, *pad)
        for taps, stride, dilation, pad in zip(
            kernel_extents, attrs.stride, attrs.dilation, attrs.pad, strict=True
        )
    ]
    last = windows[-1]
    spatial = [b.dim(d) for d in y.type.shape[2:]]
    in_spatial = [b.dim(d) for d in x.type.shape[2:]]
    per_group = outputs // attrs.group
    at_once = min(CHANNELS_AT_ONCE, per_group)
    runs = -(-per_group // at_once)
    extents: list[Index] = [b.dim(y.type.shape[0]), attrs.group, runs, *spatial[:-1]]
    total: Index = 1
    for extent in extents:
        total = b.imul(total, extent)
    first, end = kernel.share(total)
    vectors = x.type.layout is None and isinstance(x.strides[-1], int)

    with b.loop(first, end) as item:
        image, group, run, *rows = b.split(item.index, extents)
        # the last run of a group overlaps its neighbour rather than being shorter
        within = b.imin(b.imul(run, at_once), per_group - at_once)
        channel = b.iadd(b.imul(group, per_group), within)
        row_bounds = [
            window.tap_bounds(b, row, extent)
            for window, row, extent in zip(windows[:-1], rows, in_spatial[:-1], strict=True)
        ]

        def emit(tile: Tile, column: Index) -> None:
            lanes = tile.size if tile.taps is not None else 0
            bounds = (0, last.taps) if tile.taps is not None else last.tap_bounds(b, column, in_spatial[-1])
            starts = []
            for i in range(at_once):
                if bias is None:
                    starts.append(b.const(0.0, f"f32x{lanes}" if lanes else "f32"))
                else:
                    value = b.load(bias.pointer, b.iadd(channel, i))
                    starts.append(b.splat(value, lanes))

            def step(indices: list[Index], totals: list[Value]) -> list[Value]:
                depth_index, *taps = indices
                positions = [
                    b.iadd(b.isub(b.imul(o, window.stride), window.before), b.imul(tap, window.dilation))
                    for o, window, tap in zip([*rows, column], windows, taps, strict=True)
                ]
                in_channel = b.iadd(b.imul(group, depth), depth_index)
                at = element(b, x, [image, in_channel, *positions])
                if lanes:
                    value = b.load_strided(x.pointer, at, b.imul(last.stride, x.strides[-1]), lanes)
                else:
                    value = b.load(x.pointer, at)
                sums = []
                for i, total in enumerate(totals):
                    weight = b.load(w.pointer, element(b, w, [b.iadd(channel, i), depth_index, *taps]))
                    sums.append(b.fma(value, b.splat(weight, lanes), total))
                return sums

            totals = nest(b, [(0, depth), *row_bounds, bounds], starts, step)
            for i, value in enumerate(totals):
                indices = (image, b.iadd(channel, i), *rows, column)
                point = Point(indices, None, y.type.rank - 1, lanes)
                finish_at(kernel, anchor, value, tail, kernel.writes, point)

        for tile in row_tiles(b, last, spatial[-1], in_spatial[-1], b.lanes if vectors else 1):
            with b.loop(0, tile.repeat) as repeat:
                emit(tile, b.iadd(tile.start, b.imul(repeat.index, tile.size)))


def row_tiles(b: LoopBuilder, window: Window, outputs: Index, width: Index, lanes: int) -> list[Tile]:
    """Left border, registers whose taps all exist, and the rest of a row; only single outputs for lanes 1."""
    if lanes == 1:
        return [Tile(0, 1, outputs, None)]
    return [t for t in symbolic_tiles(b, window, outputs, width, lanes) if t.repeat != 0]
