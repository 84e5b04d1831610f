"""Gradient rules of normalisations over an axis."""

from __future__ import annotations

from netc.ir.core import Value
from netc.ir.dim import product
from netc.ir.gradients.pullback import Pullback, tensor_type
from netc.ir.opdef import gradient_of
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import CountAttrs, ReshapeAttrs

Gradients = tuple[Value | None, ...]


@gradient_of("nn.lrn")
def _lrn(p: Pullback) -> Gradients:
    return (p.emit("nn.lrn_gradient", (p.gradient, p.operands[0]), p.attrs),)


@gradient_of("nn.softmax")
def _softmax(p: Pullback) -> Gradients:
    # y (dy - sum dy y)
    met = p.emit("tensor.reduce", (p.mul(p.gradient, p.result),), ReduceAttrs("sum", (p.attrs.axis,)))
    return (p.mul(p.result, p.emit("math.sub", (p.gradient, met))),)


@gradient_of("nn.moments")
def _moments(p: Pullback) -> Gradients:
    # dmean / m + dvariance 2 (x - mean) / m
    (x,) = p.operands
    dmean, dvariance = p.gradients
    mean, _ = p.op.results
    dx = None
    if dvariance is not None:
        slope = p.affine(_over_count(p, dvariance), 2.0)
        dx = p.mul(p.emit("math.sub", (x, mean)), slope)
    if dmean is not None:
        share = _over_count(p, dmean)
        dx = p.broadcast(share, x) if dx is None else p.add(dx, share)
    return (dx,)


def _over_count(p: Pullback, total: Value) -> Value:
    """Divided by the number of elements that went into each result."""
    (x,), axes = p.operands, p.attrs.axes
    shape = tensor_type(x).shape
    count = product(tuple(shape[axis] for axis in axes))
    if isinstance(count, int):
        return p.affine(total, 1 / count)
    number = p.emit("tensor.count", (x,), CountAttrs(axes))
    number = p.emit("tensor.reshape", (number,), ReshapeAttrs((1,) * len(shape)))
    return p.emit("math.div", (total, number))
