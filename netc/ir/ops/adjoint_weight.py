"""The weight that makes a convolution the transpose of another one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.layout import Blocked
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.ops.window import check_at_least
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class AdjointWeightAttrs:
    """``group`` of the convolution; ``block`` > 1: the result is blocked {0:block}."""

    group: int = 1
    block: int = 1


def _infer(operands: tuple[TensorType, ...], attrs: AdjointWeightAttrs) -> tuple[TensorType, ...]:
    (w,) = operands
    if w.rank < 3 or w.layout is not None:
        raise OpError(f"a row-major weight of (O, C/group, kernel...) expected, got {w}")
    check_at_least("group", (attrs.group,), 1)
    check_at_least("block", (attrs.block,), 1)
    outputs, depth, *kernel = w.shape
    if not isinstance(outputs, int) or outputs % attrs.group:
        raise OpError(f"group {attrs.group} does not divide the {outputs} output channels", attr="group")
    layout = Blocked(0, attrs.block) if attrs.block > 1 else None
    return (TensorType(w.dtype, (depth * attrs.group, outputs // attrs.group, *kernel), layout),)


def _reference(operands: tuple[Array, ...], attrs: AdjointWeightAttrs) -> tuple[Array, ...]:
    (w,) = operands
    outputs, depth, *kernel = w.shape
    grouped = w.reshape(attrs.group, outputs // attrs.group, depth, *kernel).swapaxes(1, 2)
    flipped = np.flip(grouped, tuple(range(3, grouped.ndim)))
    return (np.ascontiguousarray(flipped).reshape(depth * attrs.group, outputs // attrs.group, *kernel),)


ADJOINT_WEIGHT = define(
    OpDef(
        "nn.adjoint_weight",
        "tensor",
        "v[c,o,t] = w[o,c,K-1-t] within each group: nn.conv of stride 1 by v is the transpose of nn.conv by "
        "w. w [O,C/group,*K], v [C,O/group,*K].",
        ("w",),
        AdjointWeightAttrs,
        infer=_infer,
        reference=_reference,
        vjp=NOT_DIFFERENTIABLE,
    )
)
