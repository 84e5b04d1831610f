"""Nets for the tests of passes: a few by hand, any number at random; and how to run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from netc.backends.numpy_reference import run_func
from netc.ir.builder import FuncBuilder
from netc.ir.core import Func, Module, Value
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.dropout import DropoutAttrs
from netc.ir.ops.elementwise import AffineAttrs, EluAttrs, PowAttrs, ReluAttrs, SqrtAttrs
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.ops.normalize import LrnAttrs, SoftmaxAttrs
from netc.ir.ops.pool import GlobalPoolAttrs, PoolAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import ConcatAttrs, FillAttrs, ReshapeAttrs, SliceAttrs, TransposeAttrs
from netc.ir.types import TensorType

Array = npt.NDArray[Any]
__all__ = ["NETS", "Net", "arguments", "prepared_arguments", "random_nets", "run_main"]


class Net(FuncBuilder):
    """A builder with Caffe-like steps; values are named after the op."""

    def __init__(self) -> None:
        super().__init__("main")

    def input(self, *shape: int) -> Value:
        return self.arg("data", TensorType("f32", shape), "input")

    def param(self, *shape: int) -> Value:
        return self.arg("w", TensorType("f32", shape), "param")

    def op(self, name: str, *operands: Value, attrs: Any = None) -> Value:
        return self.add1(name, operands, attrs, hint=name.partition(".")[2])

    def conv(
        self,
        x: Value,
        out: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        pad: int = 0,
        group: int = 1,
        bias: bool = True,
    ) -> Value:
        w = self.param(out, shape(x)[1] // group, kernel, kernel)
        operands = [x, w, self.param(out)] if bias else [x, w]
        return self.op("nn.conv", *operands, attrs=window(stride, pad, group))

    def deconv(self, x: Value, out: int, *, stride: int = 2, group: int = 1) -> Value:
        w = self.param(shape(x)[1], out // group, 2, 2)
        return self.op("nn.deconv", x, w, self.param(out), attrs=window(stride, 0, group))

    def batch_norm(self, x: Value) -> Value:
        """As the importer writes it: (x - mean) / sqrt(variance)."""
        ones = [1] * (len(shape(x)) - 2)
        mean, variance = self.param(1, shape(x)[1], *ones), self.param(1, shape(x)[1], *ones)
        root = self.op("math.sqrt", self.op("math.abs", variance), attrs=SqrtAttrs())
        return self.op(
            "math.div",
            self.op("math.sub", x, mean),
            self.op("math.affine", root, attrs=AffineAttrs(1.0, 0.5)),
        )

    def scale(self, x: Value) -> Value:
        ones = [1] * (len(shape(x)) - 2)
        scaled = self.op("math.mul", x, self.param(1, shape(x)[1], *ones))
        return self.op("math.add", scaled, self.param(1, shape(x)[1], *ones))

    def relu(self, x: Value, slope: float = 0.0) -> Value:
        return self.op("math.relu", x, attrs=ReluAttrs(slope))

    def pool(self, x: Value, kind: Any = "max", kernel: int = 2, stride: int = 2) -> Value:
        pad = ((0, 0), (0, 0))
        return self.op("nn.pool", x, attrs=PoolAttrs(kind, (kernel, kernel), (stride, stride), pad))

    def lrn(self, x: Value) -> Value:
        return self.op("nn.lrn", x, attrs=LrnAttrs(3, 0.5, 0.75, 1.0))

    def concat(self, *xs: Value, axis: int = 1) -> Value:
        return self.op("tensor.concat", *xs, attrs=ConcatAttrs(axis))

    def slice(self, x: Value, start: tuple[int, ...], extent: tuple[int, ...]) -> Value:
        return self.op("tensor.slice", x, attrs=SliceAttrs(start, extent))

    def flatten(self, x: Value) -> Value:
        return self.op("tensor.reshape", x, attrs=ReshapeAttrs((shape(x)[0], int(np.prod(shape(x)[1:])))))

    def inner_product(self, x: Value, out: int, *, transpose: bool = False) -> Value:
        k = shape(x)[1]
        w = self.param(k, out) if transpose else self.param(out, k)
        return self.op("nn.inner_product", x, w, self.param(out), attrs=InnerProductAttrs(transpose))

    def dropout(self, x: Value) -> Value:
        return self.op("nn.dropout", x, attrs=DropoutAttrs(0.5))

    def module(self, *results: Value) -> Module:
        names = [f"{v.name}.out" for v in results]
        names = [f"{n}{i}" for i, n in enumerate(names)]
        return Module("net", "tensor", (self.finish(results, names),))


def window(stride: int, pad: int, group: int) -> ConvAttrs:
    return ConvAttrs((stride, stride), ((pad, pad), (pad, pad)), (1, 1), group)


def shape(value: Value) -> tuple[int, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.static_shape


# --- running ---
def arguments(module: Module, seed: int = 0) -> dict[str, Array]:
    """Random arrays for the arguments of ``@main`` (or of ``@prepare`` and the inputs of ``@main``)."""
    rng = np.random.default_rng(seed)
    return {a.name: rng.normal(size=_tensor(a).static_shape) for a in module.func("main").args}


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


def prepared_arguments(module: Module, args: Mapping[str, Array], dtype: Any = "f64") -> dict[str, Array]:
    """The arguments of ``@main`` after ``@prepare`` has run on the params among ``args``."""
    main = module.func("main")
    given = {a.name: args[a.name] for a in (*main.inputs, *main.states)}
    if not any(f.name == "prepare" for f in module.funcs):
        return {**given, **{a.name: args[a.name] for a in main.params}}
    prepare = module.func("prepare")
    return {**given, **run_func(prepare, {a.name: args[a.name] for a in prepare.args}, dtype)}


def run_main(module: Module, args: Mapping[str, Array], dtype: Any = "f64") -> list[Array]:
    """The results of a tensor module in order."""
    main: Func = module.func("main")
    results = run_func(main, prepared_arguments(module, args, dtype), dtype)
    return [results[n] for n in main.result_names]


# --- by hand ---
def _conv_block() -> Module:
    net = Net()
    x = net.relu(net.conv(net.input(2, 3, 9, 9), 8))
    return net.module(net.lrn(net.pool(x)))


def _inception() -> Module:
    net = Net()
    x = net.relu(net.conv(net.input(1, 3, 8, 8), 8, pad=1))
    a = net.relu(net.conv(x, 8, 1))
    b = net.relu(net.conv(net.relu(net.conv(x, 4, 1)), 12, 3, pad=1))
    c = net.relu(
        net.conv(net.op("nn.pool", x, attrs=PoolAttrs("max", (3, 3), (1, 1), ((1, 1), (1, 1)))), 4, 1)
    )
    y = net.concat(a, b, c)
    gap = net.op("nn.global_pool", y, attrs=GlobalPoolAttrs("ave"))
    return net.module(
        net.op("nn.softmax", net.inner_product(net.dropout(net.flatten(gap)), 5), attrs=SoftmaxAttrs(1)), a
    )


def _residual() -> Module:
    net = Net()
    x = net.relu(net.scale(net.batch_norm(net.conv(net.input(2, 3, 8, 8), 8, pad=1, bias=False))))
    y = net.relu(net.scale(net.batch_norm(net.conv(x, 8, pad=1, bias=False))))
    y = net.scale(net.batch_norm(net.conv(y, 16, pad=1, stride=2, bias=False)))
    z = net.scale(net.batch_norm(net.conv(x, 16, 1, stride=2, bias=False)))
    out = net.relu(net.op("math.add", y, z))
    return net.module(net.inner_product(net.flatten(net.pool(out, "ave")), 7, transpose=True))


def _dense() -> Module:
    net = Net()
    x = net.conv(net.input(1, 3, 6, 6), 8, pad=1)
    for _ in range(3):
        y = net.conv(net.relu(net.scale(net.batch_norm(x))), 4, pad=1)
        x = net.concat(x, y)
    return net.module(net.relu(net.scale(net.batch_norm(x))))


def _grouped() -> Module:
    net = Net()
    x = net.relu(net.conv(net.input(1, 6, 6, 6), 16, pad=1, group=2))
    x = net.relu(net.conv(x, 16, pad=1, group=16))
    x = net.relu(net.conv(x, 16, pad=1, group=2), 0.1)
    x = net.deconv(x, 8)
    return net.module(net.deconv(x, 8, group=8), net.conv(x, 5))


def _attention() -> Module:
    net = Net()
    x = net.relu(net.conv(net.input(2, 3, 6, 6), 10, pad=1))
    pooled = net.flatten(net.op("nn.global_pool", x, attrs=GlobalPoolAttrs("ave")))
    gate = net.op("math.sigmoid", net.inner_product(net.relu(net.inner_product(pooled, 3)), 10))
    gate = net.op("tensor.reshape", gate, attrs=ReshapeAttrs((2, 10, 1, 1)))
    y = net.op("math.mul", x, gate)
    mask = net.op("math.sigmoid", net.conv(y, 1, 1))
    return net.module(net.op("math.mul", y, mask))


def _detector() -> Module:
    net = Net()
    x = net.relu(net.conv(net.input(2, 3, 6, 6), 8, pad=1))
    heads = []
    for value in (x, net.pool(x)):
        head = net.op("tensor.transpose", net.conv(value, 6, pad=1), attrs=TransposeAttrs((0, 2, 3, 1)))
        heads.append(net.flatten(head))
    both = net.concat(*heads)
    rows = net.op("tensor.reshape", both, attrs=ReshapeAttrs((2, shape(both)[1] // 3, 3)))
    return net.module(net.op("nn.softmax", rows, attrs=SoftmaxAttrs(2)), rows)


def _odd_ends() -> Module:
    net = Net()
    x = net.input(2, 8, 4, 4)
    w = net.param(2, 8, 4, 4)
    first, second = net.slice(x, (0, 0, 0, 0), (2, 4, 4, 4)), net.slice(x, (0, 4, 0, 0), (2, 4, 4, 4))
    fill = net.op("tensor.fill", attrs=FillAttrs(TensorType("f32", (2, 4, 4, 4)), 2.0))
    total = net.op("math.add", net.op("math.mul", first, fill), second)
    mean = net.op("tensor.reduce", net.op("math.mul", x, w), attrs=ReduceAttrs("mean", (2, 3)))
    flat = net.flatten(first)
    again = net.op("math.pow", net.op("math.elu", mean, attrs=EluAttrs(0.5)), attrs=PowAttrs(2.0))
    both = net.concat(total, total, first, axis=0)
    return net.module(x, w, total, total, flat, again, both, fill, net.op("math.tanh", flat))


def _classifier() -> Module:
    net = Net()
    x = net.pool(net.relu(net.conv(net.input(1, 3, 8, 8), 4, pad=1)))
    x = net.dropout(net.relu(net.inner_product(net.flatten(x), 6)))
    x = net.relu(net.scale(net.inner_product(x, 6, transpose=True)))
    return net.module(net.op("nn.softmax", net.inner_product(x, 5), attrs=SoftmaxAttrs(1)))


NETS: dict[str, Callable[[], Module]] = {
    "attention": _attention,
    "classifier": _classifier,
    "conv_block": _conv_block,
    "dense": _dense,
    "detector": _detector,
    "grouped": _grouped,
    "inception": _inception,
    "odd_ends": _odd_ends,
    "residual": _residual,
}


# --- at random ---
@st.composite
def random_nets(draw: st.DrawFn) -> Module:
    """A net of up to 14 ops on small feature maps, with 1 to 3 results."""
    net = Net()
    values = [net.input(draw(st.integers(1, 2)), draw(st.sampled_from([1, 3, 4, 6, 8])), 4, 4)]
    for _ in range(draw(st.integers(1, 14))):
        # recent values are likelier, so that nets are deep
        back = min(draw(st.integers(0, 3)), len(values) - 1)
        x = values[-1 - back]
        step = draw(st.sampled_from(sorted(_STEPS)))
        values.append(_STEPS[step](net, x, values, draw))
    count = draw(st.integers(1, 3))
    picked = [values[-1], *(draw(st.sampled_from(values)) for _ in range(count - 1))]
    return net.module(*picked)


_Step = Callable[[Net, Value, "list[Value]", st.DrawFn], Value]


def _is_map(x: Value) -> bool:
    return len(shape(x)) == 4


def _conv_step(net: Net, x: Value, values: list[Value], draw: st.DrawFn) -> Value:
    if not _is_map(x):
        return net.relu(x)
    out = draw(st.sampled_from([1, 4, 6, 8]))
    channels = shape(x)[1]
    groups = [g for g in (1, 2, channels) if channels % g == 0 and out % g == 0]
    kernel = draw(st.sampled_from([1, 3]))
    group = draw(st.sampled_from(groups))
    return net.conv(x, out, kernel, pad=kernel // 2, group=group, bias=draw(st.booleans()))


def _deconv_step(net: Net, x: Value, values: list[Value], draw: st.DrawFn) -> Value:
    if not _is_map(x) or shape(x)[2] > 8:
        return net.relu(x, 0.5)
    channels = shape(x)[1]
    group = draw(st.sampled_from([1, channels]))
    return net.deconv(x, channels if group > 1 else 4, group=group)


def _concat_step(net: Net, x: Value, values: list[Value], draw: st.DrawFn) -> Value:
    axis = draw(st.sampled_from([0, 1]))
    fits = [
        v
        for v in values
        if len(shape(v)) == len(shape(x))
        and all(a == b for i, (a, b) in enumerate(zip(shape(v), shape(x), strict=True)) if i != axis)
    ]
    others = draw(st.lists(st.sampled_from(fits), max_size=2))
    y = net.concat(x, *others, axis=axis)
    return y if np.prod(shape(y)) < 5000 else net.op("math.abs", x)


def _slice_step(net: Net, x: Value, values: list[Value], draw: st.DrawFn) -> Value:
    extents = list(shape(x))
    start = [0] * len(extents)
    if extents[1] > 1:
        start[1] = draw(st.integers(0, extents[1] - 1))
        extents[1] = draw(st.integers(1, extents[1] - start[1]))
    return net.slice(x, tuple(start), tuple(extents))


def _binary_step(net: Net, x: Value, values: list[Value], draw: st.DrawFn) -> Value:
    same = [v for v in values if shape(v) == shape(x)]
    spread = [
        v
        for v in values
        if len(shape(v)) == len(shape(x))
        and all(a in (1, b) for a, b in zip(shape(v), shape(x), strict=True))
    ]
    other = draw(st.sampled_from(same + spread))
    name = draw(st.sampled_from(["math.add", "math.sub", "math.mul", "math.max"]))
    return net.op(name, *((x, other) if draw(st.booleans()) else (other, x)))


def _param_step(net: Net, x: Value, values: list[Value], draw: st.DrawFn) -> Value:
    rest = [1] * (len(shape(x)) - 2)
    p = net.param(1, draw(st.sampled_from([1, shape(x)[1]])), *rest)
    name = draw(st.sampled_from(["math.add", "math.sub", "math.mul", "math.prelu"]))
    return net.op(name, *((p, x) if name == "math.sub" and draw(st.booleans()) else (x, p)))


def _flatten_step(net: Net, x: Value, values: list[Value], draw: st.DrawFn) -> Value:
    return net.flatten(x) if _is_map(x) else net.inner_product(x, draw(st.sampled_from([3, 8])))


def _spatial_step(net: Net, x: Value, values: list[Value], draw: st.DrawFn) -> Value:
    if not _is_map(x):
        return net.op("nn.softmax", x, attrs=SoftmaxAttrs(1))
    kind: Any = draw(st.sampled_from(["max", "ave"]))
    which = draw(st.integers(0, 4))
    if which == 0:
        return net.pool(x, kind, kernel=min(2, shape(x)[2]))
    if which == 1:
        return net.op("nn.global_pool", x, attrs=GlobalPoolAttrs(kind))
    if which == 2:
        return net.lrn(x)
    if which == 3:
        return net.op("tensor.reduce", x, attrs=ReduceAttrs("sum", (2, 3)))
    return net.op("tensor.transpose", x, attrs=TransposeAttrs((0, 1, 3, 2)))


_STEPS: dict[str, _Step] = {
    "affine": lambda net, x, v, d: net.op(
        "math.affine",
        x,
        attrs=AffineAttrs(d(st.sampled_from([1.0, 0.5, -2.0])), d(st.sampled_from([0.0, 1.0]))),
    ),
    "batch_norm": lambda net, x, v, d: net.batch_norm(x),
    "binary": _binary_step,
    "concat": _concat_step,
    "conv": _conv_step,
    "conv.again": _conv_step,
    "deconv": _deconv_step,
    "dropout": lambda net, x, v, d: net.dropout(x),
    "flatten": _flatten_step,
    "param": _param_step,
    "relu": lambda net, x, v, d: net.relu(x),
    "scale": lambda net, x, v, d: net.scale(x),
    "slice": _slice_step,
    "spatial": _spatial_step,
    "square": lambda net, x, v, d: net.op("math.tanh", net.op("math.pow", x, attrs=PowAttrs(2.0))),
}
