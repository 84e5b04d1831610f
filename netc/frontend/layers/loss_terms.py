"""What loss layers share: labels of positions, what is ignored, and what a sum of losses is divided by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.ir.core import Value
from netc.ir.dim import Dim, product
from netc.ir.ops.elementwise import AffineAttrs, ClipAttrs, DiffersAttrs
from netc.ir.ops.pick import OneHotAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import CountAttrs
from netc.ir.types import TensorType

LARGEST = float.fromhex("0x1.fffffep127")
# Caffe's kLOG_THRESHOLD: no probability counts as less
SMALLEST_PROBABILITY = 1e-20

# ---- labels


def class_axis(ctx: LayerContext, path: str, axis: int) -> int:
    """The axis of the first bottom that the classes lie along."""
    return ctx.axis(path, len(ctx.shape()), axis)


def labels_of(ctx: LayerContext, axis: int) -> Value:
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


def rows_of_classes(ctx: LayerContext) -> tuple[Dim, int]:
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


def one_hot(ctx: LayerContext, rows: Dim, classes: int) -> Value:
    """(rows, classes): 1 for the class of each row's label."""
    label = ctx.reshape(ctx.bottoms[1], (rows,), part="label")
    return ctx.emit("tensor.one_hot", (label,), OneHotAttrs(classes), part="class")


def log_softmax(ctx: LayerContext, axis: int) -> Value:
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


def ignored_label(ctx: LayerContext) -> int | None:
    """The label whose positions count nothing."""
    param = ctx.param("loss_param")
    return param.integer("ignore_label") if param.has("ignore_label") else None


def normalization_of(ctx: LayerContext, default: str) -> str:
    """The mode; the old ``normalize`` means VALID or BATCH_SIZE, and counts where no mode is given."""
    param = ctx.param("loss_param")
    if param.has("normalization"):
        return param.text("normalization")
    if param.has("normalize"):
        return "VALID" if param.flag("normalize") else "BATCH_SIZE"
    return default


def counting(ctx: LayerContext, label: Value, ignore: int) -> Value:
    """1 for the positions that count, else 0."""
    return ctx.emit("math.differs", (label,), DiffersAttrs(ignore), part="counts")


def put_normalised(
    ctx: LayerContext,
    losses: Value,
    label: Value,
    batch: Dim,
    batch_axes: Sequence[int],
    mode: str,
    ignore: int | None,
) -> None:
    """The first top: the sum of the losses over what the mode says (PRE_FIXED: a number in the file)."""
    if mode == "BATCH_SIZE":
        put_loss(ctx, losses, batch, batch_axes)
    elif mode == "NONE":
        put_loss(ctx, losses, 1, ())
    elif mode == "PRE_FIXED":
        divisor = max(ctx.param("loss_param").number("pre_fixed_normalizer"), 1.0)
        put_loss(ctx, losses, 1, (), factor=1 / divisor)
    elif mode == "FULL" or ignore is None:
        put_loss(ctx, losses, product(shape_of(losses)), range(len(shape_of(losses))))
    else:
        count = sum_of(ctx, counting(ctx, label, ignore), part="valid")
        count = ctx.emit("math.clip", (count,), ClipAttrs(1.0, LARGEST), part="divisor")
        ctx.top(0, ctx.emit("math.div", (sum_of(ctx, losses, part="total"), count)))


def put_loss(
    ctx: LayerContext, losses: Value, divisor: Dim, axes: Sequence[int], *, factor: float = 1.0
) -> None:
    """The first top: ``factor sum(losses) / divisor``, where the axes' extents make the divisor."""
    total = sum_of(ctx, losses, part="total")
    if not isinstance(divisor, int):
        number = ctx.emit("tensor.count", (losses,), CountAttrs(tuple(axes)), part="number")
        total = ctx.emit("math.div", (total, number), part="mean")
        divisor = 1
    ctx.top(0, ctx.emit("math.affine", (total,), AffineAttrs(factor / divisor)))


def sum_of(ctx: LayerContext, value: Value, *, part: str) -> Value:
    """The sum of all elements, without axes."""
    shape = shape_of(value)
    if shape:
        value = ctx.emit("tensor.reduce", (value,), ReduceAttrs("sum", tuple(range(len(shape)))), part=part)
    return ctx.reshape(value, (), part=part)


def shape_of(value: Value) -> Shape:
    """The shape of a value."""
    return cast(TensorType, value.type).shape
