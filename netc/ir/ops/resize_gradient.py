"""The gradients of resizing and of unpooling: what each element of the input gave, summed. Row-major only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, NoAttrs, OpDef, define
from netc.ir.ops.resize import (
    Coordinates,
    ResizeKind,
    check_resize,
    nearest,
    neighbours,
    plane_indices,
    resized_planes,
)
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class ResizeGradientAttrs:
    """``size`` is the (height, width) of the input, and so of the result; the rest is the resizing's."""

    size: tuple[Dim, Dim]
    kind: ResizeKind
    coordinates: Coordinates


def _infer_resize(operands: tuple[TensorType, ...], attrs: ResizeGradientAttrs) -> tuple[TensorType, ...]:
    check_resize(attrs.kind, attrs.coordinates)
    return (resized_planes(operands[0], attrs.size),)


def _resize_matrix(size: int, out: int, attrs: ResizeGradientAttrs) -> Array:
    """(out, size): what each element of an axis of the input counts in each of the result, float64."""
    matrix = np.zeros((out, size))
    rows = np.arange(out)
    if attrs.kind == "nearest":
        matrix[rows, nearest(size, out, attrs.coordinates)] = 1
        return matrix
    low, high, share = neighbours(size, out, attrs.coordinates)
    matrix[rows, low] += 1 - share
    matrix[rows, high] += share
    return matrix


def _resize(operands: tuple[Array, ...], attrs: ResizeGradientAttrs) -> tuple[Array, ...]:
    (dy,) = operands
    height, width = (
        _resize_matrix(evaluate(size, {}), out, attrs).astype(dy.dtype)
        for size, out in zip(attrs.size, dy.shape[2:], strict=True)
    )
    return (np.matmul(height.T, np.matmul(dy, width)),)


def _infer_max_unpool(operands: tuple[TensorType, ...], attrs: NoAttrs) -> tuple[TensorType, ...]:
    del attrs
    dy, mask = operands
    if dy.rank != 4 or dy.layout is not None or dy.dtype != mask.dtype:
        raise OpError(f"a row-major gradient of [N,C,H,W] expected, got {dy}")
    if mask.rank != 4 or mask.layout is not None or mask.shape[:2] != dy.shape[:2]:
        raise OpError(f"a row-major mask of as many planes expected, got {mask} for {dy}")
    return (mask,)


def _max_unpool(operands: tuple[Array, ...], attrs: NoAttrs) -> tuple[Array, ...]:
    del attrs
    dy, mask = operands
    index = plane_indices(mask, *dy.shape[2:])
    return (np.take_along_axis(dy.reshape(*dy.shape[:2], -1), index, axis=2).reshape(mask.shape),)


RESIZE_GRADIENT = define(
    OpDef(
        "nn.resize_gradient",
        "tensor",
        "dx[i] = sum over j of dy[j] times what x[i] counts in element j of nn.resize's result.",
        ("dy",),
        ResizeGradientAttrs,
        infer=_infer_resize,
        reference=_resize,
        vjp=NOT_DIFFERENTIABLE,
    )
)
MAX_UNPOOL_GRADIENT = define(
    OpDef(
        "nn.max_unpool_gradient",
        "tensor",
        "dx[n,c,i] = dy[n,c,mask[n,c,i]]: what nn.max_unpool put at an element of the plane, fetched from "
        "there. As in SegNet's code also where a mask names an element twice.",
        ("dy", "mask"),
        NoAttrs,
        infer=_infer_max_unpool,
        reference=_max_unpool,
        vjp=NOT_DIFFERENTIABLE,
    )
)
