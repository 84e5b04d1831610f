"""The public plug-in interface: new layer types and new ops, added from outside. See docs/plugins.md."""

from __future__ import annotations

from typing import Any

import netc.frontend.layers
import netc.ir.ops  # noqa: F401  # a plug-in may not take the name of a built-in op
from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.custom_param import CustomParam
from netc.frontend.layers.registry import Count, Rule, register_layer
from netc.ir.diagnostics import OpError
from netc.ir.opdef import NOT_DIFFERENTIABLE, InferRule, NoAttrs, OpDef, ReferenceRule, define

__all__ = [
    "NOT_DIFFERENTIABLE",
    "Count",
    "CustomParam",
    "LayerContext",
    "NoAttrs",
    "OpError",
    "Rule",
    "define_op",
    "register_layer",
]


def define_op(
    name: str,
    *,
    doc: str,
    operands: tuple[str, ...],
    infer: InferRule,
    reference: ReferenceRule,
    attrs: type[Any] = NoAttrs,
    vjp: object = NOT_DIFFERENTIABLE,
    elementwise: bool = False,
    in_place: tuple[int, ...] = (),
) -> OpDef[Any]:
    """Declare a tensor op; ``ctx.emit(name, …)`` in a layer's rule uses it.

    ``operands`` are names: ``"b?"`` may be missing, ``"xs*"`` takes any number. ``infer`` gives the result
    types from the operand types and the attributes, or raises OpError. ``reference`` computes with NumPy,
    in the operands' dtype. ``elementwise`` and ``in_place`` as in :class:`netc.ir.opdef.OpDef`.
    ValueError if the name is taken.
    """
    return define(
        OpDef(
            name,
            "tensor",
            doc,
            operands,
            attrs,
            infer=infer,
            reference=reference,
            vjp=vjp,
            in_place=in_place,
            elementwise=elementwise,
        )
    )
