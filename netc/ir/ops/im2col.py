"""The windows of a convolution as columns of a matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate
from netc.ir.opdef import Array, OpDef, define
from netc.ir.ops.window import (
    Pads,
    check_at_least,
    check_per_axis,
    check_window_attrs,
    floor_extent,
    kernel_extent,
    taps,
)
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Im2colAttrs:
    """One entry a spatial axis: ``kernel``, ``stride``, ``pad`` (low, high), ``dilation``, in elements."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: Pads
    dilation: tuple[int, ...]


def _extents(spatial: tuple[Dim, ...], attrs: Im2colAttrs) -> tuple[Dim, ...]:
    rows = zip(spatial, attrs.kernel, attrs.stride, attrs.pad, attrs.dilation, strict=True)
    return tuple(floor_extent(size, kernel_extent(k, d), s, p) for size, k, s, p, d in rows)


def _infer(operands: tuple[TensorType, ...], attrs: Im2colAttrs) -> tuple[TensorType, ...]:
    (x,) = operands
    if x.rank < 3 or x.layout is not None:
        raise OpError(f"a row-major input of (N, C, spatial...) expected, got {x}")
    axes = x.rank - 2
    check_window_attrs(attrs.stride, attrs.pad, axes)
    for what, values in (("kernel", attrs.kernel), ("dilation", attrs.dilation)):
        check_per_axis(what, values, axes)
        check_at_least(what, values, 1)
    out = _extents(x.shape[2:], attrs)
    for axis, extent in enumerate(out):
        if isinstance(extent, int) and extent < 1:
            raise OpError(f"the kernel does not fit spatial axis {axis} of {x}", attr="kernel")
    return (x.with_shape(x.shape[0], x.shape[1] * math.prod(attrs.kernel), *out),)


def _reference(operands: tuple[Array, ...], attrs: Im2colAttrs) -> tuple[Array, ...]:
    (x,) = operands
    out = tuple(evaluate(d, {}) for d in _extents(x.shape[2:], attrs))
    low = tuple(lo for lo, _ in attrs.pad)
    windows = [seen for _, seen in taps(x, attrs.kernel, attrs.stride, attrs.dilation, low, out, 0.0)]
    return (np.stack(windows, axis=2).reshape(x.shape[0], -1, *out),)


IM2COL = define(
    OpDef(
        "nn.im2col",
        "tensor",
        "What each window of a convolution sees: y[n, (c,t), o] = x[n, c, stride*o - pad + dilation*t], 0 in "
        "the padding, the taps t of the kernel in row-major order. [N,C,*S] -> [N,C*prod(kernel),*out].",
        ("x",),
        Im2colAttrs,
        infer=_infer,
        reference=_reference,
    )
)
