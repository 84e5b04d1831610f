"""What compares predictions with labels: the softmax loss of every position, accuracy.

Labels are floats, as all of Caffe's blobs are, and are rounded towards zero. Row-major only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.ops.window import check_one_dtype
from netc.ir.types import TensorType

# Caffe's FLT_MIN, in double too: no probability counts as less
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class SoftmaxLossAttrs:
    """``axis`` >= 0 of the classes; positions labelled ``ignore`` have no loss."""

    axis: int
    ignore: int | None = None


@dataclass(frozen=True, slots=True)
class AccuracyAttrs:
    """``axis`` >= 0 of the classes; a label counts as found among the ``top_k`` best scores.

    Positions labelled ``ignore`` do not count. ``per_class``: one accuracy for each class.
    """

    axis: int
    top_k: int = 1
    ignore: int | None = None
    per_class: bool = False


def _check_operands(operands: tuple[TensorType, ...], axis: int) -> TensorType:
    """The type of the labels: that of the scores without the axis of classes."""
    x, label = operands
    check_one_dtype(operands)
    for operand in operands:
        if operand.layout is not None:
            raise OpError(f"a row-major operand expected, got {operand}")
    if not 0 <= axis < x.rank:
        raise OpError(f"axis must be within 0..{x.rank - 1} for {x}, got {axis}", attr="axis")
    expected = x.with_shape(*x.shape[:axis], *x.shape[axis + 1 :])
    if label != expected:
        raise OpError(f"labels {expected} expected for {x} with classes on axis {axis}, got {label}")
    return expected


def _infer_softmax_loss(operands: tuple[TensorType, ...], attrs: SoftmaxLossAttrs) -> tuple[TensorType, ...]:
    return (_check_operands(operands, attrs.axis),)


def _at_label(x: Array, label: Array, axis: int, missing: float) -> Array:
    """x at each position's label; ``missing`` where that is no class."""
    whole = np.trunc(label)
    inside = (whole >= 0) & (whole < x.shape[axis])
    index = np.expand_dims(np.where(inside, whole, 0).astype(np.int64), axis)
    found = np.take_along_axis(x, index, axis).squeeze(axis)
    return np.asarray(np.where(inside, found, x.dtype.type(missing)))


def _softmax_loss(operands: tuple[Array, ...], attrs: SoftmaxLossAttrs) -> tuple[Array, ...]:
    x, label = operands
    raised = np.exp(x - np.max(x, axis=attrs.axis, keepdims=True))
    probability = _at_label(raised / np.sum(raised, axis=attrs.axis, keepdims=True), label, attrs.axis, 0.0)
    loss = -np.log(np.maximum(probability, x.dtype.type(SMALLEST_PROBABILITY)))
    if attrs.ignore is not None:
        loss = np.where(np.trunc(label) == attrs.ignore, x.dtype.type(0), loss)
    return (np.asarray(loss),)


def _infer_softmax_loss_gradient(
    operands: tuple[TensorType, ...], attrs: SoftmaxLossAttrs
) -> tuple[TensorType, ...]:
    x, label, dloss = operands
    if _check_operands((x, label), attrs.axis) != dloss:
        raise OpError(f"a gradient for each position, {label}, expected, got {dloss}")
    return (x,)


def _softmax_loss_gradient(operands: tuple[Array, ...], attrs: SoftmaxLossAttrs) -> tuple[Array, ...]:
    x, label, dloss = operands
    axis, classes = attrs.axis, x.shape[attrs.axis]
    raised = np.exp(x - np.max(x, axis=axis, keepdims=True))
    probability = raised / np.sum(raised, axis=axis, keepdims=True)
    whole = np.trunc(label)
    counts = (whole >= 0) & (whole < classes)
    if attrs.ignore is not None:
        counts &= whole != attrs.ignore
    index = np.arange(classes).reshape(-1, *[1] * (x.ndim - 1 - axis))
    hit = np.expand_dims(whole, axis) == index
    scale = np.expand_dims(np.where(counts, dloss, x.dtype.type(0)), axis)
    return (np.asarray((probability - hit) * scale, x.dtype),)


def _infer_accuracy(operands: tuple[TensorType, ...], attrs: AccuracyAttrs) -> tuple[TensorType, ...]:
    _check_operands(operands, attrs.axis)
    x = operands[0]
    if attrs.top_k < 1:
        raise OpError(f"top_k must be >= 1, got {attrs.top_k}", attr="top_k")
    return (x.with_shape(*([x.shape[attrs.axis]] if attrs.per_class else [])),)


def _accuracy(operands: tuple[Array, ...], attrs: AccuracyAttrs) -> tuple[Array, ...]:
    x, label = operands
    whole = np.trunc(label)
    own = np.expand_dims(_at_label(x, label, attrs.axis, np.nan), attrs.axis)
    # the label's own score is among those counted; a NaN is never as good as anything
    found = (
        (np.sum(x >= own, axis=attrs.axis) - 1 < attrs.top_k) & (whole >= 0) & (whole < x.shape[attrs.axis])
    )
    counts = np.ones(label.shape, bool) if attrs.ignore is None else whole != attrs.ignore
    found &= counts
    if not attrs.per_class:
        total = np.count_nonzero(counts)
        return (np.asarray(np.count_nonzero(found) / total if total else 0, x.dtype),)
    classes = np.arange(x.shape[attrs.axis])
    hits, totals = (np.sum(whole[mask][:, np.newaxis] == classes, axis=0) for mask in (found, counts))
    return (np.asarray(hits / np.maximum(totals, 1), x.dtype),)


SOFTMAX_LOSS = define(
    OpDef(
        "nn.softmax_loss",
        "tensor",
        "-ln(max(p, FLT_MIN)) for every position, p the softmax of x along the axis at the position's label; "
        "0 where the label is ignored, and p = 0 where it is no class. x has one axis more than the labels.",
        ("x", "label"),
        SoftmaxLossAttrs,
        infer=_infer_softmax_loss,
        reference=_softmax_loss,
    )
)
SOFTMAX_LOSS_GRADIENT = define(
    OpDef(
        "nn.softmax_loss_gradient",
        "tensor",
        "(p - e) * dloss along the axis, p the softmax of x, e 1 at the position's label and 0 elsewhere: "
        "what nn.softmax_loss's x gets from the losses' gradient; 0 where the label is ignored or no class. "
        "As in Caffe a probability below FLT_MIN counts as itself.",
        ("x", "label", "dloss"),
        SoftmaxLossAttrs,
        infer=_infer_softmax_loss_gradient,
        reference=_softmax_loss_gradient,
        vjp=NOT_DIFFERENTIABLE,
    )
)
ACCURACY = define(
    OpDef(
        "nn.accuracy",
        "tensor",
        "The fraction of positions whose label has fewer than top_k other scores >= its own: as in Caffe "
        "ties count against the label. 0 where nothing counts. The result has no axes, or one of classes.",
        ("x", "label"),
        AccuracyAttrs,
        infer=_infer_accuracy,
        reference=_accuracy,
        vjp=NOT_DIFFERENTIABLE,
    )
)
