"""ONNX nodes for arithmetic on single elements, reductions and products of matrices."""

from __future__ import annotations

from collections.abc import Mapping

from netc.backends.onnx.graph import OnnxGraph, Rule, emit, plain
from netc.ir.core import Op


def _softmax(graph: OnnxGraph, op: Op) -> None:
    emit(graph, op, "Softmax", axis=op.attrs.axis)


def _inner_product(graph: OnnxGraph, op: Op) -> None:
    emit(graph, op, "Gemm", transB=0 if op.attrs.transpose else 1)


def _relu(graph: OnnxGraph, op: Op) -> None:
    if op.attrs.slope == 0:
        emit(graph, op, "Relu")
    else:
        emit(graph, op, "LeakyRelu", alpha=op.attrs.slope)


def _elu(graph: OnnxGraph, op: Op) -> None:
    emit(graph, op, "Elu", alpha=op.attrs.alpha)


def _pow(graph: OnnxGraph, op: Op) -> None:
    emit(graph, op, "Pow", graph.scalar(graph.name(op.result), op.attrs.exponent))


def _affine(graph: OnnxGraph, op: Op) -> None:
    result = graph.name(op.result)
    value = graph.name(op.operands[0])
    if op.attrs.scale != 1 or op.attrs.shift == 0:
        target = result if op.attrs.shift == 0 else graph.fresh(f"{result}.scaled")
        value = graph.node("Mul", [value, graph.scalar(result, op.attrs.scale)], target)
    if op.attrs.shift != 0:
        graph.node("Add", [value, graph.scalar(result, op.attrs.shift)], result)


def _reciprocal_or_zero(graph: OnnxGraph, op: Op) -> None:
    result = graph.name(op.result)
    x = graph.name(op.operands[0])
    zero = graph.scalar(result, 0)
    is_zero = graph.node("Equal", [x, zero], graph.fresh(f"{result}.is_zero"))
    inverse = graph.node("Reciprocal", [x], graph.fresh(f"{result}.inverse"))
    graph.node("Where", [is_zero, zero, inverse], result)


def _clip(graph: OnnxGraph, op: Op) -> None:
    near = graph.name(op.result)
    emit(graph, op, "Clip", graph.scalar(near, op.attrs.low), graph.scalar(near, op.attrs.high))


def _threshold(graph: OnnxGraph, op: Op) -> None:
    near = graph.name(op.result)
    above = graph.step("Greater", [graph.name(op.operands[0]), graph.scalar(near, op.attrs.threshold)], near)
    graph.as_floats(above, op)


def _differs(graph: OnnxGraph, op: Op) -> None:
    near = graph.name(op.result)
    whole = graph.cast(graph.name(op.operands[0]), near, "int64")
    equal = graph.step("Equal", [whole, graph.integers(near, op.attrs.value)], near)
    graph.as_floats(graph.step("Not", [equal], near), op)


def _reduce(graph: OnnxGraph, op: Op) -> None:
    axes = list(op.attrs.axes)
    if op.attrs.kind == "sum":  # the one reduction whose axes are an operand in this opset
        near = graph.name(op.result)
        emit(graph, op, "ReduceSum", graph.integers(near, axes), keepdims=1)
    else:
        emit(graph, op, {"mean": "ReduceMean", "max": "ReduceMax"}[op.attrs.kind], axes=axes, keepdims=1)


def _moments(graph: OnnxGraph, op: Op) -> None:
    (x,), (mean, variance) = op.operands, map(graph.name, op.results)
    axes = list(op.attrs.axes)
    graph.node("ReduceMean", [graph.name(x)], mean, axes=axes, keepdims=1)
    centred = graph.step("Sub", [graph.name(x), mean], variance)
    square = graph.step("Mul", [centred, centred], variance)
    graph.node("ReduceMean", [square], variance, axes=axes, keepdims=1)


RULES: Mapping[str, Rule] = {
    "math.abs": plain("Abs"),
    "math.add": plain("Add"),
    "math.affine": _affine,
    "math.bnll": plain("Softplus"),
    "math.clip": _clip,
    "math.differs": _differs,
    "math.div": plain("Div"),
    "math.elu": _elu,
    "math.exp": plain("Exp"),
    "math.log": plain("Log"),
    "math.max": plain("Max"),
    "math.mul": plain("Mul"),
    "math.pow": _pow,
    "math.prelu": plain("PRelu"),
    "math.reciprocal_or_zero": _reciprocal_or_zero,
    "math.relu": _relu,
    "math.sigmoid": plain("Sigmoid"),
    "math.sqrt": plain("Sqrt"),
    "math.sub": plain("Sub"),
    "math.tanh": plain("Tanh"),
    "math.threshold": _threshold,
    "nn.inner_product": _inner_product,
    "nn.moments": _moments,
    "nn.softmax": _softmax,
    "tensor.reduce": _reduce,
}
