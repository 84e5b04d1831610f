"""Gradient rules of ops that pick rows. No gradient passes to what says which; the original refuses, too."""

from __future__ import annotations

from netc.ir.core import Value
from netc.ir.gradients.pullback import Pullback, tensor_type
from netc.ir.opdef import gradient_of
from netc.ir.ops.scatter import ScatterAddAttrs

Gradients = tuple[Value | None, ...]


@gradient_of("tensor.take")
def _take(p: Pullback) -> Gradients:
    p.refuse(1, "indices")
    if not p.wanted[0]:
        return None, None
    table, indices = p.operands
    size = tensor_type(table).shape[0]
    return p.emit("tensor.scatter_add", (p.gradient, indices), ScatterAddAttrs(size)), None


@gradient_of("tensor.select")
def _select(p: Pullback) -> Gradients:
    p.refuse(1, "selectors")
    if not p.wanted[0]:
        return None, None
    return p.emit("tensor.unselect", (p.gradient, p.operands[1])), None
