"""Elementwise tensor ops on registers: one function an op, in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from netc.backends.llvm.lower import math
from netc.ir.core import Value
from netc.ir.loop_builder import LoopBuilder
from netc.ir.ops.int8 import LARGEST_INPUT

Emitter = Callable[[LoopBuilder, Any, Sequence[Value]], Value]


def _relu(b: LoopBuilder, attrs: Any, xs: Sequence[Value]) -> Value:
    (x,) = xs
    zero = b.like(0, x)
    # max(0, x) keeps a NaN, as Caffe's std::max(x, 0) does
    positive = b.maximum(zero, x)
    if attrs.slope == 0:
        return positive
    return b.fma(b.binary("min", x, zero), b.like(attrs.slope, x), positive)


def _prelu(b: LoopBuilder, _: Any, xs: Sequence[Value]) -> Value:
    x, slope = xs
    zero = b.like(0, x)
    # a sum of both parts would make NaN of an infinite slope and a positive x
    return b.select(b.compare("gt", x, zero), x, b.mul(x, slope))


def _affine(b: LoopBuilder, attrs: Any, xs: Sequence[Value]) -> Value:
    (x,) = xs
    if attrs.scale == 1:
        return b.add(x, b.like(attrs.shift, x))
    if attrs.shift == 0:
        return b.mul(x, b.like(attrs.scale, x))
    return b.fma(x, b.like(attrs.scale, x), b.like(attrs.shift, x))


def _clip(b: LoopBuilder, attrs: Any, xs: Sequence[Value]) -> Value:
    (x,) = xs
    # both operations give their second operand for a NaN
    return b.binary("min", b.like(attrs.high, x), b.maximum(b.like(attrs.low, x), x))


def _threshold(b: LoopBuilder, attrs: Any, xs: Sequence[Value]) -> Value:
    (x,) = xs
    return b.select(b.compare("gt", x, b.like(attrs.threshold, x)), b.like(1, x), b.like(0, x))


def _sign(b: LoopBuilder, _: Any, xs: Sequence[Value]) -> Value:
    (x,) = xs
    zero = b.like(0, x)
    negative = b.select(b.compare("lt", x, zero), b.like(-1, x), zero)
    return b.select(b.compare("gt", x, zero), b.like(1, x), negative)


def _differs(b: LoopBuilder, attrs: Any, xs: Sequence[Value]) -> Value:
    """trunc(x) = v means v <= x < v + 1 above 0, v - 1 < x <= v below 0, and -1 < x < 1 for 0."""
    (x,) = xs
    value = attrs.value
    one, zero = b.like(1, x), b.like(0, x)
    # a comparison with a NaN is false, and NaN differs from every value
    above = b.compare("gt" if value <= 0 else "ge", x, b.like(value - 1 if value <= 0 else value, x))
    below = b.compare("lt" if value >= 0 else "le", x, b.like(value + 1 if value >= 0 else value, x))
    return b.select(above, b.select(below, zero, one), one)


def _to_u8(b: LoopBuilder, attrs: Any, xs: Sequence[Value]) -> Value:
    (x,) = xs
    scaled = b.mul(x, b.like(float(attrs.inverse), x))
    # both operations give their second operand for a NaN
    cut = b.binary("min", b.maximum(scaled, b.like(-attrs.zero, x)), b.like(LARGEST_INPUT - attrs.zero, x))
    whole = b.cast("to_int", b.unary("round", cut), "i32")
    return b.cast("truncate", b.add(whole, b.like(attrs.zero, whole)) if attrs.zero else whole, "u8")


def _from_u8(b: LoopBuilder, attrs: Any, xs: Sequence[Value]) -> Value:
    whole = b.cast("extend", xs[0], "i32")
    value = b.cast("to_float", b.add(whole, b.like(-attrs.zero, whole)) if attrs.zero else whole, "f32")
    return b.mul(value, b.like(attrs.scale, value))


def _reciprocal_or_zero(b: LoopBuilder, _: Any, xs: Sequence[Value]) -> Value:
    (x,) = xs
    zero = b.like(0, x)
    return b.select(b.compare("eq", x, zero), zero, b.div(b.like(1, x), x))


ELEMENTWISE: dict[str, Emitter] = {
    "math.add": lambda b, _, xs: b.add(xs[0], xs[1]),
    "math.sub": lambda b, _, xs: b.sub(xs[0], xs[1]),
    "math.mul": lambda b, _, xs: b.mul(xs[0], xs[1]),
    "math.div": lambda b, _, xs: b.div(xs[0], xs[1]),
    "math.max": lambda b, _, xs: b.maximum(xs[0], xs[1]),
    "math.relu": _relu,
    "math.prelu": _prelu,
    "math.affine": _affine,
    "math.clip": _clip,
    "math.threshold": _threshold,
    "math.differs": _differs,
    "math.broadcast": lambda _b, _, xs: xs[0],
    "math.from_bf16": lambda b, _, xs: b.cast("extend", xs[0], "f32"),
    "math.from_u8": _from_u8,
    "math.to_bf16": lambda b, _, xs: b.cast("truncate", xs[0], "bf16"),
    "math.to_u8": _to_u8,
    "math.stop_gradient": lambda _b, _, xs: xs[0],
    "math.abs": lambda b, _, xs: b.unary("abs", xs[0]),
    "math.sign": _sign,
    "math.sqrt": lambda b, _, xs: b.unary("sqrt", xs[0]),
    "math.reciprocal_or_zero": _reciprocal_or_zero,
    "nn.dropout": lambda _b, _, xs: xs[0],
    "math.exp": lambda b, _, xs: math.exp(b, xs[0]),
    "math.log": lambda b, _, xs: math.log(b, xs[0]),
    "math.tanh": lambda b, _, xs: math.tanh(b, xs[0]),
    "math.sigmoid": lambda b, _, xs: math.sigmoid(b, xs[0]),
    "math.bnll": lambda b, _, xs: math.bnll(b, xs[0]),
    "math.elu": lambda b, attrs, xs: math.elu(b, xs[0], attrs.alpha),
    "math.pow": lambda b, attrs, xs: math.power(b, xs[0], attrs.exponent),
}

# those whose code for one register is long and full of independent chains
COSTLY = frozenset({"math.bnll", "math.exp", "math.log", "math.tanh", "math.sigmoid", "math.elu", "math.pow"})
