"""Padding: elements added around a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.types import TensorType

PadKind = Literal["constant", "edge", "reflect", "symmetric"]


@dataclass(frozen=True, slots=True)
class PadAttrs:
    """``low`` and ``high``: how many elements to add before and behind, one entry an axis."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    kind: PadKind = "constant"
    value: float = 0.0


def _infer(operands: tuple[TensorType, ...], attrs: PadAttrs) -> tuple[TensorType, ...]:
    (x,) = operands
    if x.layout is not None:
        raise OpError(f"a row-major operand expected, got {x}")
    if attrs.kind not in ("constant", "edge", "reflect", "symmetric"):
        message = f"kind must be constant, edge, reflect or symmetric, got {attrs.kind}"
        raise OpError(message, attr="kind")
    for name in ("low", "high"):
        given = getattr(attrs, name)
        if len(given) != x.rank:
            raise OpError(f"{name} needs {x.rank} entries for {x}, got {len(given)}", attr=name)
        for extent, size in zip(given, x.shape, strict=True):
            if extent < 0:
                raise OpError(f"{name} must be >= 0, got {extent}", attr=name)
            most = {"reflect": 1, "symmetric": 0}.get(attrs.kind)
            if most is not None and isinstance(size, int) and extent > size - most:
                message = f"a reflection of {extent} elements needs {extent + most}, got {size}"
                raise OpError(message, attr=name)
    pads = zip(x.shape, attrs.low, attrs.high, strict=True)
    return (x.with_shape(*(size + (low + high) for size, low, high in pads)),)


def _reference(operands: tuple[Array, ...], attrs: PadAttrs) -> tuple[Array, ...]:
    (x,) = operands
    pads = list(zip(attrs.low, attrs.high, strict=True))
    if attrs.kind == "constant":
        return (np.pad(x, pads, constant_values=x.dtype.type(attrs.value)),)
    return (np.pad(x, pads, mode=attrs.kind),)


def _infer_gradient(operands: tuple[TensorType, ...], attrs: PadAttrs) -> tuple[TensorType, ...]:
    (dy,) = operands
    for name in ("low", "high"):
        if len(getattr(attrs, name)) != dy.rank:
            given = len(getattr(attrs, name))
            raise OpError(f"{name} needs {dy.rank} entries for {dy}, got {given}", attr=name)
    pads = zip(dy.shape, attrs.low, attrs.high, strict=True)
    x = dy.with_shape(*(size - (low + high) for size, low, high in pads))
    for axis, size in enumerate(x.shape):
        if isinstance(size, int) and size < 1:
            raise OpError(f"axis {axis} of {dy} has nothing but padding", attr="low")
    _infer((x,), attrs)
    return (x,)


def _gradient(operands: tuple[Array, ...], attrs: PadAttrs) -> tuple[Array, ...]:
    (dx,) = operands
    for axis, (low, high) in enumerate(zip(attrs.low, attrs.high, strict=True)):
        if low + high == 0:
            continue
        size = dx.shape[axis] - low - high
        if attrs.kind == "constant":
            dx = np.take(dx, range(low, low + size), axis)
            continue
        source = np.pad(np.arange(size), (low, high), mode=attrs.kind)
        rows = np.zeros((size, *np.delete(dx.shape, axis)), dx.dtype)
        np.add.at(rows, source, np.moveaxis(dx, axis, 0))
        dx = np.moveaxis(rows, 0, axis)
    return (np.ascontiguousarray(dx),)


PAD = define(
    OpDef(
        "tensor.pad",
        "tensor",
        "x with elements around it: a constant, the nearest element (edge), or x mirrored about its "
        "outermost elements (reflect) or about its edge (symmetric). Row-major only.",
        ("x",),
        PadAttrs,
        infer=_infer,
        reference=_reference,
    )
)
PAD_GRADIENT = define(
    OpDef(
        "tensor.pad_gradient",
        "tensor",
        "dx[i] = sum of dy[j] over all j that tensor.pad with these attributes fills with x[i]: its "
        "gradient. Row-major only.",
        ("dy",),
        PadAttrs,
        infer=_infer_gradient,
        reference=_gradient,
        vjp=NOT_DIFFERENTIABLE,
    )
)
