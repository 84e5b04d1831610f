"""Normalisation over an axis: local response, softmax."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class LrnAttrs:
    """``size`` channels (odd, the channel in the middle); ``alpha``, ``beta``, ``k`` of the formula."""

    size: int
    alpha: float
    beta: float
    k: float


@dataclass(frozen=True, slots=True)
class SoftmaxAttrs:
    """``axis`` >= 0: the axis along which results sum to 1."""

    axis: int


def _infer_lrn(operands: tuple[TensorType, ...], attrs: LrnAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    if attrs.size < 1 or attrs.size % 2 == 0:
        raise OpError(f"size must be odd and >= 1, got {attrs.size}", attr="size")
    if x.rank < 2:
        raise OpError(f"an input of (N, C, ...) expected, got {x}")
    if x.layout is not None and x.layout.axis != 1:
        raise OpError(f"an input that is row-major or blocked by channels expected, got {x}")
    return (x,)


def _window_sums(x: Array, size: int) -> Array:
    """For each channel the sum over the ``size`` channels around it."""
    half, channels = size // 2, x.shape[1]
    total = np.zeros_like(x)
    for shift in range(max(-half, 1 - channels), min(half, channels - 1) + 1):
        # total[c] += x[c + shift]
        total[:, max(0, -shift) : channels - max(0, shift)] += x[:, max(0, shift) : channels - max(0, -shift)]
    return total


def _lrn_base(x: Array, attrs: LrnAttrs) -> Array:
    scalar = x.dtype.type
    return np.asarray(
        scalar(attrs.k) + scalar(attrs.alpha / attrs.size) * _window_sums(np.square(x), attrs.size)
    )


def _lrn(operands: tuple[Array, ...], attrs: LrnAttrs) -> tuple[Array, ...]:
    x = operands[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * np.power(_lrn_base(x, attrs), x.dtype.type(-attrs.beta)),)


def _infer_lrn_gradient(operands: tuple[TensorType, ...], attrs: LrnAttrs) -> tuple[TensorType, ...]:
    dy, x = operands
    if dy != x:
        raise OpError(f"a gradient of the type of the input, {x}, expected, got {dy}")
    return _infer_lrn((x,), attrs)


def _lrn_gradient(operands: tuple[Array, ...], attrs: LrnAttrs) -> tuple[Array, ...]:
    dy, x = operands
    scalar = x.dtype.type
    with np.errstate(invalid="ignore", divide="ignore"):
        base = _lrn_base(x, attrs)
        own = dy * np.power(base, scalar(-attrs.beta))
        shared = _window_sums(own * x / base, attrs.size)
        return (own - scalar(2 * attrs.alpha * attrs.beta / attrs.size) * x * shared,)


def _infer_softmax(operands: tuple[TensorType, ...], attrs: SoftmaxAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    if not 0 <= attrs.axis < x.rank:
        raise OpError(f"axis must be within 0..{x.rank - 1} for {x}, got {attrs.axis}", attr="axis")
    if x.layout is not None:
        raise OpError(f"a row-major input expected, got {x}")
    return (x,)


def _softmax(operands: tuple[Array, ...], attrs: SoftmaxAttrs) -> tuple[Array, ...]:
    x = operands[0]
    raised = np.exp(x - np.max(x, axis=attrs.axis, keepdims=True))
    return (raised / np.sum(raised, axis=attrs.axis, keepdims=True),)


LRN = define(
    OpDef(
        "nn.lrn",
        "tensor",
        "x[n,c] * (k + alpha/size * sum of x[n,j]^2) ^ -beta, j from c - size/2 to c + size/2 within the "
        "channels. As in Caffe alpha is divided by the size, also at the borders. Keeps x's layout: "
        "row-major or blocked by channels.",
        ("x",),
        LrnAttrs,
        infer=_infer_lrn,
        reference=_lrn,
    )
)
LRN_GRADIENT = define(
    OpDef(
        "nn.lrn_gradient",
        "tensor",
        "dy[n,c] s[n,c]^-beta - 2 alpha beta/size x[n,c] * (sum of dy[n,j] x[n,j] s[n,j]^(-beta-1)), with "
        "the window j of nn.lrn and s = k + alpha/size * sum of x^2: what nn.lrn's input x gets from the "
        "result's gradient dy.",
        ("dy", "x"),
        LrnAttrs,
        infer=_infer_lrn_gradient,
        reference=_lrn_gradient,
        vjp=NOT_DIFFERENTIABLE,
    )
)
SOFTMAX = define(
    OpDef(
        "nn.softmax",
        "tensor",
        "exp(x - m) / sum of exp(x - m) along the axis, m the maximum along it. Row-major only.",
        ("x",),
        SoftmaxAttrs,
        infer=_infer_softmax,
        reference=_softmax,
        in_place=(0,),
    )
)
