"""Pooling on a blocked layout: registers hold one output each, lanes are channels.

A maximum may come with its choice: the tap that it was found at waits in a register beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.columns import Window
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.point import Point, finish_all_at, finish_at
from netc.backends.llvm.lower.windowed import Place, accumulate, for_each_tile
from netc.ir.core import Op, Value
from netc.ir.dim import Dim
from netc.ir.loop_builder import Index
from netc.ir.ops.pool import LOWEST
from netc.ir.types import TensorType, VectorType

LARGEST_UNROLLED_WINDOW = 8
CHAINS = 4


def applies(anchor: Op) -> bool:
    """[N, C, H, W] blocked by channels."""
    x = anchor.operands[0].type
    assert isinstance(x, TensorType)
    return x.rank == 4 and x.layout is not None


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.pool`` or a ``nn.max_pool_choice``."""
    b = kernel.b
    attrs = anchor.attrs
    x, y = kernel.operand(anchor.operands[0]), kernel.writes[0]
    assert x.type.layout is not None
    lanes = x.type.layout.size
    vertical, horizontal = (
        Window(attrs.kernel[i], attrs.stride[i], 1, attrs.pad[i][0], attrs.pad[i][1], overhangs=True)
        for i in range(2)
    )
    maximum = attrs.kind == "max"
    # bf16 is compared as f32, codes as they are
    bf16, codes = x.type.dtype == "bf16", x.type.dtype == "u8"

    names = [r.name for r in anchor.results]

    def step(totals: list[Value], value: Value, row: Index, tap: Index) -> list[Value]:
        # as Caffe: the new value wins only where it is greater, so a NaN never does
        if len(totals) > 1:
            number = b.iadd(b.imul(row, horizontal.taps), tap)
            return chosen(kernel, totals, value, number)
        if bf16:
            value = b.cast("extend", value, "f32")
        return [b.maximum(value, totals[0]) if maximum else b.add(totals[0], value)]

    def tile(place: Place) -> None:
        start = [b.const(0, f"u8x{lanes}") if codes else b.const(LOWEST if maximum else 0.0, f"f32x{lanes}")]
        if len(names) > 1:
            start.append(b.const(vertical.taps * horizontal.taps, f"i32x{lanes}"))
        found = accumulate(kernel, x, place, vertical, horizontal, [start] * place.tile.size, step)
        for pixel, (total, *choice) in enumerate(found):
            if not maximum:
                rows = window_divisor(kernel, vertical, place.row, x.type.shape[2], attrs.count_padding)
                column = b.iadd(place.column, pixel)
                columns = window_divisor(kernel, horizontal, column, x.type.shape[3], attrs.count_padding)
                count = b.cast("to_float", b.value(b.imul(rows, columns)), "f32")
                total = b.div(total, b.splat(count, lanes))
            if bf16:
                total = b.cast("truncate", total, "bf16")
            made = dict(zip(names, (total, *(as_choice(kernel, anchor, c) for c in choice)), strict=True))
            finish_all_at(kernel, made, tail, kernel.writes, place.point(b, y, pixel))

    large = horizontal.taps > LARGEST_UNROLLED_WINDOW
    largest = 1 if large else max(2, (kernel.target.vector_registers - 4) // (2 * len(names)))
    for_each_tile(kernel, x, y, horizontal, largest, tile)


def chosen(kernel: Kernel, best: Sequence[Value], value: Value, number: Index) -> list[Value]:
    """The larger of the best and a value, and the number of the tap it is from (i32)."""
    b = kernel.b
    most, taken = best
    better = b.compare("gt", value, most)
    tap = b.const(number, "i32") if isinstance(number, int) else b.cast("truncate", number, "i32")
    if isinstance(taken.type, VectorType):
        tap = b.splat(tap, taken.type.lanes)
    return [b.select(better, value, most), b.select(better, tap, taken)]


def as_choice(kernel: Kernel, anchor: Op, taken: Value) -> Value:
    """The number of a tap in the dtype of the anchor's second result."""
    type_ = anchor.results[1].type
    assert isinstance(type_, TensorType)
    return taken if type_.dtype == "i32" else kernel.b.cast("truncate", taken, type_.dtype)


def window_divisor(kernel: Kernel, window: Window, output: Index, extent: Dim, count_padding: bool) -> Index:
    """How many elements of one axis an average counts: the window clipped to the (padded) input."""
    b = kernel.b
    size = b.dim(extent)
    start = b.isub(b.imul(output, window.stride), window.before)
    end = b.iadd(start, window.taps)
    if count_padding:
        return b.isub(b.imin(end, b.iadd(size, window.after)), start)
    return b.isub(b.imin(end, size), b.imax(start, 0))


def lower_global(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.global_pool``: one item a block of channels of an image."""
    b = kernel.b
    x = kernel.operand(anchor.operands[0])
    assert x.type.layout is not None
    layout = x.type.layout
    images, blocks, rows, columns = kernel.storage_extents(x.type)
    maximum = anchor.attrs.kind == "max"
    start = b.const(LOWEST if maximum else 0.0, f"f32x{layout.size}")
    first, last = kernel.share(b.imul(images, blocks))
    with b.loop(first, last) as item:
        image, block = b.split(item.index, [images, blocks])
        # several chains hide the latency of the additions; their order is fixed
        whole = b.imul(b.idiv(columns, CHAINS), CHAINS)
        with b.loop(0, rows, 1, [start] * CHAINS) as row:
            at = b.linear([image, block, row.index], x.strides[:3])

            def fold(total: Value, column: Index, at: Index = at) -> Value:
                value = b.load(x.pointer, b.iadd(at, b.imul(column, x.strides[3])), layout.size)
                return b.maximum(value, total) if maximum else b.add(total, value)

            with b.loop(0, whole, CHAINS, row.carried) as quad:
                quad.carry([fold(t, b.iadd(quad.index, i)) for i, t in enumerate(quad.carried)])
            chains = list(quad.results)
            with b.loop(whole, columns, 1, chains[:1]) as one:
                one.carry([fold(one.carried[0], one.index)])
            row.carry([one.results[0], *chains[1:]])
        total = row.results[0]
        for other in row.results[1:]:
            total = b.maximum(other, total) if maximum else b.add(total, other)
        if not maximum:
            count = b.cast("to_float", b.value(b.imul(rows, columns)), "f32")
            total = b.div(total, b.splat(count, layout.size))
        finish_at(
            kernel, anchor, total, tail, kernel.writes, Point((image, block, 0, 0), layout, 1, layout.size)
        )
