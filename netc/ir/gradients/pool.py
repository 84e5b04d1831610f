"""Gradient rules of poolings."""

from __future__ import annotations

from typing import Any

from netc.ir.core import Value
from netc.ir.dim import product
from netc.ir.gradients.pullback import Pullback, tensor_type
from netc.ir.opdef import gradient_of
from netc.ir.ops.pool import PoolAttrs
from netc.ir.ops.pool_gradient import PoolGradientAttrs
from netc.ir.ops.shape import CountAttrs, ReshapeAttrs

Gradients = tuple[Value | None, ...]


def _with_choice(attrs: PoolAttrs) -> tuple[str, Any] | None:
    """A maximum's gradient goes to one element of the window: the forward says which."""
    return ("nn.max_pool_choice", attrs) if attrs.kind == "max" else None


def _attrs(p: Pullback) -> PoolGradientAttrs:
    return PoolGradientAttrs.of(p.attrs, tensor_type(p.operands[0]).shape[2:])


@gradient_of("nn.pool", recorded=_with_choice)
def _pool(p: Pullback) -> Gradients:
    return (p.emit("nn.ave_pool_gradient", (p.gradient,), _attrs(p)),)


@gradient_of("nn.max_pool_choice")
def _max_pool(p: Pullback) -> Gradients:
    return (p.emit("nn.max_pool_gradient", (p.gradient, p.op.results[1]), _attrs(p)),)


@gradient_of("nn.global_pool")
def _global_pool(p: Pullback) -> Gradients:
    (x,) = p.operands
    if p.attrs.kind == "max":
        return (p.emit("nn.global_max_gradient", (p.gradient, x)),)
    shape = tensor_type(x).shape
    count = product(shape[2:])
    if isinstance(count, int):
        return (p.broadcast(p.affine(p.gradient, 1 / count), x),)
    number = p.emit("tensor.count", (x,), CountAttrs(tuple(range(2, len(shape)))))
    number = p.emit("tensor.reshape", (number,), ReshapeAttrs((1,) * len(shape)))
    return (p.broadcast(p.emit("math.div", (p.gradient, number)), x),)
