"""Turn inner products on flattened images into convolutions, so that the net takes images of any size.

Does: replaces ``reshape [N,C,H,W] -> [N,C*H*W]`` and the ``inner_product`` behind it by a ``conv`` with an
HxW kernel, and inner products further on by 1x1 convolutions. What lies between and behind them (elementwise,
dropout, softmax, concat) follows from rank 2 to rank 4; params ``[1,C]`` become ``[1,C,1,1]``. The arguments
of the function stay: weights are reshaped by ops. ``input_shapes`` then gives inputs new shapes, sizes or
symbols, and everything is inferred anew.

Requires: a tensor module, row-major.
Ensures: no inner product is left. A result ``[N,O]`` has become ``[N,O,1,1]``, or ``[N,O,H',W']`` with new
shapes: one prediction per place where the original net's window fits, each equal to what the original net
says about that window.
Refuses (OpError at the layer): an inner product whose input is not a flattened image, nor follows from one;
an op that cannot follow to rank 4 (another reshape, a transpose, a reduction, …), or mixes with rank-2 data;
new shapes that an op does not allow.

Example (``inner_product_to_conv(input_shapes={"x": (1, 3, 9, 9)})``)::

    module m tensor {
    func @main(%x: f32[1,3,8,8], %w: param f32[5,192], %b: param f32[5]) -> (y = %y) {
      %f: f32[1,192] = tensor.reshape %x {shape = [1, 192]}
      %i: f32[1,5] = nn.inner_product %f, %w, %b {transpose = false}
      %y: f32[1,5] = nn.softmax %i {axis = 1}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[1,3,9,9], %w: param f32[5,192], %b: param f32[5]) -> (y = %y) {
      %w4: f32[5,3,8,8] = tensor.reshape %w {shape = [5, 3, 8, 8]}
      %i: f32[1,5,2,2] = nn.conv %x, %w4, %b {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
      %y: f32[1,5,2,2] = nn.softmax %i {axis = 1}
    }
    }
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from netc.ir.builder import infer_types
from netc.ir.core import Func, Module, Op, Value, definitions, users
from netc.ir.diagnostics import NetcError, OpError
from netc.ir.dim import Dim
from netc.ir.opdef import opdef
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.shape import ReshapeAttrs, TransposeAttrs
from netc.ir.param_only import param_only
from netc.ir.retype import with_input_types
from netc.ir.rewrite import Rewriter, rewrite_func
from netc.ir.types import TensorType, Type

_KEEP_AXES = frozenset({"nn.softmax", "tensor.concat"})  # axes 0 and 1 mean the same at rank 2 and rank 4


def inner_product_to_conv(
    module: Module, *, input_shapes: Mapping[str, tuple[Dim, ...]] | None = None
) -> Module:
    """The fully convolutional module, for inputs of other shapes if any are given."""
    main = module.func("main")
    module = module.with_func(_convert(main))
    types: dict[str, Type] = {}
    for name, shape in (input_shapes or {}).items():
        old = next((a.type for a in main.inputs if a.name == name), None)
        if not isinstance(old, TensorType) or old.rank != len(shape):
            raise NetcError(f"input_shapes: the net has no input '{name}' of rank {len(shape)}")
        types[name] = old.with_shape(*shape)
    return with_input_types(module, types)


def _convert(func: Func) -> Func:
    converter = _Converter(func)
    converted = rewrite_func(func, (converter,))
    for value, name in zip(func.results, func.result_names, strict=True):
        if value.name in converter.images:
            raise OpError(
                f"the net cannot be fully convolutional: its result '{name}' is a flattened image"
            ).at(definitions(func)[value.name].location)
    return replace(converted, results=tuple(converter.maps.get(v.name, v) for v in converted.results))


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


class _Converter:
    """The rewrite rule. ``images`` are what flattened values were; ``maps`` are values now of rank 4.

    Both are by the name of the old value. To the driver the rule gives old values, whose types fit.
    """

    def __init__(self, func: Func) -> None:
        self.params = param_only(func)
        self.feeds_product = _feeding_a_product(func, self.params)
        self.images: dict[str, Value] = {}
        self.maps: dict[str, Value] = {}

    def __call__(self, op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
        if op.name == "nn.inner_product":
            self.product(op, rewriter)
        elif any(v.name in self.images or v.name in self.maps for v in op.operands):
            self.follow(op, rewriter)
        elif _is_flatten(op) and op.result.name in self.feeds_product:
            self.images[op.result.name] = op.operands[0]
        else:
            return None
        return op.results

    def product(self, op: Op, rewriter: Rewriter) -> None:
        """The convolution for an inner product."""
        x, w, *bias = op.operands
        image = self.images.get(x.name) or self.maps.get(x.name)
        if image is None or any(v.name not in self.params for v in op.operands[1:]):
            raise OpError(
                "nn.inner_product cannot become a convolution: its input is not a flattened image"
                if image is None
                else "nn.inner_product cannot become a convolution: its weights are computed from data",
                remedy="make the net fully convolutional only up to here",
            ).at(op.location)
        # a map is [N, K, 1, 1] at the original size
        kernel = _tensor(image).shape[1:]
        if op.attrs.transpose:
            w = rewriter.add1(
                "tensor.transpose",
                (w,),
                TransposeAttrs((1, 0)),
                hint=f"{w.name}.transposed",
                location=op.location,
            )
        outputs = _tensor(w).shape[0]
        weights = rewriter.add1(
            "tensor.reshape", (w,), ReshapeAttrs((outputs, *kernel)), hint=w.name, location=op.location
        )
        axes = len(kernel) - 1
        attrs = ConvAttrs((1,) * axes, ((0, 0),) * axes, (1,) * axes)
        self._append_map(op, "nn.conv", (image, weights, *bias), attrs, rewriter)

    def follow(self, op: Op, rewriter: Rewriter) -> None:
        """The same op on images or rank-4 maps."""
        if op.name == "tensor.reshape" and op.result.type == op.operands[0].type:
            for known in (self.images, self.maps):
                if op.operands[0].name in known:
                    known[op.result.name] = known[op.operands[0].name]
            return
        if any(v.name in self.images for v in op.operands):
            self._follow_image(op, rewriter)
            return
        rank = next(_tensor(self.maps[v.name]).rank for v in op.operands if v.name in self.maps)
        if not (opdef(op.name).elementwise or op.name in _KEEP_AXES):
            raise self._cannot(op, "a map")
        operands = tuple(self._operand(v, op, rank, rewriter) for v in op.operands)
        self._append_map(op, op.name, operands, op.attrs, rewriter)

    def _follow_image(self, op: Op, rewriter: Rewriter) -> None:
        if not opdef(op.name).elementwise or len(op.operands) != 1:
            raise self._cannot(op, "a flattened image")
        image = self.images[op.operands[0].name]
        (type_,) = infer_types(op.name, (image,), op.attrs)
        result = Value(op.result.name, type_)
        rewriter.append(replace(op, operands=(image,), results=(result,)))
        self.images[op.result.name] = result

    def _operand(self, value: Value, op: Op, rank: int, rewriter: Rewriter) -> Value:
        if value.name in self.maps:
            return self.maps[value.name]
        if value.name not in self.params:
            raise self._cannot(op, "a map together with other data")
        shape = (*_tensor(value).shape, *[1] * (rank - 2))
        return rewriter.add1(
            "tensor.reshape", (value,), ReshapeAttrs(shape), hint=value.name, location=op.location
        )

    def _append_map(
        self, op: Op, name: str, operands: tuple[Value, ...], attrs: object, rewriter: Rewriter
    ) -> None:
        try:
            (type_,) = infer_types(name, operands, attrs)
        except OpError as error:
            error.at(op.location)
            raise
        result = Value(op.result.name, type_)
        rewriter.append(Op(name, operands, attrs, (result,), None, op.location))
        self.maps[op.result.name] = result

    def _cannot(self, op: Op, what: str) -> NetcError:
        message = f"{op.name} cannot follow into a fully convolutional net: it reads {what}"
        return OpError(message).at(op.location)


def _is_flatten(op: Op) -> bool:
    x, y = _tensor(op.operands[0]), _tensor(op.result)
    return op.name == "tensor.reshape" and x.rank >= 3 and y.rank == 2 and x.shape[0] == y.shape[0]


def _feeding_a_product(func: Func, params: frozenset[str]) -> frozenset[str]:
    """The values that reach the input of an inner product through elementwise ops and plain reshapes."""
    read_by = users(func)
    feeding: set[str] = set()
    for op in reversed(func.ops):
        for result in op.results:
            if result.name in params:
                continue
            for reader in read_by.get(result.name, ()):
                direct = reader.name == "nn.inner_product" and reader.operands[0].name == result.name
                passes = opdef(reader.name).elementwise or reader.name == "tensor.reshape"
                if direct or (passes and reader.result.name in feeding):
                    feeding.add(result.name)
    return frozenset(feeding)
