"""Reductions along axes, one by one or as mean and variance at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import Array, OpDef, define
from netc.ir.types import TensorType

ReduceKind = Literal["sum", "mean", "max"]


@dataclass(frozen=True, slots=True)
class ReduceAttrs:
    """``kind`` of reduction along ``axes`` (>= 0, ascending)."""

    kind: ReduceKind
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MomentsAttrs:
    """The ``axes`` (>= 0, ascending) that mean and variance are taken along."""

    axes: tuple[int, ...]


def _reduced(x: TensorType, axes: tuple[int, ...]) -> TensorType:
    """The type with extent 1 along the axes."""
    if not axes or list(axes) != sorted(set(axes)):
        raise OpError(f"axes must be one or more, ascending, got {list(axes)}", attr="axes")
    if axes[0] < 0 or axes[-1] >= x.rank:
        raise OpError(f"axes must be within 0..{x.rank - 1} for {x}, got {list(axes)}", attr="axes")
    if x.layout is not None and x.layout.axis in axes:
        raise OpError(f"the blocked axis of {x} cannot be reduced", attr="axes")
    return TensorType(x.dtype, tuple(1 if a in axes else d for a, d in enumerate(x.shape)), x.layout)


def _infer(operands: tuple[TensorType, ...], attrs: ReduceAttrs) -> tuple[TensorType, ...]:
    if attrs.kind not in ("sum", "mean", "max"):
        raise OpError(f"kind must be sum, mean or max, got {attrs.kind}", attr="kind")
    return (_reduced(operands[0], attrs.axes),)


def _reference(operands: tuple[Array, ...], attrs: ReduceAttrs) -> tuple[Array, ...]:
    x = operands[0]
    if attrs.kind == "max":
        return (np.max(x, axis=attrs.axes, keepdims=True),)
    total = np.sum(x, axis=attrs.axes, keepdims=True)
    if attrs.kind == "sum":
        return (total,)
    return (total / x.dtype.type(math.prod(x.shape[a] for a in attrs.axes)),)


def _infer_moments(operands: tuple[TensorType, ...], attrs: MomentsAttrs) -> tuple[TensorType, ...]:
    return (_reduced(operands[0], attrs.axes),) * 2


def _moments(operands: tuple[Array, ...], attrs: MomentsAttrs) -> tuple[Array, ...]:
    (x,) = operands
    count = x.dtype.type(math.prod(x.shape[a] for a in attrs.axes))
    mean = np.sum(x, axis=attrs.axes, keepdims=True) / count
    return mean, np.sum(np.square(x - mean), axis=attrs.axes, keepdims=True) / count


REDUCE = define(
    OpDef(
        "tensor.reduce",
        "tensor",
        "The sum, mean or maximum along axes, which stay with extent 1. Keeps x's layout, whose blocked axis "
        "cannot be reduced.",
        ("x",),
        ReduceAttrs,
        infer=_infer,
        reference=_reference,
    )
)
MOMENTS = define(
    OpDef(
        "nn.moments",
        "tensor",
        "The mean along axes, which stay with extent 1, and the variance: the mean of (x - mean)^2. "
        "Keeps x's layout, whose blocked axis cannot be reduced.",
        ("x",),
        MomentsAttrs,
        infer=_infer_moments,
        reference=_moments,
    )
)
