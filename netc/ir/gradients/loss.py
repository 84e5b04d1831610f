"""Gradient rules of losses. Labels have none."""

from __future__ import annotations

from netc.ir.core import Value
from netc.ir.gradients.pullback import Pullback
from netc.ir.opdef import gradient_of

Gradients = tuple[Value | None, ...]


@gradient_of("nn.softmax_loss")
def _softmax_loss(p: Pullback) -> Gradients:
    x, label = p.operands
    p.refuse(1, "labels")
    return (p.emit("nn.softmax_loss_gradient", (x, label, p.gradient), p.attrs), None)
