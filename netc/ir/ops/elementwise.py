"""Elementwise maps: unary functions and broadcasting binary ones.

Operands have one dtype and one rank; extents are equal or 1 (as NumPy broadcasts). On a blocked layout
an operand lies in the result's layout, or is row-major with extent 1 on the blocked axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, NoAttrs, NotDifferentiable, OpDef, define
from netc.ir.types import TensorType


def broadcast_types(operands: tuple[TensorType, ...]) -> TensorType:
    """The type of an elementwise result; OpError where dtype, rank, extents or layouts do not fit."""
    first = operands[0]
    shape: list[Dim] = list(first.shape)
    for other in operands[1:]:
        if other.dtype != first.dtype:
            raise OpError(f"operands of one dtype expected, got {first.dtype} and {other.dtype}")
        if other.rank != first.rank:
            raise OpError(f"operands of one rank expected, got {first} and {other}")
        for axis, extent in enumerate(other.shape):
            if shape[axis] == 1:
                shape[axis] = extent
            elif extent not in (1, shape[axis]):
                raise OpError(f"axis {axis} has {shape[axis]} elements in {first} and {extent} in {other}")
    layout = next((t.layout for t in operands if t.layout is not None), None)
    for type_ in operands:
        if type_.layout != layout and (
            layout is None or type_.layout is not None or type_.shape[layout.axis] != 1
        ):
            raise OpError(f"operands of one layout expected, got {', '.join(map(str, operands))}")
    return TensorType(first.dtype, tuple(shape), layout)


def _infer(operands: tuple[TensorType, ...], attrs: Any) -> tuple[TensorType, ...]:
    del attrs
    return (broadcast_types(operands),)


def _unary(
    name: str,
    doc: str,
    attrs: type[Any],
    function: Callable[[Array, Any], Array],
    vjp: NotDifferentiable | None = None,
) -> OpDef[Any]:
    return define(
        OpDef(
            name,
            "tensor",
            doc,
            ("x",),
            attrs,
            infer=_infer,
            reference=lambda operands, a: (function(operands[0], a),),
            vjp=vjp,
            in_place=(0,),
            elementwise=True,
        )
    )


def _binary(name: str, doc: str, function: Callable[[Array, Array], Array]) -> OpDef[Any]:
    return define(
        OpDef(
            name,
            "tensor",
            doc,
            ("x", "y"),
            NoAttrs,
            infer=_infer,
            reference=lambda operands, _: (function(operands[0], operands[1]),),
            in_place=(0, 1),
            elementwise=True,
        )
    )


@dataclass(frozen=True, slots=True)
class ReluAttrs:
    """``slope`` multiplies negative inputs."""

    slope: float = 0.0


@dataclass(frozen=True, slots=True)
class EluAttrs:
    """``alpha`` scales the negative branch."""

    alpha: float = 1.0


@dataclass(frozen=True, slots=True)
class PowAttrs:
    """``exponent`` of the power."""

    exponent: float


@dataclass(frozen=True, slots=True)
class SqrtAttrs:
    """The gradient is ``1 / (2 (sqrt(x) + gradient_shift))``: with a shift, finite at 0."""

    gradient_shift: float = 0.0


@dataclass(frozen=True, slots=True)
class AffineAttrs:
    """``scale * x + shift``."""

    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class ClipAttrs:
    """The smallest and the largest value left.

    The gradient is 0 where something was cut; with ``straight`` it passes there as everywhere.
    """

    low: float
    high: float
    straight: bool = False


@dataclass(frozen=True, slots=True)
class ThresholdAttrs:
    """``threshold`` above which the result is 1."""

    threshold: float


@dataclass(frozen=True, slots=True)
class BroadcastAttrs:
    """``shape`` of the result."""

    shape: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class DiffersAttrs:
    """``value`` (a whole number) that makes the result 0."""

    value: int


def _infer_broadcast(operands: tuple[TensorType, ...], attrs: BroadcastAttrs) -> tuple[TensorType, ...]:
    (x,) = operands
    if len(attrs.shape) != x.rank:
        raise OpError(f"shape needs {x.rank} entries for {x}, got {len(attrs.shape)}", attr="shape")
    for axis, (extent, wanted) in enumerate(zip(x.shape, attrs.shape, strict=True)):
        if extent not in (1, wanted):
            raise OpError(f"axis {axis} of {x} cannot be spread to {wanted}", attr="shape")
    if x.layout is not None and x.shape[x.layout.axis] != attrs.shape[x.layout.axis]:
        raise OpError(f"the blocked axis of {x} cannot be spread", attr="shape")
    return (TensorType(x.dtype, attrs.shape, x.layout),)


def _broadcast(operands: tuple[Array, ...], attrs: BroadcastAttrs) -> tuple[Array, ...]:
    return (np.broadcast_to(operands[0], [evaluate(d, {}) for d in attrs.shape]).copy(),)


def _scalar(value: float, like: Array) -> Any:
    return like.dtype.type(value)


def _sigmoid(x: Array, _: NoAttrs) -> Array:
    # Caffe: 0.5 * tanh(0.5 * x) + 0.5, which cannot overflow
    half = _scalar(0.5, x)
    return np.asarray(half * np.tanh(half * x) + half)


def _relu(x: Array, attrs: ReluAttrs) -> Array:
    if attrs.slope == 0:  # a product would make NaN of an infinite x
        return np.asarray(np.maximum(x, 0))
    return np.asarray(np.where(x > 0, x, _scalar(attrs.slope, x) * x))


def _prelu(x: Array, y: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(x > 0, x, y * x))


def _elu(x: Array, attrs: EluAttrs) -> Array:
    negative = _scalar(attrs.alpha, x) * (np.exp(np.minimum(x, 0)) - 1)
    return np.asarray(np.where(x > 0, x, negative))


def _power(x: Array, attrs: PowAttrs) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.power(x, _scalar(attrs.exponent, x)))


def _log(x: Array, _: NoAttrs) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.log(x))


def _bnll(x: Array, _: NoAttrs) -> Array:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def _differs(x: Array, attrs: DiffersAttrs) -> Array:
    return np.asarray(np.trunc(x) != attrs.value, x.dtype)


def _sign(x: Array, _: NoAttrs) -> Array:
    # not np.sign, which keeps a NaN
    return np.asarray((x > 0).astype(x.dtype) - (x < 0).astype(x.dtype))


def _reciprocal_or_zero(x: Array, _: NoAttrs) -> Array:
    safe = np.where(x == 0, 1, x)
    return np.asarray(np.where(x == 0, _scalar(0, x), _scalar(1, x) / safe), x.dtype)


RELU = _unary("math.relu", "x where x > 0, else slope * x; 0 for a slope of 0.", ReluAttrs, _relu)
ELU = _unary("math.elu", "x where x > 0, else alpha * (exp(x) - 1).", EluAttrs, _elu)
SIGMOID = _unary("math.sigmoid", "1 / (1 + exp(-x)).", NoAttrs, _sigmoid)
TANH = _unary("math.tanh", "tanh(x).", NoAttrs, lambda x, _: np.tanh(x))
SIGN = _unary("math.sign", "1 where x > 0, -1 where x < 0, else 0.", NoAttrs, _sign, NOT_DIFFERENTIABLE)
ABS = _unary("math.abs", "|x|.", NoAttrs, lambda x, _: np.abs(x))
EXP = _unary("math.exp", "e^x.", NoAttrs, lambda x, _: np.exp(x))
LOG = _unary("math.log", "ln(x).", NoAttrs, _log)
SQRT = _unary(
    "math.sqrt",
    "The square root. Its gradient can be told to stay finite at 0, as those of the original's layers do.",
    SqrtAttrs,
    lambda x, _: np.sqrt(x),
)
POW = _unary(
    "math.pow", "x^exponent; NaN for a negative x and a fractional exponent, as C's pow.", PowAttrs, _power
)
AFFINE = _unary(
    "math.affine",
    "scale * x + shift.",
    AffineAttrs,
    lambda x, a: _scalar(a.scale, x) * x + _scalar(a.shift, x),
)
BNLL = _unary(
    "math.bnll", "ln(1 + e^x), as max(x, 0) + ln(1 + e^-|x|), which cannot overflow.", NoAttrs, _bnll
)
CLIP = _unary(
    "math.clip",
    "min(max(x, low), high).",
    ClipAttrs,
    lambda x, a: np.minimum(np.maximum(x, _scalar(a.low, x)), _scalar(a.high, x)),
)
THRESHOLD = _unary(
    "math.threshold",
    "1 where x > threshold, else 0.",
    ThresholdAttrs,
    lambda x, a: np.asarray(x > _scalar(a.threshold, x), x.dtype),
    NOT_DIFFERENTIABLE,
)
DIFFERS = _unary(
    "math.differs",
    "1 where x, rounded towards zero, is not the value, else 0: which labels are not to be ignored.",
    DiffersAttrs,
    _differs,
    NOT_DIFFERENTIABLE,
)
RECIPROCAL_OR_ZERO = _unary(
    "math.reciprocal_or_zero",
    "1 / x, and 0 for 0: how Caffe's BatchNorm reads its scale factor.",
    NoAttrs,
    _reciprocal_or_zero,
)
ADD = _binary("math.add", "x + y.", np.add)
SUB = _binary("math.sub", "x - y.", np.subtract)
MUL = _binary("math.mul", "x * y.", np.multiply)
DIV = _binary("math.div", "x / y.", np.divide)
MAX = _binary("math.max", "The larger of x and y.", np.maximum)
PRELU = _binary(
    "math.prelu",
    "x where x > 0, else y * x: a leaky ReLU whose slope y is learned, per channel or shared.",
    _prelu,
)
BROADCAST = define(
    OpDef(
        "math.broadcast",
        "tensor",
        "x with axes of extent 1 repeated to the extents of a shape, as NumPy broadcasts.",
        ("x",),
        BroadcastAttrs,
        infer=_infer_broadcast,
        reference=_broadcast,
        elementwise=True,
    )
)
STOP_GRADIENT = define(
    OpDef(
        "math.stop_gradient",
        "tensor",
        "x, through which no gradient passes (Caffe's propagate_down: false). Differentiation takes it away.",
        ("x",),
        NoAttrs,
        infer=_infer,
        reference=lambda operands, _: (operands[0].copy(),),
        in_place=(0,),
        elementwise=True,
        identity=True,
        vjp=lambda _: (None,),
    )
)
