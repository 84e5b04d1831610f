"""Convolution, its transpose, and fractionally strided convolution, over any number of spatial axes.

The weight's blocked axis is the one of the output channels, and decides the result's layout: blocked
weights make a blocked result. The input may be row-major or blocked either way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate
from netc.ir.layout import Blocked, Layout
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
class ConvAttrs:
    """One entry a spatial axis: ``stride``, ``pad`` (low, high), ``dilation`` (1: dense), in elements.

    ``group`` cuts the channels into equal runs; output run i sees input run i only.
    """

    stride: tuple[int, ...]
    pad: Pads
    dilation: tuple[int, ...]
    group: int = 1


@dataclass(frozen=True, slots=True)
class FractionalConvAttrs:
    """One entry a spatial axis: between neighbouring inputs lie ``spread - 1`` zeros; ``pad`` (low, high)."""

    spread: tuple[int, ...]
    pad: Pads
    group: int = 1


def _check_operands(
    operands: tuple[TensorType, ...], attrs: ConvAttrs, *, extending: bool = False
) -> tuple[int, ...]:
    """The checks common to all; returns the kernel's extents."""
    x, w = operands[0], operands[1]
    check_one_dtype(operands)
    if x.rank < 3:
        raise OpError(f"an input of (N, C, spatial...) expected, got {x}")
    if w.rank != x.rank:
        raise OpError(f"a weight of rank {x.rank} expected for the input {x}, got {w}", attr="kernel")
    axes = x.rank - 2
    check_window_attrs(attrs.stride, attrs.pad, axes, extending=extending)
    check_per_axis("dilation", attrs.dilation, axes)
    check_at_least("dilation", attrs.dilation, 1)
    if attrs.group < 1:
        raise OpError(f"group must be >= 1, got {attrs.group}", attr="group")
    if x.layout is not None and x.layout.axis != 1:
        raise OpError(f"an input that is row-major or blocked by channels expected, got {x}")
    kernel = tuple(k for k in w.shape[2:] if isinstance(k, int) and k >= 1)
    if len(kernel) != axes:
        raise OpError(f"a weight with a constant kernel expected, got {w}", attr="kernel")
    return kernel


def _check_divides(group: int, what: str, channels: Dim) -> None:
    if isinstance(channels, int) and channels % group:
        raise OpError(f"group {group} does not divide the {channels} {what} channels", attr="group")


def _check_bias(operands: tuple[TensorType, ...], channels: Dim, layout: Layout) -> None:
    """The bias is [O], row-major or blocked as the result is."""
    if len(operands) < 3:
        return
    bias = operands[2]
    if bias.shape != (channels,):
        raise OpError(f"a bias of shape [{channels}] expected, got {bias}")
    if bias.layout is not None and (layout is None or bias.layout.size != layout.size):
        raise OpError(f"a bias that is row-major or blocked like the weight expected, got {bias}")


def _result_layout(x: TensorType, w: TensorType, axis: int) -> Layout:
    """{1:b} for a weight blocked by b on ``axis``."""
    if w.layout is None:
        return None
    if w.layout.axis != axis:
        raise OpError(f"a weight that is row-major or blocked on axis {axis} expected, got {w}")
    if x.layout is not None and x.layout.size != w.layout.size:
        raise OpError(f"input and weight are blocked by {x.layout.size} and {w.layout.size}")
    return Blocked(1, w.layout.size)


def infer_conv(operands: tuple[TensorType, ...], attrs: ConvAttrs) -> tuple[TensorType, ...]:
    """The type rule of nn.conv."""
    x, w = operands[0], operands[1]
    kernel = _check_operands(operands, attrs)
    channels = w.shape[0]
    _check_channels(x, w, attrs.group)
    spatial = []
    for axis, (size, k) in enumerate(zip(x.shape[2:], kernel, strict=True)):
        covered = kernel_extent(k, attrs.dilation[axis])
        out = floor_extent(size, covered, attrs.stride[axis], attrs.pad[axis])
        if isinstance(out, int) and out < 1:
            raise OpError(
                f"the kernel covers {covered} elements of spatial axis {axis}, "
                f"which has {size} and {sum(attrs.pad[axis])} of padding",
                attr="kernel",
            )
        spatial.append(out)
    layout = _result_layout(x, w, axis=0)
    _check_bias(operands, channels, layout)
    return (TensorType(x.dtype, (x.shape[0], channels, *spatial), layout),)


def _check_channels(x: TensorType, w: TensorType, group: int) -> None:
    _check_divides(group, "input", x.shape[1])
    _check_divides(group, "output", w.shape[0])
    if w.shape[1] * group != x.shape[1]:
        raise OpError(
            f"the weight {w} takes {w.shape[1] * group} input channels (group {group}), "
            f"the input has {x.shape[1]}"
        )


def _infer_fractional(operands: tuple[TensorType, ...], attrs: FractionalConvAttrs) -> tuple[TensorType, ...]:
    x, w = operands[0], operands[1]
    axes = x.rank - 2
    kernel = _check_operands(operands, _of_spread(attrs, axes))
    check_per_axis("spread", attrs.spread, axes)
    check_at_least("spread", attrs.spread, 1)
    _check_channels(x, w, attrs.group)
    spatial = []
    for axis, (size, k) in enumerate(zip(x.shape[2:], kernel, strict=True)):
        out = attrs.spread[axis] * (size - 1) + 1 + sum(attrs.pad[axis]) - k + 1
        if isinstance(out, int) and out < 1:
            raise OpError(f"a kernel of {k} does not fit spatial axis {axis} of {x}", attr="kernel")
        spatial.append(out)
    layout = _result_layout(x, w, axis=0)
    _check_bias(operands, w.shape[0], layout)
    return (TensorType(x.dtype, (x.shape[0], w.shape[0], *spatial), layout),)


def _of_spread(attrs: FractionalConvAttrs, axes: int) -> ConvAttrs:
    """The convolution of the input with the zeros in it."""
    return ConvAttrs((1,) * axes, attrs.pad, (1,) * axes, attrs.group)


def _fractional(operands: tuple[Array, ...], attrs: FractionalConvAttrs) -> tuple[Array, ...]:
    x, *rest = operands
    extents = [s * (size - 1) + 1 for s, size in zip(attrs.spread, x.shape[2:], strict=True)]
    spread = np.zeros((*x.shape[:2], *extents), x.dtype)
    spread[:, :, *(slice(None, None, s) for s in attrs.spread)] = x
    return conv_reference((spread, *rest), _of_spread(attrs, x.ndim - 2))


def _infer_deconv(operands: tuple[TensorType, ...], attrs: ConvAttrs) -> tuple[TensorType, ...]:
    x, w = operands[0], operands[1]
    kernel = _check_operands(operands, attrs, extending=True)
    _check_divides(attrs.group, "input", x.shape[1])
    if w.shape[0] != x.shape[1]:
        raise OpError(f"the weight {w} takes {w.shape[0]} input channels, the input has {x.shape[1]}")
    channels = w.shape[1] * attrs.group
    spatial = []
    for axis, (size, k) in enumerate(zip(x.shape[2:], kernel, strict=True)):
        covered = kernel_extent(k, attrs.dilation[axis])
        out = attrs.stride[axis] * (size - 1) + covered - sum(attrs.pad[axis])
        if isinstance(out, int) and out < 1:
            raise OpError(
                f"pad {attrs.pad[axis]} leaves {out} elements of spatial axis {axis}, 1 or more expected",
                attr="pad",
            )
        spatial.append(out)
    depthwise = attrs.group != 1 and w.shape[1] == 1 and attrs.group == x.shape[1]
    if w.layout is not None and attrs.group != 1 and not depthwise:
        raise OpError(f"a blocked weight needs group 1 or one group a channel, got group {attrs.group}")
    layout = _result_layout(x, w, axis=0 if depthwise else 1)
    _check_bias(operands, channels, layout)
    return (TensorType(x.dtype, (x.shape[0], channels, *spatial), layout),)


def _add_bias(y: Array, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    if len(operands) < 3:
        return (y,)
    return (y + operands[2].reshape(1, -1, *[1] * (y.ndim - 2)),)


def conv_reference(operands: tuple[Array, ...], attrs: ConvAttrs) -> tuple[Array, ...]:
    """nn.conv in NumPy, in the dtype of the input."""
    x, w = operands[0], operands[1]
    n, channels, group, kernel = x.shape[0], w.shape[0], attrs.group, w.shape[2:]
    out = tuple(
        evaluate(floor_extent(size, kernel_extent(k, d), s, p), {})
        for size, k, d, s, p in zip(x.shape[2:], kernel, attrs.dilation, attrs.stride, attrs.pad, strict=True)
    )
    low = tuple(lo for lo, _ in attrs.pad)
    # y[n, g, o, p] = sum_tap sum_c w[g, o, c, tap] * x[n, g, c, p + tap]
    y = np.zeros((n, group, channels // group, math.prod(out)), x.dtype)
    for tap, seen in taps(x, kernel, attrs.stride, attrs.dilation, low, out, 0.0):
        weight = w[:, :, *tap].reshape(group, channels // group, w.shape[1])
        y += np.matmul(weight, seen.reshape(n, group, w.shape[1], -1))
    return _add_bias(y.reshape(n, channels, *out), operands)


def _deconv(operands: tuple[Array, ...], attrs: ConvAttrs) -> tuple[Array, ...]:
    x, w = operands[0], operands[1]
    n, group, kernel, spatial = x.shape[0], attrs.group, w.shape[2:], x.shape[2:]
    channels = w.shape[1] * group
    covered = [kernel_extent(k, d) for k, d in zip(kernel, attrs.dilation, strict=True)]
    # a negative high pad adds elements that no tap reaches
    full = [
        s * (size - 1) + c + max(0, -hi)
        for s, size, c, (_, hi) in zip(attrs.stride, spatial, covered, attrs.pad, strict=True)
    ]
    y = np.zeros((n, channels, *full), x.dtype)
    flat = x.reshape(n, group, x.shape[1] // group, -1)
    # y[n, g, o, stride * p + tap] += sum_c w[g, c, o, tap] * x[n, g, c, p]
    for tap in np.ndindex(*kernel):
        weight = w[:, :, *tap].reshape(group, -1, w.shape[1]).swapaxes(1, 2)
        begin = [t * d for t, d in zip(tap, attrs.dilation, strict=True)]
        met = tuple(
            slice(b, b + (size - 1) * s + 1, s)
            for b, size, s in zip(begin, spatial, attrs.stride, strict=True)
        )
        y[:, :, *met] += np.matmul(weight, flat).reshape(n, channels, *spatial)
    kept = tuple(slice(lo, size - max(0, hi)) for size, (lo, hi) in zip(full, attrs.pad, strict=True))
    return _add_bias(np.ascontiguousarray(y[:, :, *kept]), operands)


CONV = define(
    OpDef(
        "nn.conv",
        "tensor",
        "y[n,o,p] = b[o] + sum over c, t of w[o,c,t] * x[n, c, stride*p - pad + dilation*t], c within o's "
        "group (a correlation: the kernel is not flipped). x [N,C,*S], w [O,C/group,*K], b [O]; "
        "out = floor((in + pads - (dilation*(k-1)+1)) / stride) + 1.",
        ("x", "w", "b?"),
        ConvAttrs,
        infer=infer_conv,
        reference=conv_reference,
    )
)
DECONV = define(
    OpDef(
        "nn.deconv",
        "tensor",
        "The transpose of nn.conv: y[n, o, stride*p - pad + dilation*t] += w[c,o,t] * x[n,c,p], plus b[o]. "
        "x [N,C,*S], w [C,O/group,*K], b [O]; out = stride*(in-1) + dilation*(k-1) + 1 - pads. A negative "
        "high pad adds elements that no tap reaches: the gradient of what a convolution leaves over.",
        ("x", "w", "b?"),
        ConvAttrs,
        infer=_infer_deconv,
        reference=_deconv,
    )
)
FRACTIONAL_CONV = define(
    OpDef(
        "nn.fractional_conv",
        "tensor",
        "Fractionally strided convolution: nn.conv of stride 1 over x with spread - 1 zeros between "
        "neighbours. With nn.adjoint_weight it is nn.deconv of stride ``spread``. x [N,C,*S], "
        "w [O,C/group,*K], b [O]; out = spread*(in-1) + 1 + pads - k + 1.",
        ("x", "w", "b?"),
        FractionalConvAttrs,
        infer=_infer_fractional,
        reference=_fractional,
        vjp=NOT_DIFFERENTIABLE,
    )
)
