"""Loss layers of forks: SmoothL1Loss of Fast R-CNN and SSD, and R-FCN's losses of single regions."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.loss_terms import (
    class_axis,
    ignored_label,
    labels_of,
    normalization_of,
    put_loss,
    put_normalised,
)
from netc.frontend.layers.registry import layer
from netc.ir.core import Value
from netc.ir.dim import product
from netc.ir.ops.elementwise import AffineAttrs, ClipAttrs
from netc.ir.ops.loss import SoftmaxLossAttrs
from netc.ir.ops.normalize import SoftmaxAttrs
from netc.ir.ops.reduce import ReduceAttrs


@layer("SmoothL1Loss", bottoms=(2, 4), tops=(0, 1), loss=True, source="Fast R-CNN, SSD")
def import_smooth_l1_loss(ctx: LayerContext) -> None:
    """``sum o f(i (a - b)) / N``; f(d) is ``(sigma d)^2 / 2``, from 1 / sigma^2 on ``|d| - 1 / (2 sigma^2)``.

    i and o, the weights inside and outside, are the third and the fourth input, or 1 (Girshick, Fast R-CNN,
    2015, equation 3; SSD has i only). N is the first extent.
    """
    sigma = ctx.param("smooth_l1_loss_param").number("sigma")
    if sigma <= 0:
        raise ctx.error(f"sigma must be positive, got {sigma:g}", "smooth_l1_loss_param.sigma")
    shape = _one_size(ctx)
    errors = _smooth_l1(ctx, _weighted_gap(ctx), sigma * sigma)
    if len(ctx.bottoms) == 4:
        outside = ctx.reshape(ctx.bottoms[3], shape, part="outside")
        errors = ctx.emit("math.mul", (errors, outside), part="weighted")
    put_loss(ctx, errors, shape[0], (0,))


@layer("SmoothL1LossOHEM", bottoms=(2, 3), tops=(1, 2), loss=True, source="R-FCN")
def import_smooth_l1_loss_ohem(ctx: LayerContext) -> None:
    """SmoothL1Loss with sigma 1; a second top (N, 1, H, W) is the loss of every position (R-FCN's fork).

    It is divided by the positions (FULL, and VALID, the default), by N (BATCH_SIZE), by
    ``pre_fixed_normalizer`` (PRE_FIXED) or by nothing (NONE).
    """
    shape = _one_size(ctx)
    errors = _smooth_l1(ctx, _weighted_gap(ctx), 1.0)
    if len(shape) == 1:
        errors = ctx.reshape(errors, (*shape, 1), part="errors")
    each = ctx.emit("tensor.reduce", (errors,), ReduceAttrs("sum", (1,)), part="each")
    mode = normalization_of(ctx, "VALID")
    put_normalised(ctx, each, each, shape[0], (0,), "FULL" if mode == "VALID" else mode, None)
    if len(ctx.top_names) > 1:
        planes = (*shape[2:4], *(1,) * (2 - len(shape[2:4])))
        ctx.top(1, ctx.reshape(each, (shape[0], 1, *planes), part="positions", top=1))


@layer("SoftmaxWithLossOHEM", bottoms=(2, 2), tops=(1, 3), loss=True, source="R-FCN")
def import_softmax_with_loss_ohem(ctx: LayerContext) -> None:
    """SoftmaxWithLoss; a third top, shaped as the labels, is the loss of every position (R-FCN's fork)."""
    axis = class_axis(ctx, "softmax_param.axis", ctx.param("softmax_param").integer("axis"))
    ignore = ignored_label(ctx)
    shape = ctx.shape()
    label = labels_of(ctx, axis)
    losses = ctx.emit(
        "nn.softmax_loss", (ctx.bottoms[0], label), SoftmaxLossAttrs(axis, ignore), part="losses"
    )
    mode = normalization_of(ctx, "VALID")
    put_normalised(ctx, losses, label, product(shape[:axis]), tuple(range(axis)), mode, ignore)
    if len(ctx.top_names) > 1:
        ctx.top(1, ctx.emit("nn.softmax", ctx.bottoms[:1], SoftmaxAttrs(axis), top=1))
    if len(ctx.top_names) > 2:
        ctx.top(2, ctx.reshape(losses, ctx.shape(1), part="positions", top=2))


def _one_size(ctx: LayerContext) -> Shape:
    """The shape of the first input; all others must have as many elements, sample by sample."""
    shape = ctx.shape()
    if not shape:
        raise ctx.error("needs inputs with axes, got a scalar", "bottom")
    for index in range(1, len(ctx.bottoms)):
        other = ctx.shape(index)
        if other[:1] != shape[:1] or product(other[1:]) != product(shape[1:]):
            message = f"all inputs must have one size: got {show_shape(shape)} and {show_shape(other)}"
            raise ctx.error(message, "bottom", index)
    return shape


def _weighted_gap(ctx: LayerContext) -> Value:
    """``i (a - b)``."""
    shape = ctx.shape()
    target = ctx.reshape(ctx.bottoms[1], shape, part="target")
    gap = ctx.emit("math.sub", (ctx.bottoms[0], target), part="gap")
    if len(ctx.bottoms) == 2:
        return gap
    inside = ctx.reshape(ctx.bottoms[2], shape, part="inside")
    return ctx.emit("math.mul", (gap, inside), part="counted")


def _smooth_l1(ctx: LayerContext, gap: Value, square: float) -> Value:
    """``s m (|d| - m / 2)`` with s = sigma^2 and m = min(|d|, 1 / s): both branches in one."""
    distance = ctx.emit("math.abs", (gap,), part="distance")
    near = ctx.emit("math.clip", (distance,), ClipAttrs(0.0, 1 / square), part="near")
    half = ctx.emit("math.affine", (near,), AffineAttrs(0.5), part="half")
    rest = ctx.emit("math.sub", (distance, half), part="rest")
    product_ = ctx.emit("math.mul", (near, rest), part="product")
    return ctx.emit("math.affine", (product_,), AffineAttrs(square), part="errors")
