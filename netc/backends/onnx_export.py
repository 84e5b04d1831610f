"""Writes a tensor-level function as an ONNX model: a node or a few for each op, parameters as initializers.

The opset is pinned, so that the same net gives the same file whatever version of the library is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from netc.ir.core import Func, Op, Value
from netc.ir.diagnostics import NetcError
from netc.ir.dim import Dim
from netc.ir.ops.pool import PoolAttrs, pool_extents, window_counts
from netc.ir.types import TensorType

OPSET = 13
IR_VERSION = 8  # of the file format, the one that came with the opset's time
MAX_BYTES = 2**31 - 1  # of one protobuf message
_TO_THE_END = 2**63 - 1

Array = np.ndarray[Any, Any]


def to_onnx(func: Func, params: Mapping[str, Array], name: str, producer_version: str) -> bytes:
    """The model's bytes. ``params`` holds the array of each argument of role ``param``.

    NetcError, located, for an op without a counterpart, or a size that must be known and is not.
    """
    onnx = _library()
    size = sum(array.nbytes for array in params.values())
    if size > MAX_BYTES:
        raise NetcError(f"the parameters take {size} bytes, and one ONNX file holds {MAX_BYTES}")
    graph = _Graph(onnx, func)
    for param in func.params:
        graph.initializer(graph.name(param), np.ascontiguousarray(params[param.name]))
    for op in func.ops:
        rule = _RULES.get(op.name)
        if rule is None:
            raise NetcError(
                f"{op.name} has no counterpart in ONNX's opset {OPSET}",
                location=op.location,
                remedy="cut the net before this layer, or run it with netc",
            )
        rule(graph, op)
    graph.finish()
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            name,
            [graph.described(value, graph.name(value)) for value in func.inputs],
            [graph.described(v, n) for v, n in zip(func.results, func.result_names, strict=True)],
            graph.initializers,
        ),
        producer_name="netc",
        producer_version=producer_version,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _library() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise NetcError(
            "an export to ONNX needs the package onnx", remedy="install it with: pip install 'netc[onnx]'"
        ) from None
    return onnx


@dataclass
class _Graph:
    """The nodes so far. Results of the function have its result names; other names give way to them."""

    onnx: Any
    func: Func
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        inputs = {value.name for value in self.func.inputs}
        self._taken = inputs | set(self.func.result_names)
        self._names = {name: name for name in inputs}
        arguments = {value.name for value in self.func.args}
        for value, name in zip(self.func.results, self.func.result_names, strict=True):
            if value.name not in arguments and name not in inputs:
                self._names.setdefault(value.name, name)

    def name(self, value: Value) -> str:
        """The name of a value in the model."""
        if value.name not in self._names:
            self._names[value.name] = self.fresh(value.name)
        return self._names[value.name]

    def fresh(self, base: str) -> str:
        """A name that nothing has yet."""
        name, count = base, 0
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node; the result is its output's name."""
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def initializer(self, name: str, array: Array) -> str:
        """Add a constant; the result is its name."""
        self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def constant(self, near: str, array: Array) -> str:
        """Add a constant under a new name."""
        return self.initializer(self.fresh(f"{near}.const"), array)

    def scalar(self, near: str, value: float) -> str:
        """Add one 32-bit float."""
        return self.constant(near, np.array(value, np.float32))

    def described(self, value: Value, name: str) -> Any:
        """The type of an input or an output; symbols stay as names."""
        kind = _tensor(value)
        element = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(_DTYPES[kind.dtype]))
        shape = [extent if isinstance(extent, int) else str(extent) for extent in kind.shape]
        return self.onnx.helper.make_tensor_value_info(name, element, shape)

    def finish(self) -> None:
        """Give results that are arguments, or that have two names, their names."""
        for value, name in zip(self.func.results, self.func.result_names, strict=True):
            if self.name(value) != name:
                self.node("Identity", [self.name(value)], name)


_DTYPES = {"f32": "float32", "f64": "float64", "i32": "int32", "i64": "int64"}
_Rule = Callable[[_Graph, Op], None]


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


def _operands(graph: _Graph, op: Op) -> list[str]:
    return [graph.name(value) for value in op.operands]


def _plain(kind: str) -> _Rule:
    """A rule for an op that is one node without attributes."""
    return lambda graph, op: _emit(graph, op, kind)


def _emit(graph: _Graph, op: Op, kind: str, *more: str, **attributes: Any) -> None:
    graph.node(kind, [*_operands(graph, op), *more], graph.name(op.result), **attributes)


def _static(op: Op, shape: Sequence[Dim], why: str) -> list[int]:
    known = [extent for extent in shape if isinstance(extent, int)]
    if len(known) < len(shape):
        shown = ", ".join(map(str, shape))
        raise NetcError(
            f"{op.name}: {why} needs sizes that are numbers, got [{shown}]",
            location=op.location,
            remedy="state the input's shape: --input-shape NAME=1,3,224,224",
        )
    return known


def _conv(kind: str) -> _Rule:
    def rule(graph: _Graph, op: Op) -> None:
        a = op.attrs
        _emit(
            graph,
            op,
            kind,
            strides=list(a.stride),
            pads=[lo for lo, _ in a.pad] + [hi for _, hi in a.pad],
            dilations=list(a.dilation),
            group=a.group,
            kernel_shape=_static(op, _tensor(op.operands[1]).shape[2:], "a kernel"),
        )

    return rule


def _pool(graph: _Graph, op: Op) -> None:
    """Caffe's sizes by padding: as many elements on the far side as the last window needs."""
    a: PoolAttrs = op.attrs
    sizes = _static(op, _tensor(op.operands[0]).shape[2:], "pooling")
    out = [extent for extent in pool_extents(tuple(sizes), a) if isinstance(extent, int)]
    low = [lo for lo, _ in a.pad]
    needed = [
        (o - 1) * s + k - size - lo
        for o, s, k, size, lo in zip(out, a.stride, a.kernel, sizes, low, strict=True)
    ]
    high = [max(0, each) for each in needed]
    if any(hi >= k for hi, k in zip(high, a.kernel, strict=True)):
        raise NetcError(f"{op.name}: the last window is empty, which ONNX lacks", location=op.location)
    window = {"kernel_shape": list(a.kernel), "strides": list(a.stride), "pads": low + high}
    if a.kind == "max":
        _emit(graph, op, "MaxPool", **window)
        return
    counts = [
        window_counts(size, o, k, s, p, a.count_padding)
        for size, o, k, s, p in zip(sizes, out, a.kernel, a.stride, a.pad, strict=True)
    ]
    divisor = reduce(np.multiply.outer, counts)
    volume = math.prod(a.kernel)
    if np.all(divisor == volume):
        _emit(graph, op, "AveragePool", count_include_pad=1, **window)
        return
    result = graph.name(op.result)
    mean = graph.node(
        "AveragePool", _operands(graph, op), graph.fresh(f"{result}.mean"), count_include_pad=1, **window
    )
    # the divisors of windows at the border are Caffe's, not the kernel's size
    correction = (volume / divisor).astype(np.float32)[None, None]
    graph.node("Mul", [mean, graph.constant(result, correction)], result)


def _global_pool(graph: _Graph, op: Op) -> None:
    _emit(graph, op, "GlobalMaxPool" if op.attrs.kind == "max" else "GlobalAveragePool")


def _lrn(graph: _Graph, op: Op) -> None:
    a = op.attrs
    _emit(graph, op, "LRN", size=a.size, alpha=a.alpha, beta=a.beta, bias=a.k)


def _softmax(graph: _Graph, op: Op) -> None:
    _emit(graph, op, "Softmax", axis=op.attrs.axis)


def _inner_product(graph: _Graph, op: Op) -> None:
    _emit(graph, op, "Gemm", transB=0 if op.attrs.transpose else 1)


def _relu(graph: _Graph, op: Op) -> None:
    if op.attrs.slope == 0:
        _emit(graph, op, "Relu")
    else:
        _emit(graph, op, "LeakyRelu", alpha=op.attrs.slope)


def _elu(graph: _Graph, op: Op) -> None:
    _emit(graph, op, "Elu", alpha=op.attrs.alpha)


def _pow(graph: _Graph, op: Op) -> None:
    _emit(graph, op, "Pow", graph.scalar(graph.name(op.result), op.attrs.exponent))


def _affine(graph: _Graph, op: Op) -> None:
    result = graph.name(op.result)
    value = graph.name(op.operands[0])
    if op.attrs.scale != 1 or op.attrs.shift == 0:
        target = result if op.attrs.shift == 0 else graph.fresh(f"{result}.scaled")
        value = graph.node("Mul", [value, graph.scalar(result, op.attrs.scale)], target)
    if op.attrs.shift != 0:
        graph.node("Add", [value, graph.scalar(result, op.attrs.shift)], result)


def _reciprocal_or_zero(graph: _Graph, op: Op) -> None:
    result = graph.name(op.result)
    x = graph.name(op.operands[0])
    zero = graph.scalar(result, 0)
    is_zero = graph.node("Equal", [x, zero], graph.fresh(f"{result}.is_zero"))
    inverse = graph.node("Reciprocal", [x], graph.fresh(f"{result}.inverse"))
    graph.node("Where", [is_zero, zero, inverse], result)


def _reshape(graph: _Graph, op: Op) -> None:
    before = _tensor(op.operands[0]).shape
    shape: list[int] = []
    for axis, extent in enumerate(op.attrs.shape):
        if isinstance(extent, int):
            shape.append(extent)
        elif axis < len(before) and before[axis] == extent:
            shape.append(0)  # the extent that the operand has there
        else:
            shape.append(-1)
    if shape.count(-1) > 1:
        _static(op, op.attrs.shape, "this reshape")
    _emit(graph, op, "Reshape", graph.constant(graph.name(op.result), np.array(shape, np.int64)))


def _transpose(graph: _Graph, op: Op) -> None:
    _emit(graph, op, "Transpose", perm=list(op.attrs.perm))


def _concat(graph: _Graph, op: Op) -> None:
    _emit(graph, op, "Concat", axis=op.attrs.axis)


def _slice(graph: _Graph, op: Op) -> None:
    whole = _tensor(op.operands[0]).shape
    starts, ends, axes = [], [], []
    for axis, (start, extent) in enumerate(zip(op.attrs.start, op.attrs.shape, strict=True)):
        if start == 0 and extent == whole[axis]:
            continue
        end = extent + start
        if not isinstance(end, int) and end != whole[axis]:
            _static(op, op.attrs.shape, "this slice")
        starts.append(start)
        ends.append(end if isinstance(end, int) else _TO_THE_END)
        axes.append(axis)
    near = graph.name(op.result)
    more = [graph.constant(near, np.array(each, np.int64)) for each in (starts, ends, axes)]
    _emit(graph, op, "Slice", *more)


def _fill(graph: _Graph, op: Op) -> None:
    kind: TensorType = op.attrs.tensor
    shape = _static(op, kind.shape, "a constant")
    value = graph.constant(graph.name(op.result), np.full(shape, op.attrs.value, _DTYPES[kind.dtype]))
    graph.node("Identity", [value], graph.name(op.result))


def _reduce(graph: _Graph, op: Op) -> None:
    axes = list(op.attrs.axes)
    if op.attrs.kind == "sum":  # the one reduction whose axes are an operand in this opset
        near = graph.name(op.result)
        _emit(graph, op, "ReduceSum", graph.constant(near, np.array(axes, np.int64)), keepdims=1)
    else:
        _emit(graph, op, {"mean": "ReduceMean", "max": "ReduceMax"}[op.attrs.kind], axes=axes, keepdims=1)


def _moments(graph: _Graph, op: Op) -> None:
    (x,), (mean, variance) = op.operands, map(graph.name, op.results)
    axes = list(op.attrs.axes)
    graph.node("ReduceMean", [graph.name(x)], mean, axes=axes, keepdims=1)
    centred, square = f"{variance}/centred", f"{variance}/square"
    graph.node("Sub", [graph.name(x), mean], centred)
    graph.node("Mul", [centred, centred], square)
    graph.node("ReduceMean", [square], variance, axes=axes, keepdims=1)


_RULES: Mapping[str, _Rule] = {
    "nn.conv": _conv("Conv"),
    "nn.deconv": _conv("ConvTranspose"),
    "nn.global_pool": _global_pool,
    "nn.inner_product": _inner_product,
    "nn.lrn": _lrn,
    "nn.moments": _moments,
    "nn.pool": _pool,
    "nn.softmax": _softmax,
    "math.abs": _plain("Abs"),
    "math.add": _plain("Add"),
    "math.affine": _affine,
    "math.div": _plain("Div"),
    "math.elu": _elu,
    "math.exp": _plain("Exp"),
    "math.log": _plain("Log"),
    "math.max": _plain("Max"),
    "math.mul": _plain("Mul"),
    "math.pow": _pow,
    "math.prelu": _plain("PRelu"),
    "math.reciprocal_or_zero": _reciprocal_or_zero,
    "math.relu": _relu,
    "math.sigmoid": _plain("Sigmoid"),
    "math.sqrt": _plain("Sqrt"),
    "math.sub": _plain("Sub"),
    "math.tanh": _plain("Tanh"),
    "tensor.concat": _concat,
    "tensor.fill": _fill,
    "tensor.reduce": _reduce,
    "tensor.reshape": _reshape,
    "tensor.slice": _slice,
    "tensor.transpose": _transpose,
}
"""Op by name; what is missing is refused by name."""
