"""Gradient rules of ops that move elements: their gradients move back."""

from __future__ import annotations

import math

from netc.ir.core import Value
from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim
from netc.ir.gradients.pullback import Pullback, tensor_type
from netc.ir.opdef import gradient_of
from netc.ir.ops.pad import PadAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import CountAttrs, ReshapeAttrs, SliceAttrs, TransposeAttrs

Gradients = tuple[Value | None, ...]


def _fixed(extent: Dim, what: str) -> int:
    if not isinstance(extent, int):
        raise OpError(f"a gradient needs a fixed {what}, got {extent}")
    return extent


@gradient_of("tensor.reshape")
def _reshape(p: Pullback) -> Gradients:
    return (p.reshape(p.gradient, p.operands[0]),)


@gradient_of("tensor.transpose")
def _transpose(p: Pullback) -> Gradients:
    perm = p.attrs.perm
    back = tuple(perm.index(axis) for axis in range(len(perm)))
    return (p.emit("tensor.transpose", (p.gradient,), TransposeAttrs(back)),)


@gradient_of("tensor.reverse")
def _reverse(p: Pullback) -> Gradients:
    return (p.emit("tensor.reverse", (p.gradient,), p.attrs),)


@gradient_of("tensor.concat")
def _concat(p: Pullback) -> Gradients:
    axis = p.attrs.axis
    gradients: list[Value | None] = []
    begin: Dim = 0
    for operand, wanted in zip(p.operands, p.wanted, strict=True):
        shape = tensor_type(operand).shape
        if wanted:
            start = tuple(_fixed(begin, "extent") if a == axis else 0 for a in range(len(shape)))
            gradients.append(p.emit("tensor.slice", (p.gradient,), SliceAttrs(start, shape)))
        else:
            gradients.append(None)
        begin = begin + shape[axis]
    return tuple(gradients)


@gradient_of("tensor.slice")
def _slice(p: Pullback) -> Gradients:
    whole = tensor_type(p.operands[0]).shape
    ends = (start + extent for start, extent in zip(p.attrs.start, p.attrs.shape, strict=True))
    high = tuple(_fixed(extent - end, "extent") for extent, end in zip(whole, ends, strict=True))
    return (p.emit("tensor.pad", (p.gradient,), PadAttrs(p.attrs.start, high)),)


@gradient_of("tensor.pad")
def _pad(p: Pullback) -> Gradients:
    if p.attrs.kind == "constant":
        part = SliceAttrs(p.attrs.low, tensor_type(p.operands[0]).shape)
        return (p.emit("tensor.slice", (p.gradient,), part),)
    return (p.emit("tensor.pad_gradient", (p.gradient,), p.attrs),)


@gradient_of("tensor.tile")
def _tile(p: Pullback) -> Gradients:
    axis, tiles = p.attrs.axis, p.attrs.tiles
    (x,) = p.operands
    shape = tensor_type(x).shape
    split = ReshapeAttrs((*shape[:axis], tiles, *shape[axis:]))
    copies = p.emit("tensor.reshape", (p.gradient,), split)
    return (p.reshape(p.emit("tensor.reduce", (copies,), ReduceAttrs("sum", (axis,))), x),)


@gradient_of("tensor.count")
def _count(p: Pullback) -> Gradients:
    del p
    # extents do not change with the elements
    return (None,)


@gradient_of("tensor.reduce")
def _reduce(p: Pullback) -> Gradients:
    (x,) = p.operands
    axes, shape = p.attrs.axes, tensor_type(x).shape
    gradient = p.gradient
    if p.attrs.kind == "max":
        # to every element that is as large as the maximum
        below = p.emit("math.sub", (p.result, x))
        highest = p.affine(p.emit("math.sign", (below,)), -1.0, 1.0)
        return (p.mul(gradient, highest),)
    if p.attrs.kind == "mean":
        extents = [shape[axis] for axis in axes]
        known = [extent for extent in extents if isinstance(extent, int)]
        if len(known) == len(extents):
            gradient = p.affine(gradient, 1.0 / math.prod(known))
        else:
            number = p.emit("tensor.count", (x,), CountAttrs(axes))
            number = p.emit("tensor.reshape", (number,), ReshapeAttrs((1,) * len(shape)))
            gradient = p.emit("math.div", (gradient, number))
    return (p.broadcast(gradient, x),)
