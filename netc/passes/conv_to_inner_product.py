"""Turn convolutions whose window covers the plane into inner products, which share weights among samples.

Does:

1.  a convolution without groups whose one position has no padding under it becomes an inner product of the
    flattened planes with the flattened weights, and a reshape to ``[N, M, 1, 1]``.
2.  an elementwise op on such a reshape moves in front of it, so that it can be fused with the product.

Requires: a tensor module, row-major.
Ensures: no such convolution is left where the plane's extents are known and the weights are param-only.
Refuses: nothing.

Example (``conv_to_inner_product()``)::

    module m tensor {
    func @main(%x: f32[N,8,1,1], %w: param f32[4,8,1,1]) -> (y = %y) {
      %c: f32[N,4,1,1] = nn.conv %x, %w {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
      %y: f32[N,4,1,1] = math.relu %c
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[N,8,1,1], %w: param f32[4,8,1,1]) -> (y = %y) {
      %f: f32[N,8] = tensor.reshape %x {shape = [<N>, 8]}
      %v: f32[4,8] = tensor.reshape %w {shape = [4, 8]}
      %p: f32[N,4] = nn.inner_product %f, %v
      %c: f32[N,4,1,1] = tensor.reshape %p {shape = [<N>, 4, 1, 1]}
      %r: f32[N,4] = math.relu %p
      %y: f32[N,4,1,1] = tensor.reshape %r {shape = [<N>, 4, 1, 1]}
    }
    }
"""

from __future__ import annotations

from dataclasses import replace

from netc.ir.core import Func, Module, Op, Value
from netc.ir.dim import Dim, product
from netc.ir.opdef import opdef
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.ops.shape import ReshapeAttrs
from netc.ir.param_only import param_only
from netc.ir.rewrite import Rewriter, rewrite_func
from netc.ir.types import TensorType


def conv_to_inner_product(module: Module) -> Module:
    """The module without convolutions that are inner products."""
    return replace(module, funcs=tuple(_convert(func) for func in module.funcs))


def _convert(func: Func) -> Func:
    params = param_only(func)

    def rule(op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
        if op.name == "nn.conv" and _covers_plane(op) and all(v.name in params for v in op.operands[1:]):
            return (_as_product(op, rewriter),)
        if opdef(op.name).elementwise and op.name != "math.broadcast" and len(op.operands) == 1:
            return _in_front_of_reshape(op, rewriter)
        return None

    return rewrite_func(func, (rule,))


def _covers_plane(op: Op) -> bool:
    x, w = _tensor(op.operands[0]), _tensor(op.operands[1])
    attrs = op.attrs
    plain = attrs.group == 1 and all(d == 1 for d in attrs.dilation) and x.layout is None and w.layout is None
    return plain and not any(p for pad in attrs.pad for p in pad) and x.shape[2:] == w.shape[2:]


def _as_product(op: Op, rewriter: Rewriter) -> Value:
    x, w, *bias = op.operands
    samples, outputs, depth = _tensor(x).shape[0], _tensor(w).shape[0], product(_tensor(x).shape[1:])
    flat = _flat(x, rewriter)
    if flat is None:
        flat = _reshaped(x, (samples, depth), op, rewriter)
    weights = _reshaped(w, (outputs, depth), op, rewriter)
    made = rewriter.add1(
        "nn.inner_product",
        (flat, weights, *bias),
        InnerProductAttrs(),
        hint=op.result.name,
        location=op.location,
    )
    return _reshaped(made, _tensor(op.result).shape, op, rewriter)


def _in_front_of_reshape(op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
    flat = _flat(op.operands[0], rewriter)
    if flat is None:
        return None
    made = rewriter.add1(op.name, (flat,), op.attrs, hint=op.result.name, location=op.location)
    return (_reshaped(made, _tensor(op.result).shape, op, rewriter),)


def _flat(value: Value, rewriter: Rewriter) -> Value | None:
    """The [N, C] that a value of [N, C, 1, 1] was reshaped from, if it was."""
    made_by = rewriter.defining(value)
    if made_by is None or made_by.name != "tensor.reshape":
        return None
    (flat,) = made_by.operands
    shape = _tensor(value).shape
    ones = (1,) * (len(shape) - 2)
    return flat if ones and shape == (*_tensor(flat).shape, *ones) else None


def _reshaped(value: Value, shape: tuple[Dim, ...], op: Op, rewriter: Rewriter) -> Value:
    return rewriter.add1(
        "tensor.reshape", (value,), ReshapeAttrs(shape), hint=value.name, location=op.location
    )


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
