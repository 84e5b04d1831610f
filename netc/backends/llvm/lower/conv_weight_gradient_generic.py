"""Gradient of the weight of any convolution, whatever the rank, grouping and layouts: the fallback.

An item of work is a run of output channels x an input channel: one sum a tap. Registers run along the last
axis of a row-major gradient and are summed at the end of each tap.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.columns import Window
from netc.backends.llvm.lower.conv_generic import element
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.nest import nest
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index

CHANNELS_AT_ONCE = 4


def lower(kernel: Kernel, anchor: Op, _tail: Sequence[Op]) -> None:
    """Emit the whole kernel; no ops follow the anchor."""
    b = kernel.b
    x, dy = (kernel.operand(v) for v in anchor.operands)
    dw = kernel.writes[0]
    attrs = anchor.attrs
    outputs, depth, *taps = dw.type.static_shape
    windows = [
        Window(k, stride, dilation, *pad)
        for k, stride, dilation, pad in zip(taps, attrs.stride, attrs.dilation, attrs.pad, strict=True)
    ]
    spatial = [b.dim(d) for d in dy.type.shape[2:]]
    in_spatial = [b.dim(d) for d in x.type.shape[2:]]
    images = b.dim(dy.type.shape[0])
    per_group = outputs // attrs.group
    at_once = min(CHANNELS_AT_ONCE, per_group)
    runs = -(-per_group // at_once)
    extents = [attrs.group, runs, depth, *taps]
    vectors = x.type.layout is None and dy.type.layout is None and dy.strides[-1] == 1
    lanes = b.lanes if vectors and isinstance(x.strides[-1], int) else 0

    first, end = kernel.share(b.iproduct(extents))
    with b.loop(first, end) as item:
        group, run, channel, *tap = b.split(item.index, extents)
        # the last run of a group overlaps its neighbour rather than being shorter
        within = b.imin(b.imul(run, at_once), per_group - at_once)
        output = b.iadd(b.imul(group, per_group), within)
        in_channel = b.iadd(b.imul(group, depth), channel)
        *row_bounds, (low, high) = [
            window.output_bounds(b, t, width, out)
            for window, t, width, out in zip(windows, tap, in_spatial, spatial, strict=True)
        ]

        def step(indices: list[Index], totals: list[Value], width: int) -> list[Value]:
            image, *pixel = indices
            positions = [
                b.iadd(b.isub(b.imul(p, window.stride), window.before), b.imul(t, window.dilation))
                for p, window, t in zip(pixel, windows, tap, strict=True)
            ]
            at = element(b, x, [image, in_channel, *positions])
            if width:
                value = b.load_strided(x.pointer, at, b.imul(windows[-1].stride, x.strides[-1]), width)
            else:
                value = b.load(x.pointer, at)
            return [
                b.fma(
                    value,
                    b.load(dy.pointer, element(b, dy, [image, b.iadd(output, i), *pixel]), width),
                    total,
                )
                for i, total in enumerate(totals)
            ]

        totals = [b.const(0.0, "f32")] * at_once
        begin = low
        if lanes:
            count = b.idiv(b.imax(0, b.isub(high, low)), lanes)
            begin = b.iadd(low, b.imul(count, lanes))

            def registers(indices: list[Index], sums: list[Value]) -> list[Value]:
                at = b.iadd(low, b.imul(indices[-1], lanes))
                return step([*indices[:-1], at], sums, lanes)

            zeros = [b.const(0.0, f"f32x{lanes}")] * at_once
            sums = nest(b, [(0, images), *row_bounds, (0, count)], zeros, registers)
            totals = [b.reduce("sum", s) for s in sums]
        totals = nest(b, [(0, images), *row_bounds, (begin, high)], totals, lambda i, s: step(i, s, 0))
        for i, total in enumerate(totals):
            b.store(total, dw.pointer, element(b, dw, [b.iadd(output, i), channel, *tap]))
