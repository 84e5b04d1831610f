"""Join pads: what the gradients of slices add up to is one concat.

Does: the gradient of a slice is its own gradient with zeros around it, and the gradients of all slices of one
value are added. Where two such pads fill different parts of one axis, their sum is a ``concat`` of what was
padded, with zeros where neither is; so is the sum with a third, and so on. A recurrent net, cut into steps,
would otherwise add the whole of its input once a step.

Requires: a tensor module, row-major.
Ensures: no sum of two pads with zeros on one and the same axis is left, unless they overlap. Pads that lose
their last reader stay; dce removes them.
Refuses: nothing.

Example (``join_pads()``)::

    module m tensor {
    func @main(%a: f32[2,1], %b: f32[2,3]) -> (y = %y) {
      %p: f32[2,5] = tensor.pad %a {low = [0, 4], high = [0, 0], kind = constant, value = 0.0}
      %q: f32[2,5] = tensor.pad %b {low = [0, 0], high = [0, 2], kind = constant, value = 0.0}
      %y: f32[2,5] = math.add %p, %q
    }
    }

becomes::

    module m tensor {
    func @main(%a: f32[2,1], %b: f32[2,3]) -> (y = %y) {
      %p: f32[2,5] = tensor.pad %a {low = [0, 4], high = [0, 0], kind = constant, value = 0.0}
      %q: f32[2,5] = tensor.pad %b {low = [0, 0], high = [0, 2], kind = constant, value = 0.0}
      %y.zeros: f32[2,1] = tensor.fill {tensor = <f32[2,1]>, value = 0.0}
      %y: f32[2,5] = tensor.concat %b, %y.zeros, %a {axis = 1}
    }
    }
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from netc.ir.core import Func, Module, Op, Value
from netc.ir.ops.shape import ConcatAttrs, FillAttrs
from netc.ir.rewrite import Rewriter, rewrite_func
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class _Parts:
    """A tensor that is 0 but for parts along one axis: (start, end, value), in their order."""

    axis: int
    parts: tuple[tuple[int, int, Value], ...]


def join_pads(module: Module) -> Module:
    """The module with sums of pads as concats."""
    return replace(module, funcs=tuple(_join(f) for f in module.funcs))


def _join(func: Func) -> Func:
    joined: dict[str, _Parts] = {}

    def parts_of(value: Value, rewriter: Rewriter) -> _Parts | None:
        op = rewriter.defining(value)
        return joined.get(value.name) if op is None or op.name != "tensor.pad" else _padded(op)

    def rule(op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
        if op.name != "math.add" or op.operands[0].type != op.operands[1].type:
            return None
        first, second = (parts_of(value, rewriter) for value in op.operands)
        if first is None or second is None or first.axis != second.axis:
            return None
        parts = sorted((*first.parts, *second.parts), key=lambda part: part[0])
        if any(following[0] < part[1] for part, following in pairwise(parts)):
            return None
        joined[op.result.name] = _Parts(first.axis, tuple(parts))
        operands = _without_gaps(op, joined[op.result.name], rewriter)
        rewriter.append(replace(op, name="tensor.concat", operands=operands, attrs=ConcatAttrs(first.axis)))
        return op.results

    return rewrite_func(func, (rule,))


def _padded(op: Op) -> _Parts | None:
    """What a pad with zeros on one axis holds."""
    attrs = op.attrs
    axes = [axis for axis, pad in enumerate(zip(attrs.low, attrs.high, strict=True)) if any(pad)]
    if len(axes) != 1 or attrs.kind != "constant" or attrs.value != 0:
        return None
    (axis,) = axes
    extent = _tensor(op.operands[0]).shape[axis]
    if not isinstance(extent, int):
        return None
    return _Parts(axis, ((attrs.low[axis], attrs.low[axis] + extent, op.operands[0]),))


def _without_gaps(op: Op, whole: _Parts, rewriter: Rewriter) -> tuple[Value, ...]:
    """The parts with zeros between them, from the first element to the last."""
    type_, axis = _tensor(op.result), whole.axis
    size = type_.shape[axis]
    assert isinstance(size, int)
    found: list[Value] = []
    at = 0
    for start, end, value in (*whole.parts, (size, size, None)):
        if start > at:
            zeros = type_.with_shape(*type_.shape[:axis], start - at, *type_.shape[axis + 1 :])
            hint = f"{op.result.name}.zeros"
            found.append(
                rewriter.add1("tensor.fill", (), FillAttrs(zeros, 0.0), hint=hint, location=op.location)
            )
        if value is not None:
            found.append(value)
        at = end
    return tuple(found)


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
