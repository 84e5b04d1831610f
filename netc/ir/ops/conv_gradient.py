"""The gradient of a convolution's weight. That of its input is a transposed convolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import evaluate
from netc.ir.layout import Blocked
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.ops.window import (
    Pads,
    check_at_least,
    check_one_dtype,
    check_per_axis,
    check_window_attrs,
    floor_extent,
    kernel_extent,
    taps,
)
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class ConvWeightGradientAttrs:
    """The attributes of the convolution, and the extents of its ``kernel``; one entry a spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: Pads
    dilation: tuple[int, ...]
    group: int = 1


def _infer(operands: tuple[TensorType, ...], attrs: ConvWeightGradientAttrs) -> tuple[TensorType, ...]:
    x, dy = operands
    check_one_dtype(operands)
    if x.rank < 3 or dy.rank != x.rank:
        raise OpError(f"an input and a gradient of (N, C, spatial...) expected, got {x} and {dy}")
    axes = x.rank - 2
    check_per_axis("kernel", attrs.kernel, axes)
    check_at_least("kernel", attrs.kernel, 1)
    check_window_attrs(attrs.stride, attrs.pad, axes)
    check_per_axis("dilation", attrs.dilation, axes)
    check_at_least("dilation", attrs.dilation, 1)
    check_at_least("group", (attrs.group,), 1)
    for operand in operands:
        if operand.layout is not None and operand.layout.axis != 1:
            raise OpError(f"an operand that is row-major or blocked by channels expected, got {operand}")
    channels, outputs = x.shape[1], dy.shape[1]
    if not isinstance(channels, int) or not isinstance(outputs, int):
        raise OpError(f"numbers of channels expected, got {channels} and {outputs}")
    if channels % attrs.group or outputs % attrs.group:
        raise OpError(f"group {attrs.group} does not divide {channels} and {outputs} channels", attr="group")
    if x.shape[0] != dy.shape[0]:
        raise OpError(f"input and gradient of one batch expected, got {x} and {dy}")
    for axis, k in enumerate(attrs.kernel):
        covered = kernel_extent(k, attrs.dilation[axis])
        out = floor_extent(x.shape[2 + axis], covered, attrs.stride[axis], attrs.pad[axis])
        if dy.shape[2 + axis] != out:
            raise OpError(f"spatial axis {axis} of the gradient has {dy.shape[2 + axis]} elements, not {out}")
    layout = None if dy.layout is None else Blocked(0, dy.layout.size)
    return (TensorType(x.dtype, (outputs, channels // attrs.group, *attrs.kernel), layout),)


def _reference(operands: tuple[Array, ...], attrs: ConvWeightGradientAttrs) -> tuple[Array, ...]:
    x, dy = operands
    n, group = x.shape[0], attrs.group
    channels, outputs = x.shape[1] // group, dy.shape[1] // group
    out = tuple(evaluate(d, {}) for d in dy.shape[2:])
    low = tuple(lo for lo, _ in attrs.pad)
    dw = np.zeros((dy.shape[1], channels, *attrs.kernel), x.dtype)
    flat = dy.reshape(n, group, outputs, -1)
    # dw[g, o, c, tap] = sum_n sum_p dy[n, g, o, p] * x[n, g, c, p + tap]
    for tap, seen in taps(x, attrs.kernel, attrs.stride, attrs.dilation, low, out, 0.0):
        met = seen.reshape(n, group, channels, -1)
        dw[:, :, *tap] = np.matmul(flat, met.swapaxes(2, 3)).sum(axis=0).reshape(-1, channels)
    return (dw,)


CONV_WEIGHT_GRADIENT = define(
    OpDef(
        "nn.conv_weight_gradient",
        "tensor",
        "dw[o,c,t] = sum over n, p of dy[n,o,p] * x[n, c, stride*p - pad + dilation*t], c within o's group: "
        "what nn.conv's weight [O,C/group,*K] gets from x [N,C,*S] and the result's gradient dy [N,O,*P]. "
        "Blocked by o where dy is blocked by channels.",
        ("x", "dy"),
        ConvWeightGradientAttrs,
        infer=_infer,
        reference=_reference,
        vjp=NOT_DIFFERENTIABLE,
    )
)
