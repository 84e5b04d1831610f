"""Gradients of poolings of any rank and layout: the fallback, one element (of a block's lanes) at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netc.backends.llvm.lower.columns import Window
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.nest import nest
from netc.backends.llvm.lower.point import Point, finish_at
from netc.backends.llvm.lower.pool import window_divisor
from netc.backends.llvm.lower.pool_gradient import dense_count, windows_over
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.ops.pool import LOWEST
from netc.ir.types import TensorType


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.max_pool_gradient`` or a ``nn.ave_pool_gradient``."""
    b, attrs = kernel.b, anchor.attrs
    dy, dx = kernel.operand(anchor.operands[0]), kernel.writes[0]
    choice = kernel.operand(anchor.operands[1]) if len(anchor.operands) > 1 else None
    lanes = _lanes(dx.type)
    zero = b.const(0.0, f"f32x{lanes}" if lanes else "f32")
    axes = zip(attrs.kernel, attrs.stride, attrs.pad, strict=True)
    windows = [Window(k, s, 1, pad[0], pad[1], overhangs=True) for k, s, pad in axes]
    outputs = [b.dim(d) for d in dy.type.shape[2:]]
    count = dense_count(anchor)

    def element(image: Index, channel: Index, at: list[Index]) -> Value:
        bounds = [windows_over(kernel, w, i, out) for w, i, out in zip(windows, at, outputs, strict=True)]

        def step(window: list[Index], totals: list[Value]) -> list[Value]:
            value = _load(kernel, dy, [image, channel, *window], lanes)
            if choice is not None:
                tap: Index = 0
                for w, i, o in zip(windows, at, window, strict=True):
                    position = b.isub(b.iadd(i, w.before), b.imul(o, w.stride))
                    tap = b.iadd(b.imul(tap, w.taps), position)
                number = b.cast("truncate", b.value(tap), choice.type.dtype)
                taken = _load(kernel, choice, [image, channel, *window], lanes)
                value = b.select(b.compare("eq", taken, b.splat(number, lanes)), value, zero)
            elif count is not None:
                value = b.mul(value, b.like(1 / count, value))
            else:
                divisor: Index = 1
                for w, o, extent in zip(windows, window, dx.type.shape[2:], strict=True):
                    divisor = b.imul(divisor, window_divisor(kernel, w, o, extent, attrs.count_padding))
                value = b.div(value, b.splat(b.cast("to_float", b.value(divisor), "f32"), lanes))
            return [b.add(totals[0], value)]

        return nest(b, bounds, [zero], step)[0]

    _for_each(kernel, anchor, tail, element)


def lower_global_max(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.global_max_gradient``: one item a plane (of a block's lanes)."""
    b = kernel.b
    dy, x = (kernel.operand(v) for v in anchor.operands)
    dx = kernel.writes[0]
    lanes = _lanes(dx.type)
    suffix = f"x{lanes}" if lanes else ""
    images, channels, *spatial = kernel.storage_extents(dx.type)
    bounds: list[tuple[Index, Index]] = [(0, extent) for extent in spatial]
    first, last = kernel.share(b.imul(images, channels))
    with b.loop(first, last) as item:
        image, channel = b.split(item.index, [images, channels])

        def number(at: list[Index]) -> Value:
            """Of an element, in row-major order."""
            total: Index = 0
            for index, extent in zip(at, spatial, strict=True):
                total = b.iadd(b.imul(total, extent), index)
            return b.splat(b.value(total), lanes)

        def step(at: list[Index], best: list[Value]) -> list[Value]:
            value = _load(kernel, x, [image, channel, *at], lanes)
            better = b.compare("gt", value, best[0])
            return [b.select(better, value, best[0]), b.select(better, number(at), best[1])]

        starts = [b.const(LOWEST, f"f32{suffix}"), b.const(-1, f"i64{suffix}")]
        _, where = nest(b, bounds, starts, step)
        gradient = _load(kernel, dy, [image, channel, *[0] * len(spatial)], lanes)

        def write(at: list[Index], nothing: list[Value]) -> list[Value]:
            value = b.select(b.compare("eq", where, number(at)), gradient, b.like(0, gradient))
            finish_at(kernel, anchor, value, tail, kernel.writes, _point(dx, [image, channel, *at]))
            return nothing

        nest(b, bounds, [], write)


def _lanes(type_: TensorType) -> int:
    """The lanes of a blocked layout; 0 for a scalar at a time."""
    return 0 if type_.layout is None else type_.layout.size


def _load(kernel: Kernel, memory: Memory, indices: Sequence[Index], lanes: int) -> Value:
    return kernel.b.load(memory.pointer, kernel.b.linear(indices, memory.strides[: len(indices)]), lanes)


def _point(memory: Memory, indices: Sequence[Index]) -> Point:
    layout = memory.type.layout
    return Point(tuple(indices), layout, 1 if layout is not None else len(indices) - 1, _lanes(memory.type))


def _for_each(
    kernel: Kernel,
    anchor: Op,
    tail: Sequence[Op],
    element: Callable[[Index, Index, list[Index]], Value],
) -> None:
    """Every element of the result; an item of work is a row."""
    b, dx = kernel.b, kernel.writes[0]
    *outer, columns = kernel.storage_extents(dx.type)
    first, last = kernel.share(b.iproduct(outer))
    with b.loop(first, last) as item:
        image, channel, *rows = b.split(item.index, outer)
        with b.loop(0, columns) as column:
            at = [*rows, column.index]
            point = _point(dx, [image, channel, *at])
            finish_at(kernel, anchor, element(image, channel, at), tail, kernel.writes, point)
