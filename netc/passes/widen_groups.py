"""Widen the groups of convolutions until they fill blocks of channels.

Does: a grouped ``conv`` whose groups are narrower than a block (ResNeXt: 32 groups of 4 channels) cannot work
on blocked channels, and alone among its neighbours would be row-major. Here ``m`` neighbouring groups become
one: each output channel gets weights of zero for the input channels of the other ``m - 1``. That costs ``m``
times the multiplications, in lanes that would be empty otherwise. ``m`` is the smallest divisor of the group
count that leaves whole blocks in each group, or one group.

Requires: a tensor module, row-major.
Ensures: convolutions are as they were, or (weights param-only, two spatial axes, ``m <= block``) have groups
that assign_layouts can block.
Refuses: nothing. Depthwise convolutions (one channel a group, both ways) have a better way and stay.

Example (``widen_groups(block=4)``)::

    module m tensor {
    func @main(%x: f32[1,8,3,3], %w: param f32[8,2,3,3]) -> (y = %y) {
      %y: f32[1,8,1,1] = nn.conv %x, %w
          {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1], group = 4}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[1,8,3,3], %w: param f32[8,2,3,3]) -> (y = %y) {
      %g: f32[2,2,2,1,2,9] = tensor.reshape %w {shape = [2, 2, 2, 1, 2, 9]}
      %one: f32[1] = tensor.fill {tensor = <f32[1]>, value = 1.0}
      %zeros: f32[2] = tensor.fill {tensor = <f32[2]>, value = 0.0}
      %e: f32[4] = tensor.concat %one, %zeros, %one {axis = 0}
      %eye: f32[1,2,1,2,1,1] = tensor.reshape %e {shape = [1, 2, 1, 2, 1, 1]}
      %p: f32[2,2,2,2,2,9] = math.mul %g, %eye
      %v: f32[8,4,3,3] = tensor.reshape %p {shape = [8, 4, 3, 3]}
      %y: f32[1,8,1,1] = nn.conv %x, %v
          {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1], group = 2}
    }
    }
"""

from __future__ import annotations

from dataclasses import replace

from netc.ir.core import Func, Module, Op, Value
from netc.ir.ops.shape import ConcatAttrs, FillAttrs, ReshapeAttrs
from netc.ir.param_only import param_only
from netc.ir.rewrite import Rewriter, rewrite_func
from netc.ir.types import TensorType


def widen_groups(module: Module, *, block: int) -> Module:
    """The module with narrow groups joined so that blocks of ``block`` channels fit."""
    return replace(module, funcs=tuple(_widen_func(f, block) for f in module.funcs))


def _widen_func(func: Func, block: int) -> Func:
    params = param_only(func)

    def rule(op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
        if op.name != "nn.conv" or op.operands[1].name not in params:
            return None
        joined = _groups_to_join(_tensor(op.operands[1]), op.attrs.group, block)
        if joined == 1:
            return None
        x, w, *bias = op.operands
        weights = _joined_weights(w, op, joined, rewriter)
        attrs = replace(op.attrs, group=op.attrs.group // joined)
        rewriter.append(replace(op, operands=(x, weights, *bias), attrs=attrs))
        return op.results

    return rewrite_func(func, (rule,))


def _groups_to_join(w: TensorType, group: int, block: int) -> int:
    """How many groups become one; 1 where nothing should change."""
    out, inputs = w.shape[0], w.shape[1]
    if group == 1 or w.rank != 4 or not isinstance(out, int) or not isinstance(inputs, int):
        return 1
    outputs = out // group
    if inputs == outputs == 1:
        return 1
    for count in range(1, min(group, block) + 1):
        fits = count * inputs % block == 0 and count * outputs % block == 0
        if group % count == 0 and (fits or count == group):
            return count
    return 1


def _joined_weights(w: Value, op: Op, joined: int, rewriter: Rewriter) -> Value:
    """Weights with zeros between groups that do not see each other."""
    type_ = _tensor(w)
    out, inputs, *kernel = type_.static_shape
    taps = kernel[0] * kernel[1]
    groups = op.attrs.group // joined
    outputs = out // op.attrs.group

    def add(name: str, operands: tuple[Value, ...], attrs: object) -> Value:
        return rewriter.add1(name, operands, attrs, hint=f"{w.name}.joined", location=op.location)

    # w[G, m, o, 1, c, taps] * eye[1, m, 1, m, 1, 1]
    apart = add("tensor.reshape", (w,), ReshapeAttrs((groups, joined, outputs, 1, inputs, taps)))
    one = add("tensor.fill", (), FillAttrs(type_.with_shape(1), 1.0))
    zeros = add("tensor.fill", (), FillAttrs(type_.with_shape(joined), 0.0))
    diagonal = add("tensor.concat", (one, *(zeros, one) * (joined - 1)), ConcatAttrs(0))
    eye = add("tensor.reshape", (diagonal,), ReshapeAttrs((1, joined, 1, joined, 1, 1)))
    padded = add("math.mul", (apart, eye), None)
    return add("tensor.reshape", (padded,), ReshapeAttrs((out, joined * inputs, *kernel)))


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
