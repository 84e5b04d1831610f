"""The public plug-in interface: new layer types and new ops, added from outside. See docs/plugins.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import netc.frontend.layers
import netc.ir.ops  # noqa: F401  # a plug-in may not take the name of a built-in op
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.scalar_ops import Emitter
from netc.backends.llvm.lower.table import Lowering, register_elementwise, register_lowering
from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.custom_param import CustomParam
from netc.frontend.layers.registry import Count, Rule, register_layer
from netc.frontend.python_layers.classes import register_python_layer
from netc.ir.core import Op
from netc.ir.diagnostics import OpError
from netc.ir.opdef import NOT_DIFFERENTIABLE, InferRule, NoAttrs, OpDef, ReferenceRule, VjpRule, define

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
    "register_python_layer",
]


def define_op(
    name: str,
    *,
    doc: str,
    operands: tuple[str, ...],
    infer: InferRule,
    reference: ReferenceRule,
    attrs: type[Any] = NoAttrs,
    vjp: VjpRule | None = None,
    elementwise: bool = False,
    in_place: tuple[int, ...] = (),
    lowering: Emitter | Callable[[Kernel, Op, Sequence[Op]], None] | None = None,
) -> OpDef[Any]:
    """Declare a tensor op; ``ctx.emit(name, …)`` in a layer's rule uses it.

    ``operands`` are names: ``"b?"`` may be missing, ``"xs*"`` takes any number. ``infer`` gives the result
    types from the operand types and the attributes, or raises OpError. ``reference`` computes with NumPy,
    in the operands' dtype. ``elementwise`` and ``in_place`` as in :class:`netc.ir.opdef.OpDef`.

    ``lowering`` writes the op's CPU kernel. Of an elementwise op it is ``(builder, attrs, registers) ->
    register``; of any other ``(kernel, op, tail) -> None``, where ``tail`` are the elementwise ops fused
    behind it (see netc/backends/llvm/lower/ for examples). Without it the reference runs between kernels.
    ValueError if the name is taken.
    """
    declared = define(
        OpDef(
            name,
            "tensor",
            doc,
            operands,
            attrs,
            infer=infer,
            reference=reference,
            vjp=NOT_DIFFERENTIABLE if vjp is None else vjp,
            in_place=in_place,
            elementwise=elementwise,
        )
    )
    if lowering is not None and elementwise:
        register_elementwise(name, cast(Emitter, lowering))
    elif lowering is not None:
        lower = cast(Callable[[Kernel, Op, Sequence[Op]], None], lowering)
        register_lowering(name, Lowering("plug-in", lambda _: True, lower))
    return declared
