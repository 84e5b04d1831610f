"""Local response normalisation across channels, and its gradient: one thread an element."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from netc.backends.cuda.kernel import Kernel, Memory
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.lower.move import axis_names
from netc.backends.cuda.text import c_dim, c_float
from netc.ir.core import Op
from netc.ir.dim import Dim
from netc.ir.ops.normalize import LrnAttrs


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.lrn``."""
    x, attrs = kernel.operand(anchor.operands[0]), anchor.attrs
    shape = kernel.writes[0].type.shape
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        _declare_base(kernel, x, attrs, indices, indices[1], "base")
        kernel.line(f"const float normal = {x.element(indices)} * powf(base, {c_float(-attrs.beta)});")
        finish_at(kernel, {anchor.result.name: "normal"}, tail, indices)


def lower_gradient(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.lrn_gradient``."""
    dy, x = (kernel.operand(v) for v in anchor.operands)
    attrs = anchor.attrs
    shape = kernel.writes[0].type.shape
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        kernel.line("float own = 0.0f, shared = 0.0f;")
        with _window(kernel, "j", indices[1], attrs.size, shape[1]):
            beside = [indices[0], "j", *indices[2:]]
            _declare_base(kernel, x, attrs, beside, "j", "base")
            kernel.line(f"const float part = {dy.element(beside)} * powf(base, {c_float(-attrs.beta)});")
            kernel.line(f"if (j == {indices[1]}) own = part;")
            kernel.line(f"shared += part * {x.element(beside)} / base;")
        scale = c_float(-2 * attrs.alpha * attrs.beta / attrs.size)
        kernel.line(f"const float gradient = fmaf({scale} * {x.element(indices)}, shared, own);")
        finish_at(kernel, {anchor.result.name: "gradient"}, tail, indices)


def _declare_base(
    kernel: Kernel, x: Memory, attrs: LrnAttrs, indices: Sequence[str], channel: str, name: str
) -> None:
    """k + alpha / size * the sum of squares around a channel."""
    kernel.line(f"float {name} = 0.0f;")
    with _window(kernel, "i", channel, attrs.size, x.type.shape[1]):
        kernel.line(f"const float beside = {x.element([indices[0], 'i', *indices[2:]])};")
        kernel.line(f"{name} = fmaf(beside, beside, {name});")
    kernel.line(f"{name} = fmaf({c_float(attrs.alpha / attrs.size)}, {name}, {c_float(attrs.k)});")


def _window(
    kernel: Kernel, name: str, channel: str, size: int, channels: Dim
) -> AbstractContextManager[None]:
    """A loop over the channels around one."""
    half = size // 2
    return kernel.block(
        f"for (int {name} = max({channel} - {half}, 0); "
        f"{name} <= min({channel} + {half}, {c_dim(channels - 1)}); ++{name})"
    )
