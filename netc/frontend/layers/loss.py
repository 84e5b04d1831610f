"""Loss layers and Accuracy: what a net's predictions are measured by.

A loss has no axes. ``loss_weight`` does not change it: it says what the loss counts in the objective.
A label is a class, as a float; a label that is no class counts as one of probability 0.
"""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, show_shape
from netc.frontend.layers.loss_terms import (
    LARGEST,
    SMALLEST_PROBABILITY,
    class_axis,
    counting,
    ignored_label,
    labels_of,
    log_softmax,
    normalization_of,
    one_hot,
    put_loss,
    put_normalised,
    rows_of_classes,
    shape_of,
)
from netc.frontend.layers.registry import layer
from netc.ir.core import Value
from netc.ir.dim import Dim, product
from netc.ir.ops.elementwise import AffineAttrs, ClipAttrs, DiffersAttrs, ReluAttrs, SqrtAttrs
from netc.ir.ops.loss import AccuracyAttrs, SoftmaxLossAttrs
from netc.ir.ops.normalize import SoftmaxAttrs
from netc.ir.ops.reduce import ReduceAttrs

# what the original adds to a distance before its gradient divides by it
DISTANCE_SHIFT = 1e-4


@layer("SoftmaxWithLoss", bottoms=(2, 2), tops=(0, 2), loss=True)
def import_softmax_with_loss(ctx: LayerContext) -> None:
    """``sum -log max(p, FLT_MIN) / d``, p being the label's softmax along ``softmax_param.axis``.

    Positions with ``ignore_label`` count nothing. d is the number of positions that count (VALID, the
    default), of all positions (FULL), of all axes before the classes (BATCH_SIZE; what the old
    ``normalize: false`` means), or 1 (NONE); never less than 1. A second top is the softmax.
    """
    axis = class_axis(ctx, "softmax_param.axis", ctx.param("softmax_param").integer("axis"))
    ignore = ignored_label(ctx)
    shape = ctx.shape()
    label = labels_of(ctx, axis)
    losses = ctx.emit(
        "nn.softmax_loss", (ctx.bottoms[0], label), SoftmaxLossAttrs(axis, ignore), part="losses"
    )
    put_normalised(
        ctx, losses, label, product(shape[:axis]), tuple(range(axis)), normalization_of(ctx, "VALID"), ignore
    )
    if len(ctx.top_names) > 1:
        ctx.top(1, ctx.emit("nn.softmax", ctx.bottoms[:1], SoftmaxAttrs(axis), top=1))


@layer("SigmoidCrossEntropyLoss", bottoms=(2, 2), tops=(0, 2), loss=True)
def import_sigmoid_cross_entropy_loss(ctx: LayerContext) -> None:
    """``sum -(t log s(x) + (1 - t) log(1 - s(x))) / d`` with the sigmoid s.

    Computed as ``max(x, 0) - x t + log(1 + e^-|x|)``, which cannot overflow. d is chosen as SoftmaxWithLoss
    chooses it, but BATCH_SIZE is the default. A second top is the sigmoid.
    """
    x, target = ctx.bottoms
    shape = ctx.shape()
    if product(ctx.shape(1)) != product(shape):
        raise ctx.error(
            f"needs as many targets as inputs: got {show_shape(ctx.shape(1))} for {show_shape(shape)}",
            "bottom",
            1,
        )
    if not shape:
        raise ctx.error("needs an input with axes, got a scalar", "bottom")
    target = ctx.reshape(target, shape, part="target")
    ignore = ignored_label(ctx)
    met = ctx.emit("math.mul", (x, target), part="met")
    losses = ctx.emit("math.sub", (ctx.emit("math.bnll", (x,), part="bnll"), met), part="losses")
    if ignore is not None:
        losses = ctx.emit("math.mul", (losses, counting(ctx, target, ignore)), part="losses")
    put_normalised(ctx, losses, target, shape[0], (0,), normalization_of(ctx, "BATCH_SIZE"), ignore)
    if len(ctx.top_names) > 1:
        ctx.top(1, ctx.emit("math.sigmoid", (x,), top=1))


@layer("EuclideanLoss", bottoms=(2, 2), tops=(0, 1), loss=True)
def import_euclidean_loss(ctx: LayerContext) -> None:
    """``sum (a - b)^2 / (2 N)``, N being the first extent."""
    shape = ctx.shape()
    if not shape or product(ctx.shape(1)[1:]) != product(shape[1:]) or ctx.shape(1)[:1] != shape[:1]:
        raise ctx.error(
            f"both inputs must have one size: got {show_shape(shape)} and {show_shape(ctx.shape(1))}",
            "bottom",
            1,
        )
    other = ctx.reshape(ctx.bottoms[1], shape, part="other")
    gap = ctx.emit("math.sub", (ctx.bottoms[0], other), part="gap")
    put_loss(ctx, ctx.emit("math.mul", (gap, gap), part="square"), shape[0], (0,), factor=0.5)


@layer("HingeLoss", bottoms=(2, 2), tops=(0, 1), loss=True)
def import_hinge_loss(ctx: LayerContext) -> None:
    """``sum max(0, 1 - t x) / N`` (L1), or of its squares (L2); t is 1 for the label's class, else -1."""
    norm = ctx.param("hinge_loss_param").text("norm")
    shape = ctx.shape()
    rows, classes = rows_of_classes(ctx)
    x = ctx.reshape(ctx.bottoms[0], (rows, classes), part="rows")
    sign = ctx.emit("math.affine", (one_hot(ctx, rows, classes),), AffineAttrs(-2.0, 1.0), part="sign")
    margin = ctx.emit("math.mul", (x, sign), part="margin")
    margin = ctx.emit("math.affine", (margin,), AffineAttrs(1.0, 1.0), part="margin")
    terms = ctx.emit("math.relu", (margin,), ReluAttrs(), part="terms")
    if norm == "L2":
        terms = ctx.emit("math.mul", (terms, terms), part="square")
    put_loss(ctx, terms, shape[0], (0,))


@layer("ContrastiveLoss", bottoms=(3, 3), tops=(0, 1), loss=True)
def import_contrastive_loss(ctx: LayerContext) -> None:
    """``sum l / (2 N)``: l is ``d^2`` for a pair that is alike, else ``max(margin - d, 0)^2``; d = |a - b|.

    ``legacy_version`` takes ``max(margin - d^2, 0)`` for pairs that are not alike. The third input says which
    are: any number that is not 0 when rounded towards zero.
    """
    param = ctx.param("contrastive_loss_param")
    margin = param.number("margin")
    shape = ctx.shape()
    if len(shape) < 2 or ctx.shape(1) != shape or any(d != 1 for d in shape[2:]):
        both = f"{show_shape(shape)} and {show_shape(ctx.shape(1))}"
        raise ctx.error(f"needs two inputs of one shape (N, C[, 1, 1]), got {both}", "bottom", 1)
    if product(ctx.shape(2)) != shape[0]:
        raise ctx.error(f"needs one number a pair, {shape[0]}, got {show_shape(ctx.shape(2))}", "bottom", 2)
    pairs = (shape[0], shape[1])
    a, b = (ctx.reshape(v, pairs, part="pairs") for v in ctx.bottoms[:2])
    gap = ctx.emit("math.sub", (a, b), part="gap")
    square = ctx.emit("math.mul", (gap, gap), part="square")
    square = ctx.emit("tensor.reduce", (square,), ReduceAttrs("sum", (1,)), part="distance2")
    given = ctx.reshape(ctx.bottoms[2], (shape[0], 1), part="given")
    alike = ctx.emit("math.differs", (given,), DiffersAttrs(0), part="alike")
    if param.flag("legacy_version"):
        left = ctx.emit("math.affine", (square,), AffineAttrs(-1.0, margin), part="left")
        apart = ctx.emit("math.relu", (left,), ReluAttrs(), part="apart")
    else:
        distance = ctx.emit("math.sqrt", (square,), SqrtAttrs(DISTANCE_SHIFT), part="distance")
        left = ctx.emit("math.affine", (distance,), AffineAttrs(-1.0, margin), part="left")
        left = ctx.emit("math.relu", (left,), ReluAttrs(), part="left")
        apart = ctx.emit("math.mul", (left, left), part="apart")
    unlike = ctx.emit("math.affine", (alike,), AffineAttrs(-1.0, 1.0), part="unlike")
    terms = ctx.emit(
        "math.add",
        (
            ctx.emit("math.mul", (square, alike), part="near"),
            ctx.emit("math.mul", (apart, unlike), part="far"),
        ),
        part="terms",
    )
    put_loss(ctx, terms, shape[0], (0,), factor=0.5)


@layer("MultinomialLogisticLoss", bottoms=(2, 2), tops=(0, 1), loss=True)
def import_multinomial_logistic_loss(ctx: LayerContext) -> None:
    """``sum -log max(p[label], 1e-20) / N``; the input holds probabilities."""
    rows, classes = rows_of_classes(ctx)
    p = ctx.reshape(ctx.bottoms[0], (rows, classes), part="rows")
    # the original's gradient, -1 / max(p, 1e-20), does not vanish where p is cut
    safe = ctx.emit("math.clip", (p,), ClipAttrs(SMALLEST_PROBABILITY, LARGEST, straight=True), part="safe")
    logs = ctx.emit("math.log", (safe,), part="logs")
    terms = ctx.emit("math.mul", (logs, one_hot(ctx, rows, classes)), part="terms")
    put_loss(ctx, terms, rows, (0,), factor=-1.0)


@layer("InfogainLoss", bottoms=(2, 3), tops=(0, 2), loss=True)
def import_infogain_loss(ctx: LayerContext) -> None:
    """``sum_k -H[label, k] log max(p_k, 1e-20) / d`` with p the softmax of the input along ``axis``.

    The matrix H (K x K) is the third input, or in the file ``source``. d is chosen as SoftmaxWithLoss chooses
    it, VALID by default. A second top is the softmax.
    """
    param = ctx.param("infogain_loss_param")
    axis = class_axis(ctx, "infogain_loss_param.axis", param.integer("axis"))
    ctx.param("softmax_param")
    shape = ctx.shape()
    classes = shape[axis]
    matrix = _gains(ctx, classes)
    ignore = ignored_label(ctx)
    label = labels_of(ctx, axis)
    flat = ctx.reshape(label, (product(shape_of(label)),), part="flat")
    gains = ctx.emit("tensor.take", (matrix, flat), part="gains")
    # (outer, classes, inner) beside (outer, inner, classes)
    outer, inner = product(shape[:axis]), product(shape[axis + 1 :])
    logs = ctx.reshape(log_softmax(ctx, axis), (outer, classes, inner), part="logs")
    if inner != 1:
        gains = ctx.reshape(gains, (outer, inner, classes), part="gains")
        gains = ctx.transpose(gains, (0, 2, 1), part="gains")
    gains = ctx.reshape(gains, (outer, classes, inner), part="gains")
    terms = ctx.emit("math.mul", (logs, gains), part="terms")
    terms = ctx.emit("tensor.reduce", (terms,), ReduceAttrs("sum", (1,)), part="gained")
    terms = ctx.emit("math.affine", (terms,), AffineAttrs(-1.0), part="losses")
    terms = ctx.reshape(terms, shape_of(label), part="losses")
    if ignore is not None:
        terms = ctx.emit("math.mul", (terms, counting(ctx, label, ignore)), part="losses")
    put_normalised(ctx, terms, label, outer, tuple(range(axis)), normalization_of(ctx, "VALID"), ignore)
    if len(ctx.top_names) > 1:
        ctx.top(1, ctx.emit("nn.softmax", ctx.bottoms[:1], SoftmaxAttrs(axis), top=1))


def _gains(ctx: LayerContext, classes: Dim) -> Value:
    """What each class gains for each label, (K, K)."""
    param = ctx.param("infogain_loss_param")
    if not isinstance(classes, int):
        raise ctx.error(f"needs a fixed number of classes, got {classes}", "bottom")
    if len(ctx.bottoms) == 3:
        if product(ctx.shape(2)) != classes * classes:
            message = f"needs a matrix of {classes}x{classes}, got {show_shape(ctx.shape(2))}"
            raise ctx.error(message, "bottom", 2)
        return ctx.reshape(ctx.bottoms[2], (classes, classes), part="matrix")
    if not param.has("source"):
        raise ctx.error("the matrix is missing: give source, or a third bottom", "infogain_loss_param")
    return ctx.stored_value("matrix", (classes, classes), "infogain_loss_param.source")


@layer("Accuracy", bottoms=(2, 2), tops=(1, 2))
def import_accuracy(ctx: LayerContext) -> None:
    """The fraction of labels among the ``top_k`` best scores; ties count against the label.

    ``ignore_label`` does not count. A second top is the accuracy of every class.
    """
    param = ctx.param("accuracy_param")
    if param.has("ignore_labels"):
        raise ctx.refuse("accuracy_param.ignore_labels")
    axis = class_axis(ctx, "accuracy_param.axis", param.integer("axis"))
    ignore = param.integer("ignore_label") if param.has("ignore_label") else None
    top_k = param.integer("top_k")
    classes = ctx.shape()[axis]
    if isinstance(classes, int) and top_k > classes:
        raise ctx.error(
            f"top_k must be at most the number of classes, {classes}, got {top_k}", "accuracy_param.top_k"
        )
    operands = (ctx.bottoms[0], labels_of(ctx, axis))
    fields = {"top_k": "accuracy_param.top_k"}
    for top in range(len(ctx.top_names)):
        attrs = AccuracyAttrs(axis, top_k, ignore, per_class=top == 1)
        ctx.top(top, ctx.emit("nn.accuracy", operands, attrs, top=top, fields=fields))
