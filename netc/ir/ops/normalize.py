"""Normalisation over an axis: local response, softmax."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import Array, OpDef, define
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


def _lrn(operands: tuple[Array, ...], attrs: LrnAttrs) -> tuple[Array, ...]:
    x = operands[0]
    half = attrs.size // 2
    channels = x.shape[1]
    square = np.square(x)
    total = np.zeros_like(x)
    for shift in range(max(-half, 1 - channels), min(half, channels - 1) + 1):
        # total[c] += square[c + shift]
        total[:, max(0, -shift) : channels - max(0, shift)] += square[
            :, max(0, shift) : channels - max(0, -shift)
        ]
    scalar = x.dtype.type
    base = scalar(attrs.k) + scalar(attrs.alpha / attrs.size) * total
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * np.power(base, scalar(-attrs.beta)),)


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
