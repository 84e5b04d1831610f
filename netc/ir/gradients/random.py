"""Gradient rules of ops on random numbers."""

from __future__ import annotations

from netc.ir.core import Value
from netc.ir.gradients.pullback import Pullback
from netc.ir.opdef import gradient_of

Gradients = tuple[Value | None, ...]


@gradient_of("random.dropout")
def _dropout(p: Pullback) -> Gradients:
    # the same numbers again: no mask is kept
    return (p.emit("random.dropout", (p.gradient, p.operands[1]), p.attrs), None)
