"""Canonicalize: ops that say little or nothing, and the usual spellings of one meaning.

Does, until nothing changes (numbers are those of the rules below):

1.  ``affine(1, 0)``, ``pow(1)`` and ``relu(slope=1)`` are their operand.
2.  ``affine`` of ``affine`` is one ``affine``.
3.  ``pow(2)`` is ``mul(x, x)``.
4.  ``relu(slope=0)`` of ``relu(slope=0)`` is the inner one.
5.  ``add``, ``sub``, ``mul``, ``div`` with a ``fill`` that does not widen the result is an ``affine``.
6.  elementwise ops on nothing but ``fill`` are a ``fill``.
7.  ``reshape`` to the operand's own shape is the operand; of ``reshape`` is one ``reshape``.
8.  ``transpose`` that moves nothing is the operand; of ``transpose`` is one ``transpose``; one that only
    moves axes of extent 1 is a ``reshape``.
9.  ``slice`` of everything is the operand; of ``slice`` is one ``slice``; of a ``concat``, where it
    picks exactly one operand, is that operand.
10. ``concat`` of one value is the value; of a ``concat`` over the same axis that nobody else reads is
    one ``concat``.
11. ``convert`` to the operand's own layout is the operand; of ``convert`` converts the original.
12. ``reduce`` over axes of extent 1 is the operand.
13. ``inner_product {transpose = true}`` transposes its weights, where those are param-only, beforehand.

Requires: a tensor module.
Ensures: none of these cases is left. Operands that lose their last reader stay; dce removes them.
Refuses: nothing.

Example (``canonicalize()``)::

    module m tensor {
    func @main(%x: f32[N,8,1,1], %w: param f32[8,4]) -> (y = %y) {
      %a: f32[N,8,1,1] = math.affine %x {scale = 2.0, shift = 1.0}
      %b: f32[N,8,1,1] = math.affine %a {scale = 3.0, shift = 0.5}
      %c: f32[N,8] = tensor.reshape %b {shape = [<N>, 8]}
      %d: f32[N,8] = math.pow %c {exponent = 1.0}
      %y: f32[N,4] = nn.inner_product %d, %w {transpose = true}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[N,8,1,1], %w: param f32[8,4]) -> (y = %y) {
      %a: f32[N,8,1,1] = math.affine %x {scale = 2.0, shift = 1.0}
      %b: f32[N,8,1,1] = math.affine %x {scale = 6.0, shift = 3.5}
      %c: f32[N,8] = tensor.reshape %b {shape = [<N>, 8]}
      %wt: f32[4,8] = tensor.transpose %w {perm = [1, 0]}
      %y: f32[N,4] = nn.inner_product %c, %wt {transpose = false}
    }
    }
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from netc.ir.core import Func, Module, Op, Value
from netc.ir.dim import Dim
from netc.ir.opdef import numpy_dtype, opdef
from netc.ir.ops.elementwise import AffineAttrs
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.ops.shape import ConcatAttrs, FillAttrs, ReshapeAttrs, SliceAttrs, TransposeAttrs
from netc.ir.param_only import param_only
from netc.ir.rewrite import Rewriter, rewrite_func
from netc.ir.types import TensorType

MAX_SWEEPS = 20  # each sweep shortens chains by half or more; real nets need two or three

_OpRule = Callable[[Op, Rewriter], "Value | None"]


def canonicalize(module: Module) -> Module:
    """The module in normal form."""
    return replace(module, funcs=tuple(_canonicalize_func(f) for f in module.funcs))


def _canonicalize_func(func: Func) -> Func:
    for _ in range(MAX_SWEEPS):
        params = param_only(func)

        def rule(op: Op, rewriter: Rewriter, params: frozenset[str] = params) -> tuple[Value, ...] | None:
            for simplify in _RULES.get(op.name, ()) + _ANY_OP:
                value = simplify(op, rewriter)
                if value is not None:
                    return (value,)
            if op.name == "nn.inner_product" and op.attrs.transpose and op.operands[1].name in params:
                return (_transpose_weights(op, rewriter),)
            return None

        changed = rewrite_func(func, (rule,))
        if changed == func:
            break
        func = changed
    return func


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


def _producer(value: Value, name: str, rewriter: Rewriter) -> Op | None:
    """The op that makes a value, if it is one of this name."""
    op = rewriter.defining(value)
    return op if op is not None and op.name == name else None


# --- elementwise: 1-6 ---
def _eliminate_affine(op: Op, rewriter: Rewriter) -> Value | None:
    if (op.attrs.scale, op.attrs.shift) == (1.0, 0.0):
        return op.operands[0]
    inner = _producer(op.operands[0], "math.affine", rewriter)
    if inner is None:
        return None
    # s2 * (s1 * x + t1) + t2
    scale = op.attrs.scale * inner.attrs.scale
    shift = op.attrs.scale * inner.attrs.shift + op.attrs.shift
    return _same_name(op, "math.affine", inner.operands, AffineAttrs(scale, shift), rewriter)


def _simplify_pow(op: Op, rewriter: Rewriter) -> Value | None:
    (x,) = op.operands
    if op.attrs.exponent == 1.0:
        return x
    if op.attrs.exponent == 2.0:
        return _same_name(op, "math.mul", (x, x), None, rewriter)
    return None


def _eliminate_relu(op: Op, rewriter: Rewriter) -> Value | None:
    (x,) = op.operands
    if op.attrs.slope == 1.0:
        return x
    inner = _producer(x, "math.relu", rewriter)
    return x if inner is not None and op.attrs.slope == inner.attrs.slope == 0.0 else None


def _arithmetic_with_fill(op: Op, rewriter: Rewriter) -> Value | None:
    for at, value in enumerate(op.operands):
        fill = _producer(value, "tensor.fill", rewriter)
        x = op.operands[1 - at]
        if fill is None or x.type != op.result.type:
            continue
        attrs = _as_affine(op.name, fill.attrs.value, fill_first=at == 0)
        if attrs is not None:
            return _same_name(op, "math.affine", (x,), attrs, rewriter)
    return None


def _as_affine(name: str, value: float, *, fill_first: bool) -> AffineAttrs | None:
    if name == "math.add":
        return AffineAttrs(1.0, value)
    if name == "math.mul":
        return AffineAttrs(value, 0.0)
    if name == "math.sub":
        return AffineAttrs(-1.0, value) if fill_first else AffineAttrs(1.0, -value)
    if name == "math.div" and not fill_first and value != 0.0:
        return AffineAttrs(1.0 / value, 0.0)
    return None


def _fold_fills(op: Op, rewriter: Rewriter) -> Value | None:
    definition = opdef(op.name)
    if not definition.elementwise or definition.reference is None:
        return None
    fills = [_producer(v, "tensor.fill", rewriter) for v in op.operands]
    type_ = _tensor(op.result)
    numbers = tuple(np.array([f.attrs.value], numpy_dtype(type_.dtype)) for f in fills if f is not None)
    if len(numbers) != len(fills):
        return None
    (folded,) = definition.reference(numbers, op.attrs)
    return _same_name(op, "tensor.fill", (), FillAttrs(type_, float(folded[0])), rewriter)


# --- data movement: 7-12 ---
def _simplify_reshape(op: Op, rewriter: Rewriter) -> Value | None:
    (x,) = op.operands
    if op.result.type == x.type:
        return x
    inner = _producer(x, "tensor.reshape", rewriter)
    if inner is None:
        return None
    return _same_name(op, "tensor.reshape", inner.operands, op.attrs, rewriter)


def _simplify_transpose(op: Op, rewriter: Rewriter) -> Value | None:
    (x,) = op.operands
    perm: tuple[int, ...] = op.attrs.perm
    if perm == tuple(range(len(perm))):
        return x
    inner = _producer(x, "tensor.transpose", rewriter)
    if inner is not None:
        both = tuple(inner.attrs.perm[p] for p in perm)
        return _same_name(op, "tensor.transpose", inner.operands, TransposeAttrs(both), rewriter)
    moved = [p for p in perm if _tensor(x).shape[p] != 1]
    if moved == sorted(moved):
        return _same_name(op, "tensor.reshape", (x,), ReshapeAttrs(_tensor(op.result).shape), rewriter)
    return None


def _simplify_slice(op: Op, rewriter: Rewriter) -> Value | None:
    (x,) = op.operands
    if op.result.type == x.type:
        return x
    inner = _producer(x, "tensor.slice", rewriter)
    if inner is not None:
        start = tuple(a + b for a, b in zip(inner.attrs.start, op.attrs.start, strict=True))
        return _same_name(op, "tensor.slice", inner.operands, SliceAttrs(start, op.attrs.shape), rewriter)
    concat = _producer(x, "tensor.concat", rewriter)
    return None if concat is None else _picked_operand(op, concat)


def _picked_operand(op: Op, concat: Op) -> Value | None:
    axis = concat.attrs.axis
    if any(s for a, s in enumerate(op.attrs.start) if a != axis):
        return None
    at: Dim = 0
    for part in concat.operands:
        if at == op.attrs.start[axis] and part.type == op.result.type:
            return part
        at = at + _tensor(part).shape[axis]
    return None


def _simplify_concat(op: Op, rewriter: Rewriter) -> Value | None:
    if len(op.operands) == 1:
        return op.operands[0]
    parts: list[Value] = []
    for value in op.operands:
        inner = _producer(value, "tensor.concat", rewriter)
        inside = inner is not None and inner.attrs == op.attrs and rewriter.old_uses(value) == 1
        parts += inner.operands if inner is not None and inside else (value,)
    if tuple(parts) == op.operands:
        return None
    return _same_name(op, "tensor.concat", tuple(parts), ConcatAttrs(op.attrs.axis), rewriter)


def _simplify_convert(op: Op, rewriter: Rewriter) -> Value | None:
    (x,) = op.operands
    if op.result.type == x.type:
        return x
    inner = _producer(x, "layout.convert", rewriter)
    if inner is None:
        return None
    return _same_name(op, "layout.convert", inner.operands, op.attrs, rewriter)


def _eliminate_reduce(op: Op, rewriter: Rewriter) -> Value | None:
    del rewriter
    return op.operands[0] if op.result.type == op.operands[0].type else None


# --- 13 ---
def _transpose_weights(op: Op, rewriter: Rewriter) -> Value:
    x, w, *bias = op.operands
    transposed = rewriter.add1(
        "tensor.transpose", (w,), TransposeAttrs((1, 0)), hint=f"{w.name}.transposed", location=op.location
    )
    return _same_name(op, op.name, (x, transposed, *bias), InnerProductAttrs(transpose=False), rewriter)


def _same_name(op: Op, name: str, operands: tuple[Value, ...], attrs: object, rewriter: Rewriter) -> Value:
    """Append an op that computes the result of ``op`` in another way, under the same name."""
    new = replace(op, name=name, operands=operands, attrs=opdef(name).attrs() if attrs is None else attrs)
    rewriter.append(new)
    return new.result


_ANY_OP: tuple[_OpRule, ...] = (_fold_fills,)
_RULES: dict[str, tuple[_OpRule, ...]] = {
    "math.affine": (_eliminate_affine,),
    "math.pow": (_simplify_pow,),
    "math.relu": (_eliminate_relu,),
    "math.add": (_arithmetic_with_fill,),
    "math.sub": (_arithmetic_with_fill,),
    "math.mul": (_arithmetic_with_fill,),
    "math.div": (_arithmetic_with_fill,),
    "tensor.reshape": (_simplify_reshape,),
    "tensor.transpose": (_simplify_transpose,),
    "tensor.slice": (_simplify_slice,),
    "tensor.concat": (_simplify_concat,),
    "layout.convert": (_simplify_convert,),
    "tensor.reduce": (_eliminate_reduce,),
}
