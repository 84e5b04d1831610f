"""Gradient rules of elementwise ops. Kinks are where Caffe has them: relu'(0) is the negative slope."""

from __future__ import annotations

from netc.ir.core import Value
from netc.ir.gradients.pullback import Pullback
from netc.ir.opdef import gradient_of
from netc.ir.ops.elementwise import PowAttrs, ThresholdAttrs

Gradients = tuple[Value | None, ...]


def _above(p: Pullback, x: Value, threshold: float = 0.0) -> Value:
    """1 where x > threshold, else 0."""
    return p.emit("math.threshold", (x,), ThresholdAttrs(threshold))


def _slopes(p: Pullback, x: Value, negative: float) -> Value:
    """1 where x > 0, else ``negative``."""
    return p.affine(_above(p, x), 1.0 - negative, negative)


# ---- of two operands


@gradient_of("math.add")
def _add(p: Pullback) -> Gradients:
    return tuple(p.sum_to(p.gradient, x) if w else None for x, w in zip(p.operands, p.wanted, strict=True))


@gradient_of("math.sub")
def _sub(p: Pullback) -> Gradients:
    x, y = p.operands
    dx = p.sum_to(p.gradient, x) if p.wanted[0] else None
    dy = p.affine(p.sum_to(p.gradient, y), -1.0) if p.wanted[1] else None
    return dx, dy


@gradient_of("math.mul")
def _mul(p: Pullback) -> Gradients:
    x, y = p.operands
    dx = p.sum_to(p.mul(p.gradient, y), x) if p.wanted[0] else None
    dy = p.sum_to(p.mul(p.gradient, x), y) if p.wanted[1] else None
    return dx, dy


@gradient_of("math.div")
def _div(p: Pullback) -> Gradients:
    x, y = p.operands
    quotient = p.emit("math.div", (p.gradient, y))
    dx = p.sum_to(quotient, x) if p.wanted[0] else None
    dy = p.affine(p.sum_to(p.mul(quotient, p.result), y), -1.0) if p.wanted[1] else None
    return dx, dy


@gradient_of("math.max")
def _max(p: Pullback) -> Gradients:
    # of two equal numbers the second counts as the larger one, as in the original's Eltwise
    x, y = p.operands
    first = _above(p, p.emit("math.sub", (x, y)))
    dx = p.sum_to(p.mul(p.gradient, first), x) if p.wanted[0] else None
    dy = p.sum_to(p.mul(p.gradient, p.affine(first, -1.0, 1.0)), y) if p.wanted[1] else None
    return dx, dy


@gradient_of("math.prelu")
def _prelu(p: Pullback) -> Gradients:
    x, slope = p.operands
    positive = _above(p, x)
    negative = p.affine(positive, -1.0, 1.0)
    dx = None
    if p.wanted[0]:
        dx = p.sum_to(p.mul(p.gradient, p.add(positive, p.mul(negative, slope))), x)
    dslope = p.sum_to(p.mul(p.mul(p.gradient, x), negative), slope) if p.wanted[1] else None
    return dx, dslope


# ---- of one


@gradient_of("math.affine")
def _affine(p: Pullback) -> Gradients:
    return (p.affine(p.gradient, p.attrs.scale),)


@gradient_of("math.relu")
def _relu(p: Pullback) -> Gradients:
    # the result has the sign of the operand, and is kept by more nets: Caffe's in-place layers read it too
    source = p.result if p.attrs.slope >= 0 else p.operands[0]
    return (p.mul(p.gradient, _slopes(p, source, p.attrs.slope)),)


@gradient_of("math.sigmoid")
def _sigmoid(p: Pullback) -> Gradients:
    y = p.result
    return (p.mul(p.gradient, p.mul(y, p.affine(y, -1.0, 1.0))),)


@gradient_of("math.tanh")
def _tanh(p: Pullback) -> Gradients:
    y = p.result
    return (p.mul(p.gradient, p.affine(p.mul(y, y), -1.0, 1.0)),)


@gradient_of("math.exp")
def _exp(p: Pullback) -> Gradients:
    return (p.mul(p.gradient, p.result),)


@gradient_of("math.log")
def _log(p: Pullback) -> Gradients:
    return (p.emit("math.div", (p.gradient, p.operands[0])),)


@gradient_of("math.sqrt")
def _sqrt(p: Pullback) -> Gradients:
    root = p.affine(p.result, 1.0, p.attrs.gradient_shift)
    return (p.affine(p.emit("math.div", (p.gradient, root)), 0.5),)


@gradient_of("math.pow")
def _pow(p: Pullback) -> Gradients:
    exponent = p.attrs.exponent
    slope = p.emit("math.pow", (p.operands[0],), PowAttrs(exponent - 1.0))
    return (p.mul(p.gradient, p.affine(slope, exponent)),)


@gradient_of("math.abs")
def _abs(p: Pullback) -> Gradients:
    return (p.mul(p.gradient, p.emit("math.sign", p.operands)),)


@gradient_of("math.elu")
def _elu(p: Pullback) -> Gradients:
    # alpha e^x = y + alpha where x <= 0
    positive = _above(p, p.operands[0])
    negative = p.mul(p.affine(positive, -1.0, 1.0), p.affine(p.result, 1.0, p.attrs.alpha))
    return (p.mul(p.gradient, p.add(positive, negative)),)


@gradient_of("math.bnll")
def _bnll(p: Pullback) -> Gradients:
    return (p.mul(p.gradient, p.emit("math.sigmoid", p.operands)),)


@gradient_of("math.clip")
def _clip(p: Pullback) -> Gradients:
    if p.attrs.straight:
        return (p.gradient,)
    # the bounds themselves count as within
    (x,) = p.operands
    too_high = _above(p, x, p.attrs.high)
    too_low = _above(p, p.affine(x, -1.0), -p.attrs.low)
    return (p.mul(p.gradient, p.affine(p.add(too_high, too_low), -1.0, 1.0)),)


@gradient_of("math.reciprocal_or_zero")
def _reciprocal_or_zero(p: Pullback) -> Gradients:
    y = p.result
    return (p.affine(p.mul(p.gradient, p.mul(y, y)), -1.0),)


@gradient_of("math.broadcast")
def _broadcast(p: Pullback) -> Gradients:
    return (p.sum_to(p.gradient, p.operands[0]),)


@gradient_of("nn.dropout")
def _dropout(p: Pullback) -> Gradients:
    # an identity: in training the importer makes noise of other ops
    return (p.gradient,)
