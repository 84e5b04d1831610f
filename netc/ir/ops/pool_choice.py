"""Pooling that tells which element of a window it took, or draws one. Row-major only."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import evaluate
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define, numpy_dtype, opdef
from netc.ir.ops.pool import LOWEST, PoolAttrs, pool_extents
from netc.ir.ops.pool_gradient import choice_dtype
from netc.ir.ops.window import check_one_dtype, taps
from netc.ir.types import TensorType


def _infer_mask(operands: tuple[TensorType, ...], attrs: PoolAttrs) -> tuple[TensorType, ...]:
    return (_pooled(operands[0], attrs),)


def _pooled(x: TensorType, attrs: PoolAttrs) -> TensorType:
    """The type of a maximum pooling's result."""
    if attrs.kind != "max":
        raise OpError(f"kind must be max, got {attrs.kind}", attr="kind")
    if x.layout is not None:
        raise OpError(f"a row-major operand expected, got {x}")
    infer = opdef("nn.pool").infer
    assert infer is not None
    (result,) = infer((x,), attrs)
    assert isinstance(result, TensorType)
    return result


def _geometry(x: Array, attrs: PoolAttrs) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The extents of the result, and the low pads."""
    out = tuple(evaluate(d, {}) for d in pool_extents(x.shape[2:], attrs))
    return out, tuple(lo for lo, _ in attrs.pad)


def _mask(operands: tuple[Array, ...], attrs: PoolAttrs) -> tuple[Array, ...]:
    (x,) = operands
    out, low = _geometry(x, attrs)
    best = np.full((*x.shape[:2], *out), LOWEST, x.dtype)
    where = np.full(best.shape, -1, np.int64)
    for tap, seen in taps(x, attrs.kernel, attrs.stride, (1,) * len(out), low, out, LOWEST):
        flat = np.zeros(out, np.int64)
        for axis, (t, lo, s, size) in enumerate(zip(tap, low, attrs.stride, x.shape[2:], strict=True)):
            at = np.arange(out[axis]) * s - lo + t
            flat = flat * size + at.reshape(-1, *[1] * (len(out) - 1 - axis))
        better = seen > best
        best = np.where(better, seen, best)
        where = np.where(better, flat, where)
    return (where.astype(x.dtype),)


def _infer_stochastic(operands: tuple[TensorType, ...], attrs: PoolAttrs) -> tuple[TensorType, ...]:
    x, u = operands
    check_one_dtype(operands)
    result = _pooled(x, replace(attrs, kind="max"))
    if u != result:
        raise OpError(f"one random number a window expected, {result}, got {u}")
    return (result,)


def _infer_stochastic_choice(operands: tuple[TensorType, ...], attrs: PoolAttrs) -> tuple[TensorType, ...]:
    (y,) = _infer_stochastic(operands, attrs)
    return (y, TensorType(choice_dtype(attrs.kernel), y.shape))


def _stochastic(operands: tuple[Array, ...], attrs: PoolAttrs) -> tuple[Array, ...]:
    """The elements drawn, and the tap each was met at."""
    x, u = operands
    out, low = _geometry(x, attrs)
    windows = list(taps(x, attrs.kernel, attrs.stride, (1,) * len(out), low, out, 0.0))
    total = np.zeros_like(u)
    for _, seen in windows:
        total += seen
    bound, total = u * total, np.zeros_like(u)
    drawn, open_ = np.zeros_like(u), np.ones(u.shape, bool)
    chosen = np.full(u.shape, math.prod(attrs.kernel), numpy_dtype(choice_dtype(attrs.kernel)))
    for tap, seen in windows:
        total += seen
        met = open_ & (total >= bound) & (seen != 0)
        drawn[met] = seen[met]
        chosen[met] = np.ravel_multi_index(tap, attrs.kernel)
        open_ &= ~met
    return drawn, chosen


POOL_MASK = define(
    OpDef(
        "nn.pool_mask",
        "tensor",
        "Where nn.pool {kind = max} found each maximum: the index of the element in its plane, counted in "
        "row-major order, as a float. The first of equal elements; -1 where nothing exceeds -FLT_MAX.",
        ("x",),
        PoolAttrs,
        infer=_infer_mask,
        reference=_mask,
        vjp=NOT_DIFFERENTIABLE,
    )
)
STOCHASTIC_POOL = define(
    OpDef(
        "nn.stochastic_pool",
        "tensor",
        "The first element of each window of x >= 0 at which the running sum reaches u * (its whole sum): "
        "element i is drawn with probability x_i / sum. 0 where all are 0. u in [0, 1), one a window.",
        ("x", "u"),
        PoolAttrs,
        infer=_infer_stochastic,
        reference=lambda operands, attrs: _stochastic(operands, attrs)[:1],
    )
)
STOCHASTIC_POOL_CHOICE = define(
    OpDef(
        "nn.stochastic_pool_choice",
        "tensor",
        "nn.stochastic_pool, and which tap of each window was drawn: its number in the kernel, as in "
        "nn.max_pool_choice.",
        ("x", "u"),
        PoolAttrs,
        infer=_infer_stochastic_choice,
        reference=_stochastic,
    )
)
