"""Elementwise functions of one input: ReLU and its kin, Sigmoid, Swish, TanH, BNLL, AbsVal, Power, Exp,
Log, Clip, Threshold.
"""

from __future__ import annotations

import math

from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.registry import layer
from netc.frontend.message import Message
from netc.ir.core import Value
from netc.ir.ops.elementwise import AffineAttrs, ClipAttrs, EluAttrs, PowAttrs, ReluAttrs, ThresholdAttrs
from netc.ir.ops.shape import FillAttrs
from netc.ir.types import TensorType

RELU6_LIMIT = 6.0
DEFAULT_PRELU_SLOPE = 0.25


@layer("ReLU")
def import_relu(ctx: LayerContext) -> None:
    """``max(x, 0) + negative_slope min(x, 0)``; the forks' ``relu6`` cuts at 6."""
    param = ctx.param("relu_param")
    attrs = ReluAttrs(param.number("negative_slope"))
    if param.flag("relu6"):
        relu = ctx.emit("math.relu", ctx.bottoms, attrs, part="relu")
        ctx.top(0, _at_most(ctx, relu, RELU6_LIMIT))
    else:
        ctx.top(0, ctx.emit("math.relu", ctx.bottoms, attrs))


@layer("ReLU6", source="MobileNet")
def import_relu6(ctx: LayerContext) -> None:
    """``min(max(x, 0), 6)`` plus ``negative_slope min(x, 0)`` (MobileNet's forks)."""
    slope = ctx.param("relu_param").number("negative_slope")
    relu = ctx.emit("math.relu", ctx.bottoms, ReluAttrs(slope), part="relu")
    ctx.top(0, _at_most(ctx, relu, RELU6_LIMIT))


@layer("HardSwish", source="Synopsys")
def import_hard_swish(ctx: LayerContext) -> None:
    """``x min(max(x + 3, 0), 6) / 6`` (MobileNet v3's forks)."""
    (x,) = ctx.bottoms
    gate = _gate(ctx, 1 / RELU6_LIMIT, 0.5, part="gate")
    ctx.top(0, ctx.emit("math.mul", (x, gate)))


@layer("HardSigmoid", source="Synopsys")
def import_hard_sigmoid(ctx: LayerContext) -> None:
    """``alpha x + beta``, cut at 0 and 1."""
    param = ctx.param("hard_sigmoid_param")
    ctx.top(0, _gate(ctx, param.number("alpha"), param.number("beta")))


def _gate(ctx: LayerContext, scale: float, shift: float, *, part: str | None = None) -> Value:
    """``scale x + shift``, cut at 0 and 1."""
    line = ctx.emit("math.affine", ctx.bottoms, AffineAttrs(scale, shift), part="line")
    positive = ctx.emit("math.relu", (line,), ReluAttrs(), part="positive")
    return _at_most(ctx, positive, 1.0, part=part)


def _at_most(ctx: LayerContext, x: Value, limit: float, *, part: str | None = None) -> Value:
    """``min(x, limit) = -max(-x, -limit)``, exact."""
    negative = ctx.emit("math.affine", (x,), AffineAttrs(scale=-1.0), part="negative")
    ones = (1,) * len(ctx.shape())
    least = ctx.emit("tensor.fill", (), FillAttrs(TensorType("f32", ones), -limit), part="limit")
    cut = ctx.emit("math.max", (negative, least), part="cut")
    return ctx.emit("math.affine", (cut,), AffineAttrs(scale=-1.0), part=part)


@layer("PReLU")
def import_prelu(ctx: LayerContext) -> None:
    """``max(x, 0) + a[c] min(x, 0)`` with a learned slope per channel (axis 1), or one shared scalar.

    A shared slope is a blob without axes. The slopes start at 0.25 unless a filler says otherwise.
    """
    param = ctx.param("prelu_param")
    shape = ctx.shape()
    if len(shape) < 2:
        raise ctx.error(f"needs an input with at least 2 axes, got {len(shape)}", "bottom")
    shared = param.flag("channel_shared")
    filler = param.message("filler") if param.has("filler") else constant_filler(DEFAULT_PRELU_SLOPE)
    slope = ctx.param_value("slope", () if shared else (shape[1],), 0, filler)
    broadcast = (1, 1 if shared else shape[1], *(1,) * (len(shape) - 2))
    slope = ctx.reshape(slope, broadcast, part="slope")
    ctx.top(0, ctx.emit("math.prelu", (ctx.bottoms[0], slope)))


@layer("ELU")
def import_elu(ctx: LayerContext) -> None:
    """``x`` where positive, else ``alpha (exp(x) - 1)``."""
    ctx.top(0, ctx.emit("math.elu", ctx.bottoms, EluAttrs(ctx.param("elu_param").number("alpha"))))


@layer("Sigmoid")
def import_sigmoid(ctx: LayerContext) -> None:
    """``1 / (1 + exp(-x))``."""
    ctx.param("sigmoid_param")
    ctx.top(0, ctx.emit("math.sigmoid", ctx.bottoms))


@layer("Swish")
def import_swish(ctx: LayerContext) -> None:
    """``x / (1 + exp(-beta x))``."""
    beta = ctx.param("swish_param").number("beta")
    x = _affine(ctx, ctx.bottoms[0], beta, 0.0)
    ctx.top(0, ctx.emit("math.mul", (ctx.bottoms[0], ctx.emit("math.sigmoid", (x,), part="gate"))))


@layer("BNLL")
def import_bnll(ctx: LayerContext) -> None:
    """``log(1 + exp(x))``, as ``max(x, 0) + log(1 + exp(-|x|))``."""
    ctx.top(0, ctx.emit("math.bnll", ctx.bottoms))


@layer("Clip")
def import_clip(ctx: LayerContext) -> None:
    """``min(max(x, min), max)``; both bounds must be given."""
    param = ctx.param("clip_param")
    for field in ("min", "max"):
        if not param.has(field):
            raise ctx.error(f"clip_param needs min and max; {field} is missing", "clip_param")
    low, high = param.number("min"), param.number("max")
    ctx.top(0, ctx.emit("math.clip", ctx.bottoms, ClipAttrs(low, high)))


@layer("Threshold")
def import_threshold(ctx: LayerContext) -> None:
    """1 where ``x > threshold``, else 0."""
    threshold = ctx.param("threshold_param").number("threshold")
    ctx.top(0, ctx.emit("math.threshold", ctx.bottoms, ThresholdAttrs(threshold)))


@layer("TanH")
def import_tanh(ctx: LayerContext) -> None:
    """``tanh(x)``."""
    ctx.param("tanh_param")
    ctx.top(0, ctx.emit("math.tanh", ctx.bottoms))


@layer("AbsVal")
def import_absval(ctx: LayerContext) -> None:
    """``|x|``."""
    ctx.top(0, ctx.emit("math.abs", ctx.bottoms))


@layer("Power")
def import_power(ctx: LayerContext) -> None:
    """``(shift + scale x) ^ power``.

    Where ``power scale`` is 0 the result is a constant, ``shift ^ power`` (1 for power 0), whatever x is.
    """
    param = ctx.param("power_param")
    power, scale, shift = (param.number(name) for name in ("power", "scale", "shift"))
    if power * scale == 0:
        value = 1.0 if power == 0 else _power_of(shift, power)
        (x,) = ctx.bottoms
        assert isinstance(x.type, TensorType)
        ctx.top(0, ctx.emit("tensor.fill", (), FillAttrs(x.type, value)))
        return
    x = _affine(ctx, ctx.bottoms[0], scale, shift, last=power == 1)
    ctx.top(0, x if power == 1 else raise_to(ctx, x, power))


@layer("Exp")
def import_exp(ctx: LayerContext) -> None:
    """``base ^ (shift + scale x)``; a base of -1, the default, is e."""
    param = ctx.param("exp_param")
    base, scale, shift = (param.number(name) for name in ("base", "scale", "shift"))
    if base != -1 and base <= 0:
        raise ctx.error(f"base must be positive, or -1 for e; got {base:g}", "exp_param.base")
    rate = 1.0 if base == -1 else math.log(base)
    # base^(shift + scale x) = base^shift * e^(rate scale x)
    x = _affine(ctx, ctx.bottoms[0], rate * scale, 0.0)
    factor = _exp_of(rate * shift)
    y = ctx.emit("math.exp", (x,), part=None if factor == 1 else "exp")
    ctx.top(0, _affine(ctx, y, factor, 0.0, last=True) if factor != 1 else y)


@layer("Log")
def import_log(ctx: LayerContext) -> None:
    """``log_base(shift + scale x)``; a base of -1, the default, is e."""
    param = ctx.param("log_param")
    base, scale, shift = (param.number(name) for name in ("base", "scale", "shift"))
    if base != -1 and (base <= 0 or base == 1):
        raise ctx.error(f"base must be positive and not 1, or -1 for e; got {base:g}", "log_param.base")
    factor = 1.0 if base == -1 else 1 / math.log(base)
    x = _affine(ctx, ctx.bottoms[0], scale, shift)
    y = ctx.emit("math.log", (x,), part=None if factor == 1 else "log")
    ctx.top(0, _affine(ctx, y, factor, 0.0, last=True) if factor != 1 else y)


def constant_filler(value: float) -> Message:
    """The filler of a parameter that starts at one value."""
    filler = Message("FillerParameter")
    filler.set("value", value)
    return filler


def raise_to(ctx: LayerContext, x: Value, power: float) -> Value:
    """``x ^ power``; a square is a product, which costs less and is exact."""
    if power == 2:
        return ctx.emit("math.mul", (x, x))
    return ctx.emit("math.pow", (x,), PowAttrs(power))


def _affine(ctx: LayerContext, x: Value, scale: float, shift: float, *, last: bool = False) -> Value:
    """``scale x + shift``; nothing is added where that is x, unless it makes the layer's top."""
    if scale == 1 and shift == 0 and not last:
        return x
    return ctx.emit("math.affine", (x,), AffineAttrs(scale, shift), part=None if last else "affine")


def _power_of(base: float, exponent: float) -> float:
    """C's pow: infinity and NaN where Python raises."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.inf if base == 0 else math.nan


def _exp_of(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
