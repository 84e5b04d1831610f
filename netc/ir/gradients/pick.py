"""Gradient rules of ops that pick rows. No gradient passes to what says which; the original refuses, too."""

from __future__ import annotations

from netc.ir.core import Value
from netc.ir.diagnostics import OpError
from netc.ir.gradients.pullback import Pullback, tensor_type
from netc.ir.opdef import gradient_of
from netc.ir.ops.scatter import ScatterAddAttrs

Gradients = tuple[Value | None, ...]


@gradient_of("tensor.take")
def _take(p: Pullback) -> Gradients:
    if p.wanted[1]:
        raise OpError("tensor.take: no gradient passes to the indices")
    table, indices = p.operands
    size = tensor_type(table).shape[0]
    return p.emit("tensor.scatter_add", (p.gradient, indices), ScatterAddAttrs(size)), None


@gradient_of("tensor.select")
def _select(p: Pullback) -> Gradients:
    if p.wanted[1]:
        raise OpError("tensor.select: no gradient passes to the selector")
    return p.emit("tensor.unselect", (p.gradient, p.operands[1])), None
