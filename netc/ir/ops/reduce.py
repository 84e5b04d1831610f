"""Reductions along axes."""

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


def _infer(operands: tuple[TensorType, ...], attrs: ReduceAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    if attrs.kind not in ("sum", "mean", "max"):
        raise OpError(f"kind must be sum, mean or max, got {attrs.kind}", attr="kind")
    if x.layout is not None:
        raise OpError(f"a row-major operand expected, got {x}")
    if not attrs.axes or list(attrs.axes) != sorted(set(attrs.axes)):
        raise OpError(f"axes must be one or more, ascending, got {list(attrs.axes)}", attr="axes")
    if attrs.axes[0] < 0 or attrs.axes[-1] >= x.rank:
        raise OpError(f"axes must be within 0..{x.rank - 1} for {x}, got {list(attrs.axes)}", attr="axes")
    return (x.with_shape(*(1 if a in attrs.axes else d for a, d in enumerate(x.shape))),)


def _reference(operands: tuple[Array, ...], attrs: ReduceAttrs) -> tuple[Array, ...]:
    x = operands[0]
    if attrs.kind == "max":
        return (np.max(x, axis=attrs.axes, keepdims=True),)
    total = np.sum(x, axis=attrs.axes, keepdims=True)
    if attrs.kind == "sum":
        return (total,)
    return (total / x.dtype.type(math.prod(x.shape[a] for a in attrs.axes)),)


REDUCE = define(
    OpDef(
        "tensor.reduce",
        "tensor",
        "The sum, mean or maximum along axes, which stay with extent 1. Row-major only.",
        ("x",),
        ReduceAttrs,
        infer=_infer,
        reference=_reference,
    )
)
