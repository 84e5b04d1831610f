"""Random numbers and dropout: the words of Philox 4x32 at each element's position, as on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.lower.move import axis_names
from netc.backends.cuda.text import c_float
from netc.ir.core import Op
from netc.ir.ops.random import FRACTION_BITS, least_kept


def lower_dropout(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``random.dropout``."""
    x, state = (kernel.operand(v) for v in anchor.operands)
    ratio = anchor.attrs.ratio
    shape = kernel.writes[0].type.shape
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        bits = f"random_bits({state.pointer}, {anchor.attrs.stream}u, unsigned(item))"
        kernel.line(f"const bool kept = {bits} >= {least_kept(ratio)}u;")
        kernel.line(f"const float left = {x.element(indices)} * (kept ? {c_float(1 / (1 - ratio))} : 0.0f);")
        finish_at(kernel, {anchor.result.name: "left"}, tail, indices)


def lower_uniform(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``random.uniform``."""
    state = kernel.operand(anchor.operands[0])
    shape = kernel.writes[0].type.shape
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        bits = f"random_bits({state.pointer}, {anchor.attrs.stream}u, unsigned(item))"
        kernel.line(f"const float drawn = float({bits}) * {c_float(2.0**-FRACTION_BITS)};")
        finish_at(kernel, {anchor.result.name: "drawn"}, tail, indices)


def lower_next(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``random.next``."""
    del tail
    before, after = kernel.operand(anchor.operands[0]), kernel.writes[0]
    with kernel.function((1, 1, 1), 32):
        kernel.line("if (threadIdx.x > 0) return;")
        kernel.line(f"{after.pointer}[0] = {before.pointer}[0];")
        # the step wraps
        kernel.line(f"{after.pointer}[1] = (long long)((unsigned long long){before.pointer}[1] + 1ull);")
