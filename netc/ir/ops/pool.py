"""Pooling: the maximum or the average of windows, or of whole spatial planes.

The result has the layout of the input: row-major or blocked by channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate
from netc.ir.opdef import Array, OpDef, define
from netc.ir.ops.bf16 import from_bits, to_bits
from netc.ir.ops.window import (
    Pads,
    ceil_extent,
    check_at_least,
    check_per_axis,
    check_window_attrs,
    floor_extent,
    taps,
)
from netc.ir.types import TensorType

PoolKind = Literal["max", "ave"]
Rounding = Literal["ceil", "floor"]

# what Caffe starts a maximum from, in double too: the maximum of an empty window
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True)
class PoolAttrs:
    """One entry a spatial axis: ``kernel``, ``stride``, ``pad`` (low, high), in elements.

    ``round`` says how the number of windows is rounded. ``count_padding``: an average divides by the
    window clipped to the padded input; otherwise by the elements that lie in the input.
    """

    kind: PoolKind
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: Pads
    round: Rounding = "ceil"
    count_padding: bool = True


@dataclass(frozen=True, slots=True)
class GlobalPoolAttrs:
    """``kind`` is "max" or "ave"."""

    kind: PoolKind


def _check_input(x: TensorType, kind: str) -> None:
    if kind not in ("max", "ave"):
        raise OpError(f"kind must be max or ave, got {kind}", attr="kind")
    if x.rank < 3:
        raise OpError(f"an input of (N, C, spatial...) expected, got {x}")
    if x.layout is not None and x.layout.axis != 1:
        raise OpError(f"an input that is row-major or blocked by channels expected, got {x}")


def pool_extents(spatial: tuple[Dim, ...], attrs: PoolAttrs) -> tuple[Dim, ...]:
    """The number of windows along each axis."""
    clip = any(lo or hi for lo, hi in attrs.pad)
    rows = zip(spatial, attrs.kernel, attrs.stride, attrs.pad, strict=True)
    if attrs.round == "floor":
        return tuple(floor_extent(size, k, s, p) for size, k, s, p in rows)
    return tuple(ceil_extent(size, k, s, p, clip=clip) for size, k, s, p in rows)


def _infer_pool(operands: tuple[TensorType, ...], attrs: PoolAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    _check_input(x, attrs.kind)
    if attrs.kind != "max" and x.dtype in ("bf16", "u8"):
        raise OpError(f"an average of f32 expected, got {x}", attr="kind")
    if attrs.round not in ("ceil", "floor"):
        raise OpError(f"round must be ceil or floor, got {attrs.round}", attr="round")
    check_per_axis("kernel", attrs.kernel, x.rank - 2)
    check_at_least("kernel", attrs.kernel, 1)
    check_window_attrs(attrs.stride, attrs.pad, x.rank - 2)
    for k, pads in zip(attrs.kernel, attrs.pad, strict=True):
        if max(pads) >= k:
            raise OpError(f"pad must be smaller than the kernel, got pad {max(pads)} for {k}", attr="pad")
    spatial = pool_extents(x.shape[2:], attrs)
    for axis, (size, out) in enumerate(zip(x.shape[2:], spatial, strict=True)):
        if isinstance(out, int) and out < 1:
            raise OpError(
                f"the kernel covers {attrs.kernel[axis]} elements of spatial axis {axis}, "
                f"which has {size} and {sum(attrs.pad[axis])} of padding",
                attr="kernel",
            )
    return (TensorType(x.dtype, (*x.shape[:2], *spatial), x.layout),)


def window_counts(size: int, out: int, kernel: int, stride: int, pad: tuple[int, int], count: bool) -> Array:
    """By how many elements of one axis each window's sum is divided, as integers [out]."""
    begin = np.arange(out) * stride - pad[0]
    end = np.minimum(begin + kernel, size + pad[1])
    return end - begin if count else np.minimum(end, size) - np.maximum(begin, 0)


def _pool(operands: tuple[Array, ...], attrs: PoolAttrs) -> tuple[Array, ...]:
    x = operands[0]
    if x.dtype == np.uint16:
        return (to_bits(_pool((from_bits(x),), attrs)[0]),)
    out = tuple(evaluate(d, {}) for d in pool_extents(x.shape[2:], attrs))
    low = tuple(lo for lo, _ in attrs.pad)
    dense = (1,) * len(out)
    shape = (*x.shape[:2], *out)
    if attrs.kind == "max":
        lowest = 0 if x.dtype == np.uint8 else LOWEST
        best = np.full(shape, lowest, x.dtype)
        for _, seen in taps(x, attrs.kernel, attrs.stride, dense, low, out, lowest):
            np.fmax(best, seen, out=best)  # Caffe compares with >, which a NaN never is
        return (best,)
    total = np.zeros(shape, x.dtype)
    for _, seen in taps(x, attrs.kernel, attrs.stride, dense, low, out, 0.0):
        total += seen
    counts = [
        window_counts(size, o, k, s, p, attrs.count_padding)
        for size, o, k, s, p in zip(x.shape[2:], out, attrs.kernel, attrs.stride, attrs.pad, strict=True)
    ]
    divisor = reduce(np.multiply.outer, counts).astype(x.dtype)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / divisor,)


def _infer_global(operands: tuple[TensorType, ...], attrs: GlobalPoolAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    _check_input(x, attrs.kind)
    return (TensorType(x.dtype, (*x.shape[:2], *[1] * (x.rank - 2)), x.layout),)


def _global_pool(operands: tuple[Array, ...], attrs: GlobalPoolAttrs) -> tuple[Array, ...]:
    x = operands[0]
    axes = tuple(range(2, x.ndim))
    if attrs.kind == "max":
        return (np.fmax.reduce(x, axis=axes, keepdims=True, initial=x.dtype.type(LOWEST)),)
    count = x.dtype.type(math.prod(x.shape[2:]))
    return (np.sum(x, axis=axes, keepdims=True) / count,)


POOL = define(
    OpDef(
        "nn.pool",
        "tensor",
        "The maximum or average of each window of x [N,C,*S]. Windows begin at stride*o - pad; "
        "out = ceil((in + pads - k) / stride) + 1 (or floor), and where an axis is padded no window of the "
        "ceil rule begins beyond in + pad. MAX ignores padding, and takes bf16 and u8 too. AVE divides by "
        "the window clipped to the padded input (count_padding) or to the input. As in Caffe, a stride "
        "beyond the kernel can leave the last window empty: its maximum is -FLT_MAX, its average is 0 over "
        "its (non-positive) size.",
        ("x",),
        PoolAttrs,
        infer=_infer_pool,
        reference=_pool,
    )
)
GLOBAL_POOL = define(
    OpDef(
        "nn.global_pool",
        "tensor",
        "The maximum or average over all spatial axes, which stay with extent 1: [N,C,*S] -> [N,C,1,...].",
        ("x",),
        GlobalPoolAttrs,
        infer=_infer_global,
        reference=_global_pool,
    )
)
