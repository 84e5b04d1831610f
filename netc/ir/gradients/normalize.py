"""Gradient rules of normalisations over an axis."""

from __future__ import annotations

from netc.ir.core import Value
from netc.ir.gradients.pullback import Pullback
from netc.ir.opdef import gradient_of
from netc.ir.ops.reduce import ReduceAttrs

Gradients = tuple[Value | None, ...]


@gradient_of("nn.lrn")
def _lrn(p: Pullback) -> Gradients:
    return (p.emit("nn.lrn_gradient", (p.gradient, p.operands[0]), p.attrs),)


@gradient_of("nn.softmax")
def _softmax(p: Pullback) -> Gradients:
    # y (dy - sum dy y)
    met = p.emit("tensor.reduce", (p.mul(p.gradient, p.result),), ReduceAttrs("sum", (p.attrs.axis,)))
    return (p.mul(p.result, p.emit("math.sub", (p.gradient, met))),)
