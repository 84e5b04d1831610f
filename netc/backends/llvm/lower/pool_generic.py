"""Pooling of any rank, row-major: the fallback, with registers along the last axis as in conv_generic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from netc.backends.llvm.lower.columns import Tile, Window
from netc.backends.llvm.lower.conv_generic import row_tiles
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.nest import nest
from netc.backends.llvm.lower.point import Point, finish_all_at, finish_at
from netc.backends.llvm.lower.pool import as_choice, chosen, window_divisor
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.ops.pool import LOWEST
from netc.ir.types import TensorType


def applies(anchor: Op) -> bool:
    """Row-major input, hence output."""
    x = anchor.operands[0].type
    assert isinstance(x, TensorType)
    return x.layout is None


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.pool`` or a ``nn.max_pool_choice``."""
    b = kernel.b
    attrs = anchor.attrs
    x, y = kernel.operand(anchor.operands[0]), kernel.writes[0]
    maximum = attrs.kind == "max"
    windows = [
        Window(taps, stride, 1, pad[0], pad[1], overhangs=True)
        for taps, stride, pad in zip(attrs.kernel, attrs.stride, attrs.pad, strict=True)
    ]
    last = windows[-1]
    spatial = [b.dim(d) for d in y.type.shape[2:]]
    in_shape = x.type.shape[2:]
    in_spatial = [b.dim(d) for d in in_shape]
    extents = [b.dim(d) for d in y.type.shape[:-1]]
    total: Index = 1
    for extent in extents:
        total = b.imul(total, extent)
    first, end = kernel.share(total)

    with b.loop(first, end) as item:
        image, channel, *rows = b.split(item.index, extents)
        row_bounds = [
            window.tap_bounds(b, row, extent)
            for window, row, extent in zip(windows[:-1], rows, in_spatial[:-1], strict=True)
        ]

        def emit(tile: Tile, column: Index) -> None:
            lanes = tile.size if tile.taps is not None else 0
            bounds = (0, last.taps) if tile.taps is not None else last.tap_bounds(b, column, in_spatial[-1])
            type_ = f"f32x{lanes}" if lanes else "f32"

            def step(taps: list[Index], totals: list[Value]) -> list[Value]:
                positions = [
                    b.iadd(b.isub(b.imul(o, window.stride), window.before), tap)
                    for o, window, tap in zip([*rows, column], windows, taps, strict=True)
                ]
                at = b.linear([image, channel, *positions], x.strides)
                if lanes:
                    value = b.load_strided(x.pointer, at, b.imul(last.stride, x.strides[-1]), lanes)
                else:
                    value = b.load(x.pointer, at)
                if len(totals) > 1:
                    number: Index = 0
                    for window, tap in zip(windows, taps, strict=True):
                        number = b.iadd(b.imul(number, window.taps), tap)
                    return chosen(kernel, totals, value, number)
                return [b.maximum(value, totals[0]) if maximum else b.add(totals[0], value)]

            start = [b.const(LOWEST if maximum else 0.0, type_)]
            if len(anchor.results) > 1:
                every = math.prod(window.taps for window in windows)
                start.append(b.const(every, f"i32x{lanes}" if lanes else "i32"))
            value, *choice = nest(b, [*row_bounds, bounds], start, step)
            if not maximum:
                count: Index = 1
                for window, row, extent in zip(windows[:-1], rows, in_shape[:-1], strict=True):
                    count = b.imul(count, window_divisor(kernel, window, row, extent, attrs.count_padding))
                # every window of a register is whole
                columns: Index = last.taps
                if not lanes:
                    columns = window_divisor(kernel, last, column, in_shape[-1], attrs.count_padding)
                divisor = b.cast("to_float", b.value(b.imul(count, columns)), "f32")
                value = b.div(value, b.splat(divisor, lanes))
            point = Point((image, channel, *rows, column), None, y.type.rank - 1, lanes)
            made = {anchor.result.name: value}
            made |= {
                r.name: as_choice(kernel, anchor, c) for r, c in zip(anchor.results[1:], choice, strict=True)
            }
            finish_all_at(kernel, made, tail, kernel.writes, point)

        for tile in row_tiles(b, last, spatial[-1], in_spatial[-1], b.lanes):
            with b.loop(0, tile.repeat) as repeat:
                emit(tile, b.iadd(tile.start, b.imul(repeat.index, tile.size)))


def lower_global(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.global_pool``: one item a channel of an image."""
    b = kernel.b
    x, y = kernel.operand(anchor.operands[0]), kernel.writes[0]
    maximum = anchor.attrs.kind == "max"
    images, channels, *spatial = [b.dim(d) for d in x.type.shape]
    *rows, columns = spatial
    whole = b.imul(b.idiv(columns, b.lanes), b.lanes)
    lowest = LOWEST if maximum else 0.0

    def fold(total: Value, value: Value) -> Value:
        return b.maximum(value, total) if maximum else b.add(total, value)

    first, end = kernel.share(b.imul(images, channels))
    with b.loop(first, end) as item:
        image, channel = b.split(item.index, [images, channels])

        def row(indices: list[Index], totals: list[Value]) -> list[Value]:
            at = b.linear([image, channel, *indices], x.strides[:-1])
            wide, narrow = totals
            with b.loop(0, whole, b.lanes, [wide]) as vector:
                value = b.load(x.pointer, b.iadd(at, vector.index), b.lanes)
                vector.carry([fold(vector.carried[0], value)])
            with b.loop(whole, columns, 1, [narrow]) as one:
                one.carry([fold(one.carried[0], b.load(x.pointer, b.iadd(at, one.index)))])
            return [vector.results[0], one.results[0]]

        starts = [b.const(lowest, f"f32x{b.lanes}"), b.const(lowest, "f32")]
        wide, narrow = nest(b, [(0, r) for r in rows], starts, row)
        value = fold(narrow, b.reduce("max" if maximum else "sum", wide))
        if not maximum:
            count: Index = 1
            for extent in spatial:
                count = b.imul(count, extent)
            value = b.div(value, b.cast("to_float", b.value(count), "f32"))
        indices = (image, channel, *[0 for _ in spatial])
        finish_at(kernel, anchor, value, tail, kernel.writes, Point(indices, None, y.type.rank - 1, 0))
