"""Ops whose data decides which elements they take: rows by index, the largest, those selected.

Indices are floats, as all of Caffe's blobs are, and are rounded towards zero. Row-major only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, NoAttrs, OpDef, define
from netc.ir.ops.window import check_one_dtype
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class OneHotAttrs:
    """``size`` of the new last axis."""

    size: int


@dataclass(frozen=True, slots=True)
class TopKAttrs:
    """The ``k`` largest along ``axis`` >= 0: their ``values``, or their ``indices`` on the axis."""

    axis: int
    k: int
    what: Literal["values", "indices"]


def _check_row_major(operands: tuple[TensorType, ...]) -> None:
    for x in operands:
        if x.layout is not None:
            raise OpError(f"a row-major operand expected, got {x}")


def _infer_take(operands: tuple[TensorType, ...], attrs: NoAttrs) -> tuple[TensorType, ...]:
    del attrs
    x, indices = operands
    check_one_dtype(operands)
    _check_row_major(operands)
    if x.rank < 1:
        raise OpError(f"a table with rows expected, got {x}")
    if indices.rank != 1:
        raise OpError(f"indices of shape [M] expected, got {indices}")
    return (x.with_shape(indices.shape[0], *x.shape[1:]),)


def _take(operands: tuple[Array, ...], attrs: NoAttrs) -> tuple[Array, ...]:
    del attrs
    x, indices = operands
    rows, inside = _whole(indices, x.shape[0])
    taken = x[rows]
    taken[~inside] = 0
    return (taken,)


def _whole(indices: Array, size: int) -> tuple[Array, Array]:
    """Indices as integers (0 where outside of [0, size)), and which lie inside."""
    whole = np.trunc(indices)
    inside = np.asarray((whole >= 0) & (whole < size))
    return np.where(inside, whole, 0).astype(np.int64), inside


def _infer_one_hot(operands: tuple[TensorType, ...], attrs: OneHotAttrs) -> tuple[TensorType, ...]:
    (indices,) = operands
    _check_row_major(operands)
    if attrs.size < 1:
        raise OpError(f"size must be >= 1, got {attrs.size}", attr="size")
    return (indices.with_shape(*indices.shape, attrs.size),)


def _one_hot(operands: tuple[Array, ...], attrs: OneHotAttrs) -> tuple[Array, ...]:
    (indices,) = operands
    whole = np.trunc(indices)[..., np.newaxis]
    return (np.asarray(whole == np.arange(attrs.size), indices.dtype),)


def _infer_top_k(operands: tuple[TensorType, ...], attrs: TopKAttrs) -> tuple[TensorType, ...]:
    (x,) = operands
    _check_row_major(operands)
    if attrs.what not in ("values", "indices"):
        raise OpError(f"what must be values or indices, got {attrs.what}", attr="what")
    if not 0 <= attrs.axis < x.rank:
        raise OpError(f"axis must be within 0..{x.rank - 1} for {x}, got {attrs.axis}", attr="axis")
    extent = x.shape[attrs.axis]
    if attrs.k < 1 or (isinstance(extent, int) and attrs.k > extent):
        raise OpError(
            f"k must be within 1..{extent}, the extent of axis {attrs.axis}, got {attrs.k}", attr="k"
        )
    return (x.with_shape(*x.shape[: attrs.axis], attrs.k, *x.shape[attrs.axis + 1 :]),)


def _top_k(operands: tuple[Array, ...], attrs: TopKAttrs) -> tuple[Array, ...]:
    rows = np.moveaxis(operands[0], attrs.axis, -1)
    # ascending and stable, read backwards: of equal values the last comes first
    order = np.argsort(rows, axis=-1, kind="stable")[..., ::-1][..., : attrs.k]
    found = np.take_along_axis(rows, order, -1) if attrs.what == "values" else order.astype(rows.dtype)
    return (np.ascontiguousarray(np.moveaxis(found, -1, attrs.axis)),)


def _infer_select(operands: tuple[TensorType, ...], attrs: NoAttrs) -> tuple[TensorType, ...]:
    del attrs
    x, selector = operands
    check_one_dtype(operands)
    _check_row_major(operands)
    if x.rank < 1 or selector.shape != x.shape[:1]:
        raise OpError(f"a selector of one number a row expected, got {selector} for {x}")
    return (x,)


def _select(operands: tuple[Array, ...], attrs: NoAttrs) -> tuple[Array, ...]:
    del attrs
    x, selector = operands
    chosen = x[np.abs(selector) > 0]
    packed = np.zeros_like(x)
    packed[: len(chosen)] = chosen
    return (packed,)


TAKE = define(
    OpDef(
        "tensor.take",
        "tensor",
        "Rows of x by index: y[m,...] = x[i[m],...]; a row of zeros where i[m] is no row. x [K,*S], i [M].",
        ("x", "i"),
        NoAttrs,
        infer=_infer_take,
        reference=_take,
    )
)
ONE_HOT = define(
    OpDef(
        "tensor.one_hot",
        "tensor",
        "y[...,k] = 1 where i[...] = k, else 0; all 0 where i lies outside of [0, size).",
        ("i",),
        OneHotAttrs,
        infer=_infer_one_hot,
        reference=_one_hot,
        vjp=NOT_DIFFERENTIABLE,
    )
)
TOP_K = define(
    OpDef(
        "tensor.top_k",
        "tensor",
        "The k largest along an axis in descending order, or where they are. As in Caffe the later of two "
        "equal values comes first.",
        ("x",),
        TopKAttrs,
        infer=_infer_top_k,
        reference=_top_k,
        vjp=NOT_DIFFERENTIABLE,
    )
)
SELECT = define(
    OpDef(
        "tensor.select",
        "tensor",
        "The rows x[n] with |s[n]| > 0, in their order, then rows of zeros up to N. x [N,*S], s [N].",
        ("x", "s"),
        NoAttrs,
        infer=_infer_select,
        reference=_select,
    )
)
