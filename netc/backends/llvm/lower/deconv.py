"""Deconvolution in gather form: every output collects its inputs, so nothing is scattered or cleared.

Outputs of one row whose columns differ by the stride (a *phase*) meet the same taps, at inputs that lie side
by side; each phase is a convolution of stride 1 and is tiled like one. One lowering serves three forms: dense
with weights blocked by output channels, depthwise on blocked channels, and row-major with any grouping (one
output channel at a time, no registers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.conv_generic import element
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.nest import nest
from netc.backends.llvm.lower.point import Point, finish_at
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index, LoopBuilder
from netc.ir.types import TensorType

PIXELS = 8


def applies(anchor: Op) -> bool:
    """Strided or dilated, not both; blocked forms are dense or depthwise."""
    x, w, y = (v.type for v in (*anchor.operands[:2], anchor.result))
    assert isinstance(x, TensorType)
    assert isinstance(w, TensorType)
    assert isinstance(y, TensorType)
    if any(s > 1 and d > 1 for s, d in zip(anchor.attrs.stride, anchor.attrs.dilation, strict=True)):
        return False
    if y.layout is None:
        return True
    if w.layout is None:
        return False
    dense = anchor.attrs.group == 1 and w.layout.axis == 1
    depthwise = anchor.attrs.group == x.shape[1] == y.shape[1] and w.layout.axis == 0
    return dense or (depthwise and x.layout is not None)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One spatial axis: output o meets taps ``first + j * tap_step`` at ``quotient - j * input_step``."""

    taps: int
    stride: int
    dilation: int
    before: int
    extent: Index

    @property
    def tap_step(self) -> int:
        return self.stride if self.stride > 1 else 1

    @property
    def input_step(self) -> int:
        return 1 if self.stride > 1 else self.dilation

    def phase(self, b: LoopBuilder, output: Index) -> tuple[Index, Index, Index]:
        """Quotient, first tap and number of taps of an output."""
        shifted = b.iadd(output, self.before)
        quotient = b.idiv(shifted, self.stride)
        first = b.irem(shifted, self.stride)
        count = b.idiv(b.imax(0, b.iadd(b.isub(self.taps, first), self.tap_step - 1)), self.tap_step)
        return quotient, first, count

    def bounds(self, b: LoopBuilder, quotient: Index, count: Index) -> tuple[Index, Index]:
        """The j whose inputs exist."""
        past = b.imax(0, b.isub(b.iadd(quotient, 1), self.extent))
        first = b.ceildiv(past, self.input_step)
        last = b.imin(count, b.iadd(b.idiv(quotient, self.input_step), 1))
        return first, last


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel."""
    _Deconv(kernel, anchor, tail).emit()


class _Deconv:
    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
        self.kernel, self.b, self.anchor, self.tail = kernel, kernel.b, anchor, tail
        self.x = kernel.operand(anchor.operands[0])
        self.w = kernel.operand(anchor.operands[1])
        self.bias = kernel.bias(anchor)
        self.y = kernel.writes[0]
        layout = self.y.type.layout
        self.lanes = layout.size if layout is not None else 0
        self.depthwise = (
            layout is not None and self.w.type.layout is not None and self.w.type.layout.axis == 0
        )
        attrs = anchor.attrs
        channels, self.per_group, *extents = self.w.type.static_shape
        self.group_depth = 1 if self.depthwise else channels // attrs.group
        self.axes = [
            _Axis(k, s, d, pad[0], self.b.dim(extent))
            for k, s, d, pad, extent in zip(
                extents, attrs.stride, attrs.dilation, attrs.pad, self.x.type.shape[2:], strict=True
            )
        ]

    def emit(self) -> None:
        b = self.b
        images, channels, *spatial = self.kernel.storage_extents(self.y.type)
        extents = [images, channels, *spatial[:-1]]
        total: Index = 1
        for extent in extents:
            total = b.imul(total, extent)
        first, end = self.kernel.share(total)
        last = self.axes[-1]
        with b.loop(first, end) as item:
            image, channel, *rows = b.split(item.index, extents)
            with b.loop(0, b.imin(last.stride, spatial[-1])) as phase:
                self.phase(image, channel, rows, phase.index, spatial[-1])

    def phase(self, image: Index, channel: Index, rows: list[Index], phase: Index, width: Index) -> None:
        """All outputs of a row whose column is ``phase`` modulo the stride."""
        b, last = self.b, self.axes[-1]
        outputs = b.ceildiv(b.isub(width, phase), last.stride)
        quotient, first_tap, count = last.phase(b, phase)
        # of output q the inputs are quotient + q - j * input_step: all exist from `left` up to `right`
        reach = b.imul(b.isub(count, 1), last.input_step)
        left = b.imin(outputs, b.imax(0, b.isub(reach, quotient)))
        right = b.imin(outputs, b.imax(0, b.isub(last.extent, quotient)))
        whole = b.idiv(b.imax(0, b.isub(right, left)), PIXELS)
        rest = b.iadd(left, b.imul(whole, PIXELS))

        def tile(q: Index, size: int, bounds: tuple[Index, Index]) -> None:
            column = b.iadd(phase, b.imul(q, last.stride))
            self.tile(image, channel, rows, column, b.iadd(quotient, q), first_tap, size, bounds)

        def single(q: Index) -> None:
            tile(q, 1, last.bounds(b, b.iadd(quotient, q), count))

        with b.loop(0, left) as edge:
            single(edge.index)
        with b.loop(0, whole) as interior:
            tile(b.iadd(left, b.imul(interior.index, PIXELS)), PIXELS, (0, count))
        with b.loop(rest, outputs) as edge:
            single(edge.index)

    def tile(
        self,
        image: Index,
        channel: Index,
        rows: list[Index],
        column: Index,
        quotient: Index,
        first_tap: Index,
        size: int,
        bounds: tuple[Index, Index],
    ) -> None:
        """``size`` outputs of one phase, one register (or scalar) each."""
        b, axes = self.b, self.axes
        phases = [axis.phase(b, row) for axis, row in zip(axes[:-1], rows, strict=True)]
        box = [axis.bounds(b, q, n) for axis, (q, _, n) in zip(axes[:-1], phases, strict=True)]
        group = 0 if self.lanes else b.idiv(channel, self.per_group)

        def step(indices: list[Index], totals: list[Value]) -> list[Value]:
            depth, *js = indices
            quotients = [*(q for q, _, _ in phases), quotient]
            firsts = [*(f for _, f, _ in phases), first_tap]
            taps = [b.iadd(f, b.imul(j, axis.tap_step)) for f, j, axis in zip(firsts, js, axes, strict=True)]
            inputs = [
                b.isub(q, b.imul(j, axis.input_step)) for q, j, axis in zip(quotients, js, axes, strict=True)
            ]
            weight = self.weight(channel, group, depth, taps)
            x_at = self.input_offset(image, channel, group, depth, inputs)
            column_stride = self.x.strides[len(inputs) + 1]
            sums = []
            for pixel, total in enumerate(totals):
                at = b.iadd(x_at, b.imul(pixel, column_stride))
                if self.depthwise:
                    value = b.load(self.x.pointer, at, self.lanes)
                else:
                    value = b.splat(b.load(self.x.pointer, at), self.lanes)
                sums.append(b.fma(value, weight, total))
            return sums

        totals = nest(b, [(0, self.group_depth), *box, bounds], [self.start(channel)] * size, step)
        for pixel, total in enumerate(totals):
            at = b.iadd(column, pixel * axes[-1].stride)
            indices = (image, channel, *rows, at)
            axis = 1 if self.lanes else self.y.type.rank - 1
            point = Point(indices, self.y.type.layout, axis, self.lanes)
            finish_at(self.kernel, self.anchor, total, self.tail, self.kernel.writes, point)

    def start(self, channel: Index) -> Value:
        b = self.b
        if self.bias is None:
            return b.const(0.0, f"f32x{self.lanes}" if self.lanes else "f32")
        return b.load(self.bias.pointer, b.imul(channel, max(1, self.lanes)), self.lanes)

    def weight(self, channel: Index, group: Index, depth: Index, taps: list[Index]) -> Value:
        """The weights of this channel (block of channels) for an input channel and a tap."""
        b, w = self.b, self.w
        if not self.lanes:
            first = b.imul(group, self.group_depth)
            within = b.irem(channel, self.per_group)
            return b.load(w.pointer, element(b, w, [b.iadd(first, depth), within, *taps]))
        leading = [channel, 0] if self.depthwise else [depth, channel]
        return b.load(w.pointer, b.linear([*leading, *taps], w.strides[:-1]), self.lanes)

    def input_offset(
        self, image: Index, channel: Index, group: Index, depth: Index, inputs: list[Index]
    ) -> Index:
        b, x = self.b, self.x
        if self.depthwise:
            return b.linear([image, channel, *inputs], x.strides[:-1])
        first = b.imul(group, self.group_depth)
        return element(b, x, [image, b.iadd(first, depth), *inputs])
