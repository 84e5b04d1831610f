"""ONNX nodes for what moves or picks elements: shapes, slices, padding, rows by index."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netc.backends.onnx.graph import DTYPES, OnnxGraph, Rule, emit, operands, static_extents, tensor_of
from netc.ir.core import Op
from netc.ir.opdef import opdef
from netc.ir.types import TensorType

TO_THE_END = 2**63 - 1


def _reshape(graph: OnnxGraph, op: Op) -> None:
    before = tensor_of(op.operands[0]).shape
    shape: list[int] = []
    for axis, extent in enumerate(op.attrs.shape):
        if isinstance(extent, int):
            shape.append(extent)
        elif axis < len(before) and before[axis] == extent:
            shape.append(0)  # the extent that the operand has there
        else:
            shape.append(-1)
    if shape.count(-1) > 1:
        static_extents(op, op.attrs.shape, "this reshape")
    emit(graph, op, "Reshape", graph.integers(graph.name(op.result), shape))


def _transpose(graph: OnnxGraph, op: Op) -> None:
    emit(graph, op, "Transpose", perm=list(op.attrs.perm))


def _concat(graph: OnnxGraph, op: Op) -> None:
    emit(graph, op, "Concat", axis=op.attrs.axis)


def _slice(graph: OnnxGraph, op: Op) -> None:
    whole = tensor_of(op.operands[0]).shape
    starts, ends, axes = [], [], []
    for axis, (start, extent) in enumerate(zip(op.attrs.start, op.attrs.shape, strict=True)):
        if start == 0 and extent == whole[axis]:
            continue
        end = extent + start
        if not isinstance(end, int) and end != whole[axis]:
            static_extents(op, op.attrs.shape, "this slice")
        starts.append(start)
        ends.append(end if isinstance(end, int) else TO_THE_END)
        axes.append(axis)
    near = graph.name(op.result)
    more = [graph.integers(near, each) for each in (starts, ends, axes)]
    emit(graph, op, "Slice", *more)


def _fill(graph: OnnxGraph, op: Op) -> None:
    kind: TensorType = op.attrs.tensor
    shape = static_extents(op, kind.shape, "a constant")
    value = graph.constant(graph.name(op.result), np.full(shape, op.attrs.value, DTYPES[kind.dtype]))
    graph.node("Identity", [value], graph.name(op.result))


def _tile(graph: OnnxGraph, op: Op) -> None:
    repeats = [1] * tensor_of(op.result).rank
    repeats[op.attrs.axis] = op.attrs.tiles
    emit(graph, op, "Tile", graph.integers(graph.name(op.result), repeats))


def _pad(graph: OnnxGraph, op: Op) -> None:
    a = op.attrs
    near = graph.name(op.result)
    value = [graph.scalar(near, a.value)] if a.kind == "constant" else []
    emit(graph, op, "Pad", graph.integers(near, [*a.low, *a.high]), *value, mode=a.kind)


def _count(graph: OnnxGraph, op: Op) -> None:
    near = graph.name(op.result)
    shape = graph.step("Shape", operands(graph, op), near)
    extents = graph.step("Gather", [shape, graph.integers(near, op.attrs.axes)], near)
    graph.as_floats(graph.step("ReduceProd", [extents], near, keepdims=0), op)


def _take(graph: OnnxGraph, op: Op) -> None:
    """Rows by index; where there is no such row, zeros."""
    near = graph.name(op.result)
    table, indices = operands(graph, op)
    kind = tensor_of(op.operands[0])
    (rows,) = static_extents(op, kind.shape[:1], "a choice of rows")
    index, inside = graph.index(indices, near, rows)
    taken = graph.step("Gather", [table, index], near, axis=0)
    where = graph.integers(near, [-1, *[1] * (kind.rank - 1)])
    mask = graph.step("Reshape", [inside, where], near)
    graph.node("Where", [mask, taken, graph.scalar(near, 0)], near)


def _one_hot(graph: OnnxGraph, op: Op) -> None:
    near = graph.name(op.result)
    whole = graph.cast(graph.name(op.operands[0]), near, "int64")
    column = graph.step("Unsqueeze", [whole, graph.integers(near, [-1])], near)
    equal = graph.step("Equal", [column, graph.integers(near, range(op.attrs.size))], near)
    graph.as_floats(equal, op)


def _top_k(graph: OnnxGraph, op: Op) -> None:
    """ONNX takes the first of equal values, Caffe the last: so the axis is read backwards."""
    a = op.attrs
    near = graph.name(op.result)
    (extent,) = static_extents(op, tensor_of(op.operands[0]).shape[a.axis : a.axis + 1], "a top k")
    slicing = [graph.integers(near, [each]) for each in (-1, -TO_THE_END, a.axis, -1)]
    backwards = graph.step("Slice", [*operands(graph, op), *slicing], near)
    values = near if a.what == "values" else graph.fresh(f"{near}.values")
    indices = graph.fresh(f"{near}.indices")
    node = graph.onnx.helper.make_node(
        "TopK", [backwards, graph.integers(near, [a.k])], [values, indices], axis=a.axis
    )
    graph.nodes.append(node)
    if a.what == "indices":
        graph.as_floats(graph.step("Sub", [graph.integers(near, extent - 1), indices], near), op)


def _prior_box(graph: OnnxGraph, op: Op) -> None:
    """A constant, which follows from sizes alone."""
    static_extents(op, (*op.attrs.feature, *op.attrs.image), "the default boxes")
    reference = opdef(op.name).reference
    assert reference is not None
    (boxes,) = reference((), op.attrs)
    graph.node("Identity", [graph.constant(graph.name(op.result), boxes)], graph.name(op.result))


RULES: Mapping[str, Rule] = {
    "detect.prior_box": _prior_box,
    "tensor.concat": _concat,
    "tensor.count": _count,
    "tensor.fill": _fill,
    "tensor.one_hot": _one_hot,
    "tensor.pad": _pad,
    "tensor.reshape": _reshape,
    "tensor.slice": _slice,
    "tensor.take": _take,
    "tensor.tile": _tile,
    "tensor.top_k": _top_k,
    "tensor.transpose": _transpose,
}
