"""Dropout outside of training, where it does nothing. In training it is a product with random numbers."""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.diagnostics import OpError
from netc.ir.opdef import Array, OpDef, define
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class DropoutAttrs:
    """``ratio`` in [0, 1] is the chance that training gives an element to become 0."""

    ratio: float


def _infer(operands: tuple[TensorType, ...], attrs: DropoutAttrs) -> tuple[TensorType, ...]:
    if not 0 <= attrs.ratio <= 1:
        raise OpError(f"ratio must be >= 0 and <= 1, got {attrs.ratio}", attr="ratio")
    return (operands[0],)


def _reference(operands: tuple[Array, ...], attrs: DropoutAttrs) -> tuple[Array, ...]:
    del attrs
    return (operands[0],)


DROPOUT = define(
    OpDef(
        "nn.dropout",
        "tensor",
        "x: Caffe scales what dropout leaves in training, not in testing. Keeps x's layout.",
        ("x",),
        DropoutAttrs,
        infer=_infer,
        reference=_reference,
        in_place=(0,),
        elementwise=True,
    )
)
