"""Elementwise tensor ops as C expressions of one element: one function an op, in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from netc.backends.cuda.text import c_float

Emitter = Callable[[Any, Sequence[str]], str]


def _relu(attrs: Any, xs: Sequence[str]) -> str:
    return f"relu({xs[0]})" if attrs.slope == 0 else f"leaky_relu({xs[0]}, {c_float(attrs.slope)})"


def _affine(attrs: Any, xs: Sequence[str]) -> str:
    scale, shift = c_float(attrs.scale), c_float(attrs.shift)
    if attrs.scale == 1:
        return f"{xs[0]} + {shift}"
    return f"{scale} * {xs[0]}" if attrs.shift == 0 else f"fmaf({scale}, {xs[0]}, {shift})"


def _call(name: str) -> Emitter:
    return lambda _, xs: f"{name}({', '.join(xs)})"


def _infix(sign: str) -> Emitter:
    return lambda _, xs: f"{xs[0]} {sign} {xs[1]}"


def _power(attrs: Any, xs: Sequence[str]) -> str:
    if attrs.exponent == 2:
        return f"{xs[0]} * {xs[0]}"
    return f"powf({xs[0]}, {c_float(attrs.exponent)})"


def _same(_: Any, xs: Sequence[str]) -> str:
    return xs[0]


ELEMENTWISE: dict[str, Emitter] = {
    "math.add": _infix("+"),
    "math.sub": _infix("-"),
    "math.mul": _infix("*"),
    "math.div": _infix("/"),
    "math.max": _call("maximum"),
    "math.relu": _relu,
    "math.prelu": lambda _, xs: f"leaky_relu({xs[0]}, {xs[1]})",
    "math.affine": _affine,
    "math.clip": lambda a, xs: f"minimum(maximum({xs[0]}, {c_float(a.low)}), {c_float(a.high)})",
    "math.threshold": lambda a, xs: f"({xs[0]} > {c_float(a.threshold)} ? 1.0f : 0.0f)",
    "math.differs": lambda a, xs: f"differs({xs[0]}, {c_float(a.value)})",
    "math.broadcast": _same,
    "math.stop_gradient": _same,
    "math.abs": _call("fabsf"),
    "math.sign": _call("sign"),
    "math.sqrt": _call("sqrtf"),
    "math.reciprocal_or_zero": _call("reciprocal_or_zero"),
    "nn.dropout": _same,
    "math.exp": _call("expf"),
    "math.log": _call("logf"),
    "math.tanh": _call("tanhf"),
    "math.sigmoid": _call("sigmoid"),
    "math.bnll": _call("bnll"),
    "math.elu": lambda a, xs: f"elu({xs[0]}, {c_float(a.alpha)})",
    "math.pow": _power,
}
