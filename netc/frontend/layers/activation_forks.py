"""Elementwise functions of forks: SELU, Mish, Softplus, Softsign, and their kin; SpatialDropout."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.registry import layer
from netc.ir.ops.elementwise import AffineAttrs, ClipAttrs, EluAttrs, ReluAttrs, ThresholdAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import ConcatAttrs


@layer("SELU", "SeLU", "SeLu", "Selu", source="several forks")
def import_selu(ctx: LayerContext) -> None:
    """``lambda x`` where positive, else ``lambda alpha (exp(x) - 1)`` (Klambauer et al., 2017)."""
    param = ctx.param("selu_param")
    elu = ctx.emit("math.elu", ctx.bottoms, EluAttrs(param.number("alpha")), part="elu")
    ctx.top(0, ctx.emit("math.affine", (elu,), AffineAttrs(param.number("lambda"))))


@layer("SeLUDropout", "SeLuDropout", source="several forks")
def import_selu_dropout(ctx: LayerContext) -> None:
    """TEST: x. The noise of TRAIN, which keeps mean and variance, is not supported."""
    ctx.param("selu_dropout_param")
    _identity_in_test(ctx)


@layer("SpatialDropout", source="Intel")
def import_spatial_dropout(ctx: LayerContext) -> None:
    """TRAIN: a whole plane is zero with probability ``dropout_ratio``, else ``x / (1 - ratio)``. TEST: x."""
    ratio = ctx.param("dropout_param").number("dropout_ratio")
    if not 0 <= ratio < 1:
        message = f"dropout_ratio must be at least 0 and below 1, got {ratio:g}"
        raise ctx.error(message, "dropout_param.dropout_ratio")
    if ctx.phase == "TEST":
        ctx.top(0, ctx.bottoms[0])
        return
    shape = ctx.shape()
    if len(shape) < 2:
        raise ctx.error(f"needs an input with at least 2 axes, got {len(shape)}", "bottom")
    drawn = ctx.uniform((*shape[:2], *(1,) * (len(shape) - 2)), part="drawn")
    kept = ctx.emit("math.threshold", (drawn,), ThresholdAttrs(ratio), part="kept")
    mask = ctx.emit("math.affine", (kept,), AffineAttrs(1 / (1 - ratio)), part="mask")
    ctx.top(0, ctx.emit("math.mul", (ctx.bottoms[0], mask)))


@layer("Python:spatial_dropout.SpatialDropoutLayer", source="ENet")
def import_python_spatial_dropout(ctx: LayerContext) -> None:
    """ENet's: TEST is x. ``param_str`` says how TRAIN drops planes, which is not supported."""
    _identity_in_test(ctx)


def _identity_in_test(ctx: LayerContext) -> None:
    if ctx.phase != "TEST":
        raise ctx.error("the TRAIN phase of this layer is not supported", "type", remedy="use the TEST phase")
    ctx.top(0, ctx.bottoms[0])


@layer("Mish", source="YOLO")
def import_mish(ctx: LayerContext) -> None:
    """``x tanh(log(1 + exp(x)))`` (Misra, 2019)."""
    gate = ctx.emit("math.tanh", (ctx.emit("math.bnll", ctx.bottoms, part="softplus"),), part="gate")
    ctx.top(0, ctx.emit("math.mul", (ctx.bottoms[0], gate)))


@layer("Softplus", source="Synopsys")
def import_softplus(ctx: LayerContext) -> None:
    """``log(1 + exp(x))``."""
    ctx.top(0, ctx.emit("math.bnll", ctx.bottoms))


@layer("Softsign", source="Synopsys")
def import_softsign(ctx: LayerContext) -> None:
    """``x / (1 + |x|)``."""
    size = ctx.emit("math.abs", ctx.bottoms, part="size")
    more = ctx.emit("math.affine", (size,), AffineAttrs(1.0, 1.0), part="more")
    ctx.top(0, ctx.emit("math.div", (ctx.bottoms[0], more)))


@layer("ScaledTanH", source="Synopsys")
def import_scaled_tanh(ctx: LayerContext) -> None:
    """``alpha tanh(beta x)``; both must be given."""
    path = "scaled_tanh_param"
    param = ctx.param(path)
    for field in ("alpha", "beta"):
        if not param.has(field):
            raise ctx.error(f"{path} needs alpha and beta; {field} is missing", path)
    inner = ctx.emit("math.affine", ctx.bottoms, AffineAttrs(param.number("beta")), part="inner")
    outer = ctx.emit("math.tanh", (inner,), part="outer")
    ctx.top(0, ctx.emit("math.affine", (outer,), AffineAttrs(param.number("alpha"))))


@layer("HardTanH", source="Synopsys")
def import_hard_tanh(ctx: LayerContext) -> None:
    """x cut at -1 and 1."""
    ctx.top(0, ctx.emit("math.clip", ctx.bottoms, ClipAttrs(-1.0, 1.0)))


@layer("ThresholdedReLU", source="Synopsys")
def import_thresholded_relu(ctx: LayerContext) -> None:
    """x where it is above ``alpha``, else 0."""
    alpha = ctx.param("thresholded_relu_param").number("alpha")
    above = ctx.emit("math.threshold", ctx.bottoms, ThresholdAttrs(alpha), part="above")
    ctx.top(0, ctx.emit("math.mul", (ctx.bottoms[0], above)))


@layer("CReLU", source="several forks")
def import_crelu(ctx: LayerContext) -> None:
    """``max(x, 0)`` and ``max(-x, 0)``, one after the other along ``concat_axis`` (Shang et al., 2016)."""
    param = ctx.param("crelu_param")
    axis = ctx.axis("crelu_param.concat_axis", len(ctx.shape()), param.integer("concat_axis"))
    negative = ctx.emit("math.affine", ctx.bottoms, AffineAttrs(-1.0), part="negative")
    halves = [
        ctx.emit("math.relu", (x,), ReluAttrs(), part=part)
        for x, part in ((ctx.bottoms[0], "above"), (negative, "below"))
    ]
    ctx.top(0, ctx.emit("tensor.concat", halves, ConcatAttrs(axis)))


@layer("LogSoftmax", source="Synopsys")
def import_log_softmax(ctx: LayerContext) -> None:
    """``x - m - log sum exp(x - m)`` along ``axis``, m being the largest x."""
    path = "log_softmax_param"
    (x,) = ctx.bottoms
    axis = ctx.axis(f"{path}.axis", len(ctx.shape()), ctx.param(path).integer("axis"))
    largest = ctx.emit("tensor.reduce", (x,), ReduceAttrs("max", (axis,)), part="largest")
    largest = ctx.emit("math.stop_gradient", (largest,), part="largest")
    below = ctx.emit("math.sub", (x, largest), part="below")
    powers = ctx.emit("math.exp", (below,), part="powers")
    total = ctx.emit("tensor.reduce", (powers,), ReduceAttrs("sum", (axis,)), part="total")
    ctx.top(0, ctx.emit("math.sub", (below, ctx.emit("math.log", (total,), part="log"))))
