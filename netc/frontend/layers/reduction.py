"""Layers that gather along axes: Reduction, MVN."""

from __future__ import annotations

from typing import Literal

from netc.frontend.layers.context import LayerContext, show_shape
from netc.frontend.layers.registry import layer
from netc.ir.core import Value
from netc.ir.ops.elementwise import AffineAttrs, SqrtAttrs
from netc.ir.ops.reduce import ReduceAttrs


@layer("Reduction")
def import_reduction(ctx: LayerContext) -> None:
    """``coeff`` times the SUM, the sum of magnitudes (ASUM), of squares (SUMSQ) or the MEAN.

    Over all axes from ``axis`` on, which disappear.
    """
    param = ctx.param("reduction_param")
    shape = ctx.shape()
    axis = ctx.axis("reduction_param.axis", len(shape), param.integer("axis")) if shape else 0
    operation, coeff = param.text("operation"), param.number("coeff")
    (x,) = ctx.bottoms
    if operation == "ASUM":
        x = ctx.emit("math.abs", (x,), part="magnitude")
    elif operation == "SUMSQ":
        x = ctx.emit("math.mul", (x, x), part="square")
    if axis < len(shape):
        kind: Literal["sum", "mean"] = "mean" if operation == "MEAN" else "sum"
        x = ctx.emit("tensor.reduce", (x,), ReduceAttrs(kind, tuple(range(axis, len(shape)))), part="total")
    if coeff == 1:
        ctx.top(0, ctx.reshape(x, shape[:axis]))
        return
    x = ctx.reshape(x, shape[:axis], part="flat")
    ctx.top(0, ctx.emit("math.affine", (x,), AffineAttrs(coeff)))


@layer("MVN")
def import_mvn(ctx: LayerContext) -> None:
    """``(x - mean) / (sd + eps)`` of each plane, or of each sample with ``across_channels``.

    Without ``normalize_variance`` only the mean is subtracted. The variance is the biased one, and eps
    (1e-9 by default) is added to its root.
    """
    param = ctx.param("mvn_param")
    shape = ctx.shape()
    if not 1 <= len(shape) <= 4:
        raise ctx.error(f"needs an input with 1 to 4 axes, got {show_shape(shape)}", "bottom")
    first = 1 if param.flag("across_channels") else 2
    axes = tuple(range(first, len(shape)))
    (x,) = ctx.bottoms
    centred = not param.flag("normalize_variance")
    gap = ctx.emit("math.sub", (x, _mean(ctx, x, axes, "mean")), part=None if centred else "centred")
    if centred:
        ctx.top(0, gap)
        return
    square = ctx.emit("math.mul", (gap, gap), part="square")
    variance, eps = _mean(ctx, square, axes, "variance"), param.number("eps")
    # the original divides by sd + eps in its gradient too: a constant plane has one
    deviation = ctx.emit("math.sqrt", (variance,), SqrtAttrs(eps), part="deviation")
    safe = ctx.emit("math.affine", (deviation,), AffineAttrs(1.0, eps), part="safe")
    ctx.top(0, ctx.emit("math.div", (gap, safe)))


def _mean(ctx: LayerContext, x: Value, axes: tuple[int, ...], part: str) -> Value:
    return ctx.emit("tensor.reduce", (x,), ReduceAttrs("mean", axes), part=part) if axes else x
