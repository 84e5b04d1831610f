"""Pooling of windows, one thread an output; the recorded form also says which tap it took."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.lower.move import axis_names
from netc.backends.cuda.lower.windows import begins, divisor, inside, tap_number
from netc.backends.cuda.text import c_float
from netc.ir.core import Op
from netc.ir.ops.pool import LOWEST


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.pool`` or an ``nn.max_pool_choice``."""
    x, attrs = kernel.operand(anchor.operands[0]), anchor.attrs
    shape, size = kernel.writes[0].type.shape, x.type.shape[2:]
    taps = 1
    for extent in attrs.kernel:
        taps *= extent
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        begin = begins(kernel, indices[2:], attrs.stride, attrs.pad)
        results = [r.name for r in anchor.results]
        if attrs.kind == "ave":
            kernel.line("float total = 0.0f;")
            with inside(kernel, begin, attrs.kernel, size) as at:
                kernel.line(f"total += {x.element([*indices[:2], *at])};")
            count = divisor(begin, attrs.kernel, size, attrs.pad, attrs.count_padding)
            kernel.line(f"const float mean = total / float({count});")
            finish_at(kernel, {results[0]: "mean"}, tail, indices)
            return
        kernel.line(f"float best = {c_float(LOWEST)};")
        if len(results) > 1:
            kernel.line(f"int choice = {taps};")
        with inside(kernel, begin, attrs.kernel, size) as at:
            kernel.line(f"const float x_value = {x.element([*indices[:2], *at])};")
            if len(results) > 1:
                offsets = [f"({i} - {b})" for i, b in zip(at, begin, strict=True)]
                kernel.line(f"if (x_value > best) choice = {tap_number(attrs.kernel, offsets)};")
            kernel.line("best = raised(best, x_value);")
        finish_at(kernel, dict(zip(results, ("best", "choice"), strict=False)), tail, indices)
