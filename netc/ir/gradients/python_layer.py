"""Gradient rule of layers whose meaning is code outside of netc: that code's own backward."""

from __future__ import annotations

from netc.ir.core import Value
from netc.ir.gradients.pullback import Pullback, tensor_type
from netc.ir.opdef import gradient_of
from netc.ir.ops.python_layer import PythonLayerGradientAttrs, code_of
from netc.ir.ops.shape import FillAttrs

Gradients = tuple[Value | None, ...]


@gradient_of("python.layer")
def _python_layer(p: Pullback) -> Gradients:
    _, *inputs = p.operands
    none: Gradients = (None,) * len(p.operands)
    wanted = p.wanted[1:]
    if not any(wanted):
        return none
    if not code_of(p.attrs.key).has_backward:
        for index in range(len(p.operands)):
            p.refuse(index, "inputs of a Python layer without a method backward")
        return none
    *results, _ = p.op.results
    gradients = [
        gradient or p.emit("tensor.fill", (), FillAttrs(tensor_type(result), 0.0))
        for result, gradient in zip(results, p.gradients, strict=False)
    ]
    attrs = PythonLayerGradientAttrs(p.attrs.key, wanted)
    found = iter(p.emit_all("python.layer_gradient", (*inputs, *results, *gradients), attrs))
    return (None, *(next(found) if want else None for want in wanted))
