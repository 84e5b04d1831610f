"""Gradients of poolings, one thread an input: it gathers from the windows that contain it."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.lower.move import axis_names
from netc.backends.cuda.lower.windows import begins, divisor, tap_number, windows_over
from netc.ir.core import Op


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.max_pool_gradient`` or an ``nn.ave_pool_gradient``."""
    dy, attrs = kernel.operand(anchor.operands[0]), anchor.attrs
    shape, outputs = kernel.writes[0].type.shape, dy.type.shape[2:]
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        kernel.line("float total = 0.0f;")
        place = indices[2:]
        with windows_over(kernel, place, outputs, attrs.kernel, attrs.stride, attrs.pad) as windows:
            begin = begins(kernel, windows, attrs.stride, attrs.pad)
            at = [*indices[:2], *windows]
            if anchor.name == "nn.max_pool_gradient":
                choice = kernel.operand(anchor.operands[1])
                offsets = [f"({i} - {b})" for i, b in zip(place, begin, strict=True)]
                kernel.line(
                    f"if ({choice.element(at)} == {tap_number(attrs.kernel, offsets)}) "
                    f"total += {dy.element(at)};"
                )
            else:
                count = divisor(begin, attrs.kernel, shape[2:], attrs.pad, attrs.count_padding)
                # a window without an element gives to none
                kernel.line(f"total += {dy.element(at)} / float(max({count}, 1));")
        finish_at(kernel, {anchor.result.name: "total"}, tail, indices)
