"""Gradients of poolings: every element of the input gathers from the windows that contain it.

Gradients have the layout of what they come from: row-major or blocked by channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, NoAttrs, OpDef, define, numpy_dtype, opdef
from netc.ir.ops.pool import LOWEST, PoolAttrs, PoolKind, Rounding, pool_extents, window_counts
from netc.ir.ops.window import Pads, check_one_dtype, check_per_axis, meetings, taps
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class PoolGradientAttrs:
    """The attributes of the pooling, and the ``spatial`` extents of its input."""

    spatial: tuple[Dim, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: Pads
    round: Rounding = "ceil"
    count_padding: bool = True

    @staticmethod
    def of(attrs: PoolAttrs, spatial: tuple[Dim, ...]) -> PoolGradientAttrs:
        """Those of the gradient of a pooling of an input with these extents."""
        return PoolGradientAttrs(
            spatial, attrs.kernel, attrs.stride, attrs.pad, attrs.round, attrs.count_padding
        )

    def pooling(self, kind: PoolKind) -> PoolAttrs:
        """The attributes of the pooling."""
        return PoolAttrs(kind, self.kernel, self.stride, self.pad, self.round, self.count_padding)


def choice_dtype(kernel: tuple[int, ...]) -> str:
    """What holds the number of a tap, and that of taps for a window that took none."""
    return "u8" if math.prod(kernel) < 2**8 else "i32"


def pooled_type(x: TensorType, attrs: PoolAttrs) -> TensorType:
    """The type of a pooling's result."""
    infer = opdef("nn.pool").infer
    assert infer is not None
    (result,) = infer((x,), attrs)
    assert isinstance(result, TensorType)
    return result


def _infer_choice(operands: tuple[TensorType, ...], attrs: PoolAttrs) -> tuple[TensorType, ...]:
    if attrs.kind != "max":
        raise OpError(f"kind must be max, got {attrs.kind}", attr="kind")
    y = pooled_type(operands[0], attrs)
    return (y, TensorType(choice_dtype(attrs.kernel), y.shape, y.layout))


def _choice(operands: tuple[Array, ...], attrs: PoolAttrs) -> tuple[Array, ...]:
    (x,) = operands
    out = pool_extents(x.shape[2:], attrs)
    assert all(isinstance(d, int) for d in out)
    extents = tuple(d for d in out if isinstance(d, int))
    low = tuple(lo for lo, _ in attrs.pad)
    best = np.full((*x.shape[:2], *extents), LOWEST, x.dtype)
    chosen = np.full(best.shape, math.prod(attrs.kernel), numpy_dtype(choice_dtype(attrs.kernel)))
    for tap, seen in taps(x, attrs.kernel, attrs.stride, (1,) * len(low), low, extents, LOWEST):
        better = seen > best
        best = np.where(better, seen, best)
        chosen[better] = np.ravel_multi_index(tap, attrs.kernel)
    return best, chosen


def _source_type(dy: TensorType, attrs: PoolGradientAttrs, kind: PoolKind) -> TensorType:
    """The type of the pooling's input; OpError unless dy is the gradient of its result."""
    if dy.rank < 3:
        raise OpError(f"a gradient of (N, C, spatial...) expected, got {dy}")
    check_per_axis("spatial", attrs.spatial, dy.rank - 2)
    for extent in attrs.spatial:
        if isinstance(extent, int) and extent < 1:
            raise OpError(f"extents must be >= 1, got {extent}", attr="spatial")
    x = TensorType(dy.dtype, (*dy.shape[:2], *attrs.spatial), dy.layout)
    y = pooled_type(x, attrs.pooling(kind))
    if y != dy:
        raise OpError(f"the pooling of {x} makes {y}: a gradient of this type expected, got {dy}")
    return x


def _infer_max(operands: tuple[TensorType, ...], attrs: PoolGradientAttrs) -> tuple[TensorType, ...]:
    dy, choice = operands
    x = _source_type(dy, attrs, "max")
    expected = TensorType(choice_dtype(attrs.kernel), dy.shape, dy.layout)
    if choice != expected:
        raise OpError(f"the choices of the pooling, {expected}, expected, got {choice}")
    return (x,)


def _infer_ave(operands: tuple[TensorType, ...], attrs: PoolGradientAttrs) -> tuple[TensorType, ...]:
    return (_source_type(operands[0], attrs, "ave"),)


def _static(spatial: tuple[Dim, ...]) -> tuple[int, ...]:
    return tuple(d for d in spatial if isinstance(d, int))


def _max(operands: tuple[Array, ...], attrs: PoolGradientAttrs) -> tuple[Array, ...]:
    dy, choice = operands
    spatial, low = _static(attrs.spatial), tuple(lo for lo, _ in attrs.pad)
    dx = np.zeros((*dy.shape[:2], *spatial), dy.dtype)
    dense = (1,) * len(low)
    for tap, read, written in meetings(spatial, attrs.kernel, attrs.stride, dense, low, dy.shape[2:]):
        met = choice[:, :, *written] == np.ravel_multi_index(tap, attrs.kernel)
        dx[:, :, *read] += np.where(met, dy[:, :, *written], dy.dtype.type(0))
    return (dx,)


def _ave(operands: tuple[Array, ...], attrs: PoolGradientAttrs) -> tuple[Array, ...]:
    (dy,) = operands
    spatial, low, out = _static(attrs.spatial), tuple(lo for lo, _ in attrs.pad), dy.shape[2:]
    counts = [
        window_counts(size, o, k, s, p, attrs.count_padding)
        for size, o, k, s, p in zip(spatial, out, attrs.kernel, attrs.stride, attrs.pad, strict=True)
    ]
    # a window without an element gives to none
    divisor = np.maximum(reduce(np.multiply.outer, counts), 1).astype(dy.dtype)
    share = dy / divisor
    dx = np.zeros((*dy.shape[:2], *spatial), dy.dtype)
    for _, read, written in meetings(spatial, attrs.kernel, attrs.stride, (1,) * len(low), low, out):
        dx[:, :, *read] += share[:, :, *written]
    return (dx,)


def _infer_global_max(operands: tuple[TensorType, ...], attrs: NoAttrs) -> tuple[TensorType, ...]:
    del attrs
    dy, x = operands
    check_one_dtype(operands)
    if x.rank < 3 or (x.layout is not None and x.layout.axis != 1):
        raise OpError(f"an input (N, C, spatial...), row-major or blocked by channels, expected, got {x}")
    expected = TensorType(x.dtype, (*x.shape[:2], *[1] * (x.rank - 2)), x.layout)
    if dy != expected:
        raise OpError(f"a gradient {expected} expected for {x}, got {dy}")
    return (x,)


def _global_max(operands: tuple[Array, ...], attrs: NoAttrs) -> tuple[Array, ...]:
    del attrs
    dy, x = operands
    planes = x.reshape(*x.shape[:2], -1)
    # a NaN never wins, and what does not exceed the lowest number does not either
    candidates = np.where(planes > LOWEST, planes, -np.inf)
    at = np.argmax(candidates, axis=-1)[..., np.newaxis]
    won = np.take_along_axis(candidates, at, -1) > LOWEST
    dx = np.zeros_like(planes)
    np.put_along_axis(dx, at, np.where(won, dy.reshape(at.shape), dy.dtype.type(0)), -1)
    return (dx.reshape(x.shape),)


MAX_POOL_CHOICE = define(
    OpDef(
        "nn.max_pool_choice",
        "tensor",
        "nn.pool {kind = max}, and which tap of its window each maximum was, counted in row-major order: the "
        "first of equal ones; the number of taps where nothing exceeds -FLT_MAX. u8 for fewer than 256 taps, "
        "else i32.",
        ("x",),
        PoolAttrs,
        infer=_infer_choice,
        reference=_choice,
    )
)
MAX_POOL_GRADIENT = define(
    OpDef(
        "nn.max_pool_gradient",
        "tensor",
        "dx[i] = sum of dy[o] over the windows o whose chosen tap lies on i; choice as nn.max_pool_choice "
        "gives it.",
        ("dy", "choice"),
        PoolGradientAttrs,
        infer=_infer_max,
        reference=_max,
        vjp=NOT_DIFFERENTIABLE,
    )
)
AVE_POOL_GRADIENT = define(
    OpDef(
        "nn.ave_pool_gradient",
        "tensor",
        "dx[i] = sum of dy[o] / (divisor of o) over the windows o that contain i, with the divisors of "
        "nn.pool {kind = ave}.",
        ("dy",),
        PoolGradientAttrs,
        infer=_infer_ave,
        reference=_ave,
        vjp=NOT_DIFFERENTIABLE,
    )
)
GLOBAL_MAX_GRADIENT = define(
    OpDef(
        "nn.global_max_gradient",
        "tensor",
        "dy [N,C,1,...] at the first of the largest elements of each plane of x [N,C,*S], 0 elsewhere.",
        ("dy", "x"),
        NoAttrs,
        infer=_infer_global_max,
        reference=_global_max,
        vjp=NOT_DIFFERENTIABLE,
    )
)
