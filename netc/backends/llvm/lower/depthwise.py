"""Depthwise convolution on a blocked layout: registers hold one output each, lanes are channels."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.columns import Window
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.point import finish_at
from netc.backends.llvm.lower.windowed import Place, accumulate, for_each_tile
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType


def applies(anchor: Op) -> bool:
    """2-D, one input channel an output channel, input and weights blocked."""
    x, w = anchor.operands[0].type, anchor.operands[1].type
    assert isinstance(x, TensorType)
    assert isinstance(w, TensorType)
    return (
        x.rank == 4
        and x.layout is not None
        and w.layout is not None
        and w.layout.axis == 0
        and anchor.attrs.group == x.shape[1] == w.shape[0]
    )


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel."""
    b = kernel.b
    x, w = kernel.operand(anchor.operands[0]), kernel.operand(anchor.operands[1])
    bias = kernel.bias(anchor)
    y = kernel.writes[0]
    assert w.type.layout is not None
    lanes = w.type.layout.size
    attrs = anchor.attrs
    _, _, taps_v, taps_h = w.type.static_shape
    vertical = Window(taps_v, attrs.stride[0], attrs.dilation[0], *attrs.pad[0])
    horizontal = Window(taps_h, attrs.stride[1], attrs.dilation[1], *attrs.pad[1])

    def tile(place: Place) -> None:
        def step(totals: list[Value], value: Value, tap_row: Index, tap: Index) -> list[Value]:
            at = b.linear([place.block, tap_row, tap], [w.strides[0], w.strides[2], w.strides[3]])
            return [b.fma(value, b.load(w.pointer, at, lanes), totals[0])]

        start = b.const(0.0, f"f32x{lanes}")
        if bias is not None:
            start = b.load(bias.pointer, b.imul(place.block, lanes), lanes)
        totals = accumulate(kernel, x, place, vertical, horizontal, [[start]] * place.tile.size, step)
        for pixel, (total,) in enumerate(totals):
            finish_at(kernel, anchor, total, tail, kernel.writes, place.point(b, y, pixel))

    # accumulators, the inputs of one kernel row, a weight
    largest = max(2, (kernel.target.vector_registers - 4) // 2)
    for_each_tile(kernel, x, y, horizontal, largest, tile)
