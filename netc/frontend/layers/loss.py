"""Loss layers and Accuracy: what a net's predictions are measured by.

A loss has no axes. ``loss_weight`` does not change it: it says what the loss counts in the objective.
A label is a class, as a float; a label that is no class counts as one of probability 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.ir.core import Value
from netc.ir.dim import Dim, product
from netc.ir.ops.elementwise import AffineAttrs, ClipAttrs, DiffersAttrs, ReluAttrs, SqrtAttrs
from netc.ir.ops.loss import AccuracyAttrs, SoftmaxLossAttrs
from netc.ir.ops.normalize import SoftmaxAttrs
from netc.ir.ops.pick import OneHotAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import CountAttrs
from netc.ir.types import TensorType

LARGEST = float.fromhex("0x1.fffffep127")
# Caffe's kLOG_THRESHOLD: no probability counts as less
SMALLEST_PROBABILITY = 1e-20
# what the original adds to a distance before its gradient divides by it
DISTANCE_SHIFT = 1e-4


@layer("SoftmaxWithLoss", bottoms=(2, 2), tops=(0, 2), loss=True)
def import_softmax_with_loss(ctx: LayerContext) -> None:
    """``sum -log max(p, FLT_MIN) / d``, p being the label's softmax along ``softmax_param.axis``.

    Positions with ``ignore_label`` count nothing. d is the number of positions that count (VALID, the
    default), of all positions (FULL), of all axes before the classes (BATCH_SIZE; what the old
    ``normalize: false`` means), or 1 (NONE); never less than 1. A second top is the softmax.
    """
    axis = _class_axis(ctx, "softmax_param.axis", ctx.param("softmax_param").integer("axis"))
    ignore = _ignored(ctx)
    shape = ctx.shape()
    label = _labels(ctx, axis)
    losses = ctx.emit(
        "nn.softmax_loss", (ctx.bottoms[0], label), SoftmaxLossAttrs(axis, ignore), part="losses"
    )
    _normalised(
        ctx, losses, label, product(shape[:axis]), tuple(range(axis)), _normalization(ctx, "VALID"), ignore
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
    ignore = _ignored(ctx)
    met = ctx.emit("math.mul", (x, target), part="met")
    losses = ctx.emit("math.sub", (ctx.emit("math.bnll", (x,), part="bnll"), met), part="losses")
    if ignore is not None:
        losses = ctx.emit("math.mul", (losses, _counting(ctx, target, ignore)), part="losses")
    _normalised(ctx, losses, target, shape[0], (0,), _normalization(ctx, "BATCH_SIZE"), ignore)
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
    _loss(ctx, ctx.emit("math.mul", (gap, gap), part="square"), shape[0], (0,), factor=0.5)


@layer("HingeLoss", bottoms=(2, 2), tops=(0, 1), loss=True)
def import_hinge_loss(ctx: LayerContext) -> None:
    """``sum max(0, 1 - t x) / N`` (L1), or of its squares (L2); t is 1 for the label's class, else -1."""
    norm = ctx.param("hinge_loss_param").text("norm")
    shape = ctx.shape()
    rows, classes = _rows_of_classes(ctx)
    x = ctx.reshape(ctx.bottoms[0], (rows, classes), part="rows")
    sign = ctx.emit("math.affine", (_one_hot(ctx, rows, classes),), AffineAttrs(-2.0, 1.0), part="sign")
    margin = ctx.emit("math.mul", (x, sign), part="margin")
    margin = ctx.emit("math.affine", (margin,), AffineAttrs(1.0, 1.0), part="margin")
    terms = ctx.emit("math.relu", (margin,), ReluAttrs(), part="terms")
    if norm == "L2":
        terms = ctx.emit("math.mul", (terms, terms), part="square")
    _loss(ctx, terms, shape[0], (0,))


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
    _loss(ctx, terms, shape[0], (0,), factor=0.5)


@layer("MultinomialLogisticLoss", bottoms=(2, 2), tops=(0, 1), loss=True)
def import_multinomial_logistic_loss(ctx: LayerContext) -> None:
    """``sum -log max(p[label], 1e-20) / N``; the input holds probabilities."""
    rows, classes = _rows_of_classes(ctx)
    p = ctx.reshape(ctx.bottoms[0], (rows, classes), part="rows")
    # the original's gradient is -1 / max(p, 1e-20): it does not vanish where p is cut
    safe = ctx.emit("math.clip", (p,), ClipAttrs(SMALLEST_PROBABILITY, LARGEST, straight=True), part="safe")
    logs = ctx.emit("math.log", (safe,), part="logs")
    terms = ctx.emit("math.mul", (logs, _one_hot(ctx, rows, classes)), part="terms")
    _loss(ctx, terms, rows, (0,), factor=-1.0)


@layer("InfogainLoss", bottoms=(2, 3), tops=(0, 2), loss=True)
def import_infogain_loss(ctx: LayerContext) -> None:
    """``sum_k -H[label, k] log max(p_k, 1e-20) / d`` with p the softmax of the input along ``axis``.

    The matrix H (K x K) is the third input. d is chosen as SoftmaxWithLoss chooses it, VALID by default.
    A second top is the softmax. H from a file (``source``) has to be fed as the third input here.
    """
    param = ctx.param("infogain_loss_param")
    if len(ctx.bottoms) < 3:
        raise ctx.error(
            "the infogain matrix of a file is not read",
            "infogain_loss_param.source" if param.has("source") else None,
            remedy="add a third bottom, and feed the matrix there",
        )
    axis = _class_axis(ctx, "infogain_loss_param.axis", param.integer("axis"))
    ctx.param("softmax_param")
    shape = ctx.shape()
    classes = shape[axis]
    if not isinstance(classes, int) or product(ctx.shape(2)) != classes * classes:
        raise ctx.error(f"needs a matrix of {classes}x{classes}, got {show_shape(ctx.shape(2))}", "bottom", 2)
    ignore = _ignored(ctx)
    label = _labels(ctx, axis)
    matrix = ctx.reshape(ctx.bottoms[2], (classes, classes), part="matrix")
    flat = ctx.reshape(label, (product(_shape(label)),), part="flat")
    gains = ctx.emit("tensor.take", (matrix, flat), part="gains")
    # (outer, classes, inner) beside (outer, inner, classes)
    outer, inner = product(shape[:axis]), product(shape[axis + 1 :])
    logs = ctx.reshape(_log_softmax(ctx, axis), (outer, classes, inner), part="logs")
    if inner != 1:
        gains = ctx.reshape(gains, (outer, inner, classes), part="gains")
        gains = ctx.transpose(gains, (0, 2, 1), part="gains")
    gains = ctx.reshape(gains, (outer, classes, inner), part="gains")
    terms = ctx.emit("math.mul", (logs, gains), part="terms")
    terms = ctx.emit("tensor.reduce", (terms,), ReduceAttrs("sum", (1,)), part="gained")
    terms = ctx.emit("math.affine", (terms,), AffineAttrs(-1.0), part="losses")
    terms = ctx.reshape(terms, _shape(label), part="losses")
    if ignore is not None:
        terms = ctx.emit("math.mul", (terms, _counting(ctx, label, ignore)), part="losses")
    _normalised(ctx, terms, label, outer, tuple(range(axis)), _normalization(ctx, "VALID"), ignore)
    if len(ctx.top_names) > 1:
        ctx.top(1, ctx.emit("nn.softmax", ctx.bottoms[:1], SoftmaxAttrs(axis), top=1))


@layer("Accuracy", bottoms=(2, 2), tops=(1, 2))
def import_accuracy(ctx: LayerContext) -> None:
    """The fraction of labels among the ``top_k`` best scores; ties count against the label.

    ``ignore_label`` does not count. A second top is the accuracy of every class.
    """
    param = ctx.param("accuracy_param")
    if param.has("ignore_labels"):
        raise ctx.refuse("accuracy_param.ignore_labels")
    axis = _class_axis(ctx, "accuracy_param.axis", param.integer("axis"))
    ignore = param.integer("ignore_label") if param.has("ignore_label") else None
    top_k = param.integer("top_k")
    classes = ctx.shape()[axis]
    if isinstance(classes, int) and top_k > classes:
        raise ctx.error(
            f"top_k must be at most the number of classes, {classes}, got {top_k}", "accuracy_param.top_k"
        )
    operands = (ctx.bottoms[0], _labels(ctx, axis))
    fields = {"top_k": "accuracy_param.top_k"}
    for top in range(len(ctx.top_names)):
        attrs = AccuracyAttrs(axis, top_k, ignore, per_class=top == 1)
        ctx.top(top, ctx.emit("nn.accuracy", operands, attrs, top=top, fields=fields))


# ---- labels


def _class_axis(ctx: LayerContext, path: str, axis: int) -> int:
    return ctx.axis(path, len(ctx.shape()), axis)


def _labels(ctx: LayerContext, axis: int) -> Value:
    """The labels in the shape of the first bottom without its axis of classes."""
    shape = ctx.shape()
    wanted = (*shape[:axis], *shape[axis + 1 :])
    if product(ctx.shape(1)) != product(wanted):
        raise ctx.error(
            f"needs one label a position: {product(wanted)} for {show_shape(shape)} with classes on axis "
            f"{axis}, got {show_shape(ctx.shape(1))}",
            "bottom",
            1,
        )
    return ctx.reshape(ctx.bottoms[1], wanted, part="label")


def _rows_of_classes(ctx: LayerContext) -> tuple[Dim, int]:
    """The first bottom's shape as rows of scores; one label a row."""
    shape = ctx.shape()
    classes = product(shape[1:])
    if not shape or not isinstance(classes, int):
        raise ctx.error(
            f"needs an input of (N, classes) with a fixed number of classes, got {show_shape(shape)}"
        )
    if product(ctx.shape(1)) != shape[0]:
        raise ctx.error(f"needs one label a row, {shape[0]}, got {show_shape(ctx.shape(1))}", "bottom", 1)
    return shape[0], classes


def _one_hot(ctx: LayerContext, rows: Dim, classes: int) -> Value:
    label = ctx.reshape(ctx.bottoms[1], (rows,), part="label")
    return ctx.emit("tensor.one_hot", (label,), OneHotAttrs(classes), part="class")


def _log_softmax(ctx: LayerContext, axis: int) -> Value:
    """``log max(p, 1e-20)``, p the first bottom's softmax; its gradient is that of log p, as in the original.

    Not the logarithm of p, which is 0 for scores far from the largest and would give them no gradient.
    """
    x = ctx.bottoms[0]
    largest = ctx.emit("tensor.reduce", (x,), ReduceAttrs("max", (axis,)), part="largest")
    largest = ctx.emit("math.stop_gradient", (largest,), part="largest")
    gap = ctx.emit("math.sub", (x, largest), part="gap")
    raised = ctx.emit("math.exp", (gap,), part="raised")
    total = ctx.emit("tensor.reduce", (raised,), ReduceAttrs("sum", (axis,)), part="sum")
    logs = ctx.emit("math.sub", (gap, ctx.emit("math.log", (total,), part="log")), part="logs")
    least = ClipAttrs(math.log(SMALLEST_PROBABILITY), LARGEST, straight=True)
    return ctx.emit("math.clip", (logs,), least, part="logs")


# ---- normalisation


def _ignored(ctx: LayerContext) -> int | None:
    param = ctx.param("loss_param")
    return param.integer("ignore_label") if param.has("ignore_label") else None


def _normalization(ctx: LayerContext, default: str) -> str:
    """The mode; the old ``normalize`` means VALID or BATCH_SIZE, and counts where no mode is given."""
    param = ctx.param("loss_param")
    if param.has("normalization"):
        return param.text("normalization")
    if param.has("normalize"):
        return "VALID" if param.flag("normalize") else "BATCH_SIZE"
    return default


def _counting(ctx: LayerContext, label: Value, ignore: int) -> Value:
    return ctx.emit("math.differs", (label,), DiffersAttrs(ignore), part="counts")


def _normalised(
    ctx: LayerContext,
    losses: Value,
    label: Value,
    batch: Dim,
    batch_axes: Sequence[int],
    mode: str,
    ignore: int | None,
) -> None:
    """The first top: the sum of the losses over what the mode says."""
    if mode == "BATCH_SIZE":
        _loss(ctx, losses, batch, batch_axes)
    elif mode == "NONE":
        _loss(ctx, losses, 1, ())
    elif mode == "FULL" or ignore is None:
        _loss(ctx, losses, product(_shape(losses)), range(len(_shape(losses))))
    else:
        count = _sum(ctx, _counting(ctx, label, ignore), part="valid")
        count = ctx.emit("math.clip", (count,), ClipAttrs(1.0, LARGEST), part="divisor")
        ctx.top(0, ctx.emit("math.div", (_sum(ctx, losses, part="total"), count)))


def _loss(
    ctx: LayerContext, losses: Value, divisor: Dim, axes: Sequence[int], *, factor: float = 1.0
) -> None:
    """The first top: ``factor sum(losses) / divisor``, where the axes' extents make the divisor."""
    total = _sum(ctx, losses, part="total")
    if not isinstance(divisor, int):
        number = ctx.emit("tensor.count", (losses,), CountAttrs(tuple(axes)), part="number")
        total = ctx.emit("math.div", (total, number), part="mean")
        divisor = 1
    ctx.top(0, ctx.emit("math.affine", (total,), AffineAttrs(factor / divisor)))


def _sum(ctx: LayerContext, value: Value, *, part: str) -> Value:
    shape = _shape(value)
    if shape:
        value = ctx.emit("tensor.reduce", (value,), ReduceAttrs("sum", tuple(range(len(shape)))), part=part)
    return ctx.reshape(value, (), part=part)


def _shape(value: Value) -> Shape:
    return cast(TensorType, value.type).shape
