"""ONNX nodes for what compares predictions with labels: the softmax loss, accuracy."""

from __future__ import annotations

from collections.abc import Mapping

from netc.backends.onnx.graph import OnnxGraph, Rule, operands, static_extents, tensor_of
from netc.ir.core import Op
from netc.ir.ops.loss import SMALLEST_PROBABILITY


def _softmax_loss(graph: OnnxGraph, op: Op) -> None:
    a = op.attrs
    near = graph.name(op.result)
    scores, labels = operands(graph, op)
    probabilities = graph.step("Softmax", [scores], near, axis=a.axis)
    own, inside = _at_label(graph, op, probabilities, labels)
    own = graph.step("Where", [inside, _without(graph, own, near, a.axis), graph.scalar(near, 0)], near)
    least = graph.step("Max", [own, graph.scalar(near, SMALLEST_PROBABILITY)], near)
    log = graph.step("Log", [least], near)
    if a.ignore is None:
        graph.node("Neg", [log], near)
        return
    loss = graph.step("Neg", [log], near)
    graph.node("Where", [_is(graph, labels, near, a.ignore), graph.scalar(near, 0), loss], near)


def _accuracy(graph: OnnxGraph, op: Op) -> None:
    a = op.attrs
    near = graph.name(op.result)
    scores, labels = operands(graph, op)
    own, inside = _at_label(graph, op, scores, labels)
    as_good = graph.cast(graph.step("GreaterOrEqual", [scores, own], near), near, "int64")
    axis = graph.integers(near, [a.axis])
    # the label's own score is among those counted
    count = graph.step("ReduceSum", [as_good, axis], near, keepdims=0)
    few = graph.step("LessOrEqual", [count, graph.integers(near, a.top_k)], near)
    found = graph.step("And", [few, inside], near)
    if a.ignore is None:
        counts = graph.step("Or", [found, graph.step("Not", [found], near)], near)  # all of them
    else:
        counts = graph.step("Not", [_is(graph, labels, near, a.ignore)], near)
        found = graph.step("And", [found, counts], near)
    axes = graph.integers(near, range(tensor_of(op.operands[1]).rank))
    hits, total = (_summed(graph, op, each, axes) for each in (found, counts))
    graph.node("Div", [hits, graph.step("Max", [total, graph.scalar(near, 1)], near)], near)


def _summed(graph: OnnxGraph, op: Op, marks: str, axes: str) -> str:
    """How many positions are marked: of all, or of each class."""
    near = graph.name(op.result)
    marks = graph.cast(marks, near, "float32")
    if op.attrs.per_class:
        marks = _by_class(graph, op, marks)
    return graph.step("ReduceSum", [marks, axes], near, keepdims=0)


def _by_class(graph: OnnxGraph, op: Op, marks: str) -> str:
    """Marks of positions, with one more axis: which class the position's label is."""
    near = graph.name(op.result)
    (classes,) = static_extents(op, tensor_of(op.result).shape, "an accuracy by class")
    last = graph.integers(near, [-1])
    whole = graph.cast(graph.name(op.operands[1]), near, "int64")
    column = graph.step("Unsqueeze", [whole, last], near)
    own = graph.step("Equal", [column, graph.integers(near, range(classes))], near)
    spread = graph.step("Unsqueeze", [marks, last], near)
    return graph.step("Mul", [graph.cast(own, near, "float32"), spread], near)


def _at_label(graph: OnnxGraph, op: Op, values: str, labels: str) -> tuple[str, str]:
    """The values at each position's label, with an axis of one element, and whether it is a class."""
    near, axis = graph.name(op.result), op.attrs.axis
    (classes,) = static_extents(op, tensor_of(op.operands[0]).shape[axis : axis + 1], "a number of classes")
    index, inside = graph.index(labels, near, classes)
    index = graph.step("Unsqueeze", [index, graph.integers(near, [axis])], near)
    return graph.step("GatherElements", [values, index], near, axis=axis), inside


def _without(graph: OnnxGraph, value: str, near: str, axis: int) -> str:
    return graph.step("Squeeze", [value, graph.integers(near, [axis])], near)


def _is(graph: OnnxGraph, labels: str, near: str, label: int) -> str:
    return graph.step("Equal", [graph.cast(labels, near, "int64"), graph.integers(near, label)], near)


RULES: Mapping[str, Rule] = {
    "nn.accuracy": _accuracy,
    "nn.softmax_loss": _softmax_loss,
}
