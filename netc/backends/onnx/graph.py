"""The graph of an ONNX model in the making, and what the rules of the ops share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netc.ir.core import Func, Op, Value
from netc.ir.diagnostics import NetcError
from netc.ir.dim import Dim
from netc.ir.types import TensorType

Array = np.ndarray[Any, Any]
DTYPES = {"f32": "float32", "f64": "float64", "i32": "int32", "i64": "int64"}


@dataclass
class OnnxGraph:
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

    def integers(self, near: str, values: int | Iterable[int]) -> str:
        """Add a 64-bit integer, or a vector of them: shapes, axes, indices."""
        return self.constant(near, np.array(values if isinstance(values, int) else list(values), np.int64))

    def cast(self, value: str, near: str, dtype: str) -> str:
        """A value as another NumPy dtype, such as ``"int64"``."""
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.step("Cast", [value], near, to=kind)

    def step(self, kind: str, inputs: Sequence[str], near: str, **attributes: Any) -> str:
        """Append a node on the way to the value ``near``; the result is its output's name."""
        return self.node(kind, inputs, self.fresh(f"{near}.{kind.lower()}"), **attributes)

    def as_floats(self, value: str, op: Op) -> None:
        """The result of an op, made from integers or truth values."""
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[tensor_of(op.result).dtype]))
        self.node("Cast", [value], self.name(op.result), to=kind)

    def index(self, value: str, near: str, size: int) -> tuple[str, str]:
        """Floats as indices, rounded towards zero (0 where outside of [0, size)), and which lie inside."""
        whole = self.cast(value, near, "int64")
        zero = self.integers(near, 0)
        low = self.step("GreaterOrEqual", [whole, zero], near)
        high = self.step("Less", [whole, self.integers(near, size)], near)
        inside = self.step("And", [low, high], near)
        return self.step("Where", [inside, whole, zero], near), inside

    def described(self, value: Value, name: str) -> Any:
        """The type of an input or an output; symbols stay as names."""
        kind = tensor_of(value)
        element = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[kind.dtype]))
        shape = [extent if isinstance(extent, int) else str(extent) for extent in kind.shape]
        return self.onnx.helper.make_tensor_value_info(name, element, shape)

    def finish(self) -> None:
        """Give results that are arguments, or that have two names, their names."""
        for value, name in zip(self.func.results, self.func.result_names, strict=True):
            if self.name(value) != name:
                self.node("Identity", [self.name(value)], name)


Rule = Callable[[OnnxGraph, Op], None]


def tensor_of(value: Value) -> TensorType:
    """The type of a value: at this level all are tensors."""
    assert isinstance(value.type, TensorType)
    return value.type


def operands(graph: OnnxGraph, op: Op) -> list[str]:
    """The names of an op's operands in the model."""
    return [graph.name(value) for value in op.operands]


def plain(kind: str) -> Rule:
    """A rule for an op that is one node without attributes."""
    return lambda graph, op: emit(graph, op, kind)


def emit(graph: OnnxGraph, op: Op, kind: str, *more: str, **attributes: Any) -> None:
    """Append the node that is the whole op; ``more`` inputs follow the operands."""
    graph.node(kind, [*operands(graph, op), *more], graph.name(op.result), **attributes)


def static_extents(op: Op, shape: Sequence[Dim], why: str) -> list[int]:
    """Extents as numbers; NetcError where one is a symbol, which ``why`` cannot work with."""
    known = [extent for extent in shape if isinstance(extent, int)]
    if len(known) < len(shape):
        shown = ", ".join(map(str, shape))
        raise NetcError(
            f"{op.name}: {why} needs sizes that are numbers, got [{shown}]",
            location=op.location,
            remedy="state the input's shape: --input-shape NAME=1,3,224,224",
        )
    return known
