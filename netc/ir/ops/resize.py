"""Resizing of planes, and unpooling: values put back where a pooling found its maxima."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate
from netc.ir.opdef import Array, OpDef, define
from netc.ir.types import TensorType

ResizeKind = Literal["bilinear", "nearest"]
# where element i of the result lies on the axis of the input, for in and out elements:
# corners: i (in - 1) / (out - 1); half_pixel: (i + 1/2) in / out - 1/2; origin: i in / out
Coordinates = Literal["corners", "half_pixel", "origin"]


@dataclass(frozen=True, slots=True)
class ResizeAttrs:
    """``size`` is the (height, width) of the result; ``coordinates`` says which points meet, see the op."""

    size: tuple[Dim, Dim]
    kind: ResizeKind
    coordinates: Coordinates


@dataclass(frozen=True, slots=True)
class MaxUnpoolAttrs:
    """``size`` is the (height, width) of the result."""

    size: tuple[Dim, Dim]


def resized_planes(x: TensorType, size: tuple[Dim, Dim]) -> TensorType:
    """The type of x [N,C,H,W] at another height and width; OpError if it has none."""
    if x.rank != 4:
        raise OpError(f"an input of [N,C,H,W] expected, got {x}")
    if x.layout is not None:
        raise OpError(f"a row-major input expected, got {x}")
    for extent in size:
        if isinstance(extent, int) and extent < 1:
            raise OpError(f"size must be >= 1, got {extent}", attr="size")
    return x.with_shape(*x.shape[:2], *size)


def check_resize(kind: str, coordinates: str) -> None:
    """OpError unless the attributes name a way to resize."""
    if kind not in ("bilinear", "nearest"):
        raise OpError(f"kind must be bilinear or nearest, got {kind}", attr="kind")
    if coordinates not in ("corners", "half_pixel", "origin"):
        message = f"coordinates must be corners, half_pixel or origin, got {coordinates}"
        raise OpError(message, attr="coordinates")


def _infer_resize(operands: tuple[TensorType, ...], attrs: ResizeAttrs) -> tuple[TensorType, ...]:
    check_resize(attrs.kind, attrs.coordinates)
    return (resized_planes(operands[0], attrs.size),)


def _infer_max_unpool(operands: tuple[TensorType, ...], attrs: MaxUnpoolAttrs) -> tuple[TensorType, ...]:
    x, mask = operands
    if mask != x:
        raise OpError(f"a mask of the input's type expected, got {mask} for {x}")
    return (resized_planes(x, attrs.size),)


def _points(size: int, out: int, coordinates: Coordinates) -> Array:
    """Where the elements of the result lie on the input's axis, float32 as in the originals."""
    index = np.arange(out).astype(np.float32)
    if coordinates == "corners":
        return index * np.float32((size - 1) / (out - 1) if out > 1 else 0.0)
    rate = np.float32(size / out)
    return (index + np.float32(0.5)) * rate - np.float32(0.5) if coordinates == "half_pixel" else index * rate


def neighbours(size: int, out: int, coordinates: Coordinates) -> tuple[Array, Array, Array]:
    """For each element of the result: the two elements it lies between, and the second one's share."""
    points = np.maximum(_points(size, out, coordinates), 0)
    low = np.minimum(np.floor(points).astype(int), size - 1)
    return low, np.minimum(low + 1, size - 1), points - low


def nearest(size: int, out: int, coordinates: Coordinates) -> Array:
    """For each element of the result the element it copies."""
    index = np.arange(out).astype(np.float32)
    if coordinates == "corners":
        picked = np.floor(_points(size, out, coordinates) + np.float32(0.5))
    else:
        middle = np.float32(0.5 if coordinates == "half_pixel" else 0)
        picked = np.floor((index + middle) * np.float32(size / out))
    return picked.astype(int).clip(0, size - 1)


def _resize(operands: tuple[Array, ...], attrs: ResizeAttrs) -> tuple[Array, ...]:
    (x,) = operands
    for axis, dim in zip((2, 3), attrs.size, strict=True):
        size, out = x.shape[axis], evaluate(dim, {})
        if attrs.kind == "nearest":
            x = np.take(x, nearest(size, out, attrs.coordinates), axis)
        else:
            low, high, share = neighbours(size, out, attrs.coordinates)
            weight = share.astype(x.dtype).reshape((-1, 1) if axis == 2 else (-1,))
            x = np.take(x, low, axis) * (1 - weight) + np.take(x, high, axis) * weight
    return (np.ascontiguousarray(x),)


def plane_indices(mask: Array, height: int, width: int) -> Array:
    """The elements of their planes that a mask names: [N,C,elements of the mask]."""
    index = mask.astype(np.int64).reshape(*mask.shape[:2], -1)
    if index.min() < 0 or index.max() >= height * width:
        raise ValueError(f"the mask points at element {index.max()} of a plane of {height}x{width}")
    return index


def _max_unpool(operands: tuple[Array, ...], attrs: MaxUnpoolAttrs) -> tuple[Array, ...]:
    x, mask = operands
    height, width = (evaluate(d, {}) for d in attrs.size)
    index = plane_indices(mask, height, width)
    out = np.zeros((*x.shape[:2], height * width), x.dtype)
    np.put_along_axis(out, index, x.reshape(index.shape), axis=2)
    return (out.reshape(*x.shape[:2], height, width),)


RESIZE = define(
    OpDef(
        "nn.resize",
        "tensor",
        "x [N,C,H,W] at another height and width. Element i of an axis of out elements, made from in, "
        "lies at point p: i (in-1)/(out-1) for corners, (i+1/2) in/out - 1/2 for half_pixel, i in/out for "
        "origin. bilinear: linear between the elements around p on each axis, constant beyond the edges. "
        "nearest: the element at floor(p + 1/2) for corners and half_pixel, at floor(p) for origin. "
        "corners is DeepLab's Interp.",
        ("x",),
        ResizeAttrs,
        infer=_infer_resize,
        reference=_resize,
    )
)
MAX_UNPOOL = define(
    OpDef(
        "nn.max_unpool",
        "tensor",
        "y [N,C,*size] that holds x[n,c,i] at element mask[n,c,i] of its plane, and 0 elsewhere: the mask "
        "is that of a maximum pooling. Where a mask names an element twice the last one counts. "
        "Badrinarayanan et al., SegNet, 2015, section 3.",
        ("x", "mask"),
        MaxUnpoolAttrs,
        infer=_infer_max_unpool,
        reference=_max_unpool,
    )
)
