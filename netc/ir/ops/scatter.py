"""Rows put back where ``tensor.take`` and ``tensor.select`` found them: their gradients. Row-major only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, NoAttrs, OpDef, define
from netc.ir.ops.window import check_one_dtype
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class ScatterAddAttrs:
    """``size``: how many rows the result has."""

    size: Dim


def _check_rows(operands: tuple[TensorType, ...]) -> None:
    rows, numbers = operands
    check_one_dtype(operands)
    for x in operands:
        if x.layout is not None:
            raise OpError(f"a row-major operand expected, got {x}")
    if rows.rank < 1 or numbers.shape != rows.shape[:1]:
        raise OpError(f"one number a row expected, got {numbers} for {rows}")


def _infer_scatter_add(operands: tuple[TensorType, ...], attrs: ScatterAddAttrs) -> tuple[TensorType, ...]:
    _check_rows(operands)
    if isinstance(attrs.size, int) and attrs.size < 1:
        raise OpError(f"size must be >= 1, got {attrs.size}", attr="size")
    return (operands[0].with_shape(attrs.size, *operands[0].shape[1:]),)


def _scatter_add(operands: tuple[Array, ...], attrs: ScatterAddAttrs) -> tuple[Array, ...]:
    rows, indices = operands
    out = np.zeros((evaluate(attrs.size, {}), *rows.shape[1:]), rows.dtype)
    whole = np.trunc(indices)
    inside = (whole >= 0) & (whole < len(out))
    np.add.at(out, whole[inside].astype(np.int64), rows[inside])
    return (out,)


def _infer_unselect(operands: tuple[TensorType, ...], attrs: NoAttrs) -> tuple[TensorType, ...]:
    del attrs
    _check_rows(operands)
    return operands[:1]


def _unselect(operands: tuple[Array, ...], attrs: NoAttrs) -> tuple[Array, ...]:
    del attrs
    rows, selector = operands
    chosen = np.abs(selector) > 0
    out = np.zeros_like(rows)
    out[chosen] = rows[: np.count_nonzero(chosen)]
    return (out,)


SCATTER_ADD = define(
    OpDef(
        "tensor.scatter_add",
        "tensor",
        "y[k,...] = sum of x[m,...] over all m with i[m] = k, rounded towards zero: what the rows of "
        "tensor.take's table get from those it took. x [M,*S], i [M], y [size,*S].",
        ("x", "i"),
        ScatterAddAttrs,
        infer=_infer_scatter_add,
        reference=_scatter_add,
        vjp=NOT_DIFFERENTIABLE,
    )
)
UNSELECT = define(
    OpDef(
        "tensor.unselect",
        "tensor",
        "The first rows of x at the rows n with |s[n]| > 0, in their order, and zeros elsewhere: what "
        "tensor.select moved to the front, moved back. x [N,*S], s [N].",
        ("x", "s"),
        NoAttrs,
        infer=_infer_unselect,
        reference=_unselect,
        vjp=NOT_DIFFERENTIABLE,
    )
)
