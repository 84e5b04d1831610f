"""The windows of a convolution as columns of a matrix, and the sum of columns back into a tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate, exact_quotient
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.ops.window import (
    Pads,
    check_at_least,
    check_per_axis,
    check_window_attrs,
    floor_extent,
    kernel_extent,
    meetings,
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


@dataclass(frozen=True, slots=True)
class Col2imAttrs:
    """``size`` of the result's spatial axes; the rest are the attributes of ``nn.im2col``."""

    size: tuple[Dim, ...]
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


def _infer_col2im(operands: tuple[TensorType, ...], attrs: Col2imAttrs) -> tuple[TensorType, ...]:
    (columns,) = operands
    if columns.rank < 3 or columns.layout is not None:
        raise OpError(f"row-major columns of (N, C * prod(kernel), spatial...) expected, got {columns}")
    check_per_axis("size", attrs.size, columns.rank - 2)
    for extent in attrs.size:
        if isinstance(extent, int) and extent < 1:
            raise OpError(f"size must be >= 1, got {extent}", attr="size")
    check_per_axis("kernel", attrs.kernel, columns.rank - 2)
    check_at_least("kernel", attrs.kernel, 1)
    channels = exact_quotient(columns.shape[1], math.prod(attrs.kernel))
    if channels is None:
        raise OpError(
            f"a multiple of {math.prod(attrs.kernel)} channels expected, got {columns}", attr="kernel"
        )
    x = columns.with_shape(columns.shape[0], channels, *attrs.size)
    (expected,) = _infer((x,), _windows(attrs))
    if columns != expected:
        raise OpError(f"{expected} expected for a result of {x}, got {columns}")
    return (x,)


def _windows(attrs: Col2imAttrs) -> Im2colAttrs:
    return Im2colAttrs(attrs.kernel, attrs.stride, attrs.pad, attrs.dilation)


def _col2im(operands: tuple[Array, ...], attrs: Col2imAttrs) -> tuple[Array, ...]:
    (columns,) = operands
    size = tuple(evaluate(d, {}) for d in attrs.size)
    taps_first = columns.reshape(len(columns), -1, *attrs.kernel, *columns.shape[2:])
    x = np.zeros((*taps_first.shape[:2], *size), columns.dtype)
    low = tuple(lo for lo, _ in attrs.pad)
    for tap, read, written in meetings(
        size, attrs.kernel, attrs.stride, attrs.dilation, low, columns.shape[2:]
    ):
        column: tuple[Any, ...] = (*tap, *written)
        x[:, :, *read] += taps_first[:, :, *column]
    return (x,)


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
COL2IM = define(
    OpDef(
        "nn.col2im",
        "tensor",
        "x[n,c,i] = sum of y[n, (c,t), o] over all o and t that nn.im2col fills with x[n,c,i]: its "
        "transpose, and so its gradient. [N,C*prod(kernel),*out] -> [N,C,*size].",
        ("y",),
        Col2imAttrs,
        infer=_infer_col2im,
        reference=_col2im,
        vjp=NOT_DIFFERENTIABLE,
    )
)
