"""What fillers draw, as ops on random numbers: for data that every run draws anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from netc.frontend.layers.context import LayerContext, Shape
from netc.frontend.message import Message
from netc.frontend.variance_norm import fan
from netc.ir.core import Value
from netc.ir.diagnostics import NetcError
from netc.ir.ops.elementwise import AffineAttrs, ReluAttrs, SqrtAttrs, ThresholdAttrs
from netc.ir.ops.random import UniformAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import ReshapeAttrs
from netc.ir.types import TensorType

# The quantile function of the normal distribution, |error| < 1e-6, by two polynomials in w = -ln(1 - x^2):
# one in w - 2.5 for the middle, one in sqrt(w) - 3 for the tails (Giles, "Approximating the erfinv function",
# 2010). Coefficients begin with the highest power.
_TAILS_FROM = 5.0
_MIDDLE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
    -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_TAILS = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
    0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def draw(ctx: LayerContext, top: int, shape: Shape, filler: Message) -> Value | None:
    """Values that a filler draws, new ones in every run; None for a filler that draws nothing."""
    law = _LAWS.get(filler.text("type"))
    return None if law is None else law(_Draw(ctx, top, shape, filler))


class _Draw:
    """Adds the ops that fill one top."""

    def __init__(self, ctx: LayerContext, top: int, shape: Shape, filler: Message) -> None:
        self._ctx = ctx
        self._top = top
        self.shape = shape
        self.filler = filler

    def op(self, name: str, *operands: Value, attrs: Any = None) -> Value:
        """An op whose result is named after the top."""
        return self._ctx.emit(name, operands, attrs, top=self._top, part="drawn")

    def affine(self, x: Value, scale: float, shift: float) -> Value:
        """scale * x + shift."""
        return self.op("math.affine", x, attrs=AffineAttrs(scale, shift))

    def uniform(self) -> Value:
        """Numbers from [0, 1)."""
        state, stream = self._ctx.random_stream()
        return self.op("random.uniform", state, attrs=UniformAttrs(TensorType("f32", self.shape), stream))

    def normal(self) -> Value:
        """Numbers with mean 0 and deviation 1."""
        # one draw for the size, whose distance from 1 is exact, and one for the sign
        x = self.uniform()
        sign = self.affine(self.op("math.threshold", self.uniform(), attrs=ThresholdAttrs(0.5)), 2.0, -1.0)
        product = self.op("math.mul", self.affine(x, -1.0, 1.0), self.affine(x, 1.0, 1.0))
        # rounding can make the product a little larger than 1
        w = self.op("math.relu", self.affine(self.op("math.log", product), -1.0, 0.0), attrs=ReluAttrs())
        middle = self._polynomial(_MIDDLE, self.affine(w, 1.0, -2.5))
        tails = self._polynomial(_TAILS, self.affine(self.op("math.sqrt", w, attrs=SqrtAttrs()), 1.0, -3.0))
        in_tails = self.op("math.threshold", w, attrs=ThresholdAttrs(_TAILS_FROM))
        more = self.op("math.mul", in_tails, self.op("math.sub", tails, middle))
        inverse = self.op("math.mul", x, self.op("math.add", middle, more))
        return self.affine(self.op("math.mul", inverse, sign), math.sqrt(2.0), 0.0)

    @property
    def extents(self) -> tuple[int, ...]:
        """The shape, for laws that depend on it."""
        extents = tuple(d for d in self.shape if isinstance(d, int))
        if len(extents) < len(self.shape):
            raise self.error(f"the filler '{self.filler.text('type')}' needs a shape of numbers")
        return extents

    def error(self, message: str) -> NetcError:
        """An error at the filler."""
        return NetcError(message, location=self.filler.location, layer=self._ctx.label)

    def _polynomial(self, coefficients: tuple[float, ...], x: Value) -> Value:
        first, second, *others = coefficients
        total = self.affine(x, first, second)
        for coefficient in others:
            total = self.affine(self.op("math.mul", total, x), 1.0, coefficient)
        return total


def _between(draw: _Draw, low: float, high: float) -> Value:
    return draw.affine(draw.uniform(), high - low, low)


def _uniform(draw: _Draw) -> Value:
    return _between(draw, draw.filler.number("min"), draw.filler.number("max"))


def _gaussian(draw: _Draw) -> Value:
    """Normal; with ``sparse`` only so many inputs of every output, on average, are not zero."""
    values = draw.affine(draw.normal(), draw.filler.number("std"), draw.filler.number("mean"))
    sparse = draw.filler.integer("sparse")
    if sparse < 0:
        return values
    if not draw.shape:
        raise draw.error("sparse needs a shape with axes")
    chance = sparse / draw.extents[0]
    kept = draw.op("math.threshold", draw.affine(draw.uniform(), -1.0, 0.0), attrs=ThresholdAttrs(-chance))
    return draw.op("math.mul", values, kept)


def _positive_unitball(draw: _Draw) -> Value:
    """Non-negative; the values of every output sum to 1."""
    values = draw.uniform()
    rank = len(draw.shape)
    others = tuple(range(min(1, rank), rank))
    if not others:
        return draw.op("math.div", values, values)
    sums = draw.op("tensor.reduce", values, attrs=ReduceAttrs("sum", others))
    column = draw.op("tensor.reshape", sums, attrs=ReshapeAttrs((draw.shape[0], *(1 for _ in others))))
    return draw.op("math.div", values, column)


def _xavier(draw: _Draw) -> Value:
    """Uniform with the variance 1 / n."""
    scale = math.sqrt(3 / fan(draw.extents, draw.filler))
    return _between(draw, -scale, scale)


def _msra(draw: _Draw) -> Value:
    """Normal with the variance 2 / n."""
    return draw.affine(draw.normal(), math.sqrt(2 / fan(draw.extents, draw.filler)), 0.0)


_LAWS: Mapping[str, Callable[[_Draw], Value]] = {
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
}
