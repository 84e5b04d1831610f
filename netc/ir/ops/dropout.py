"""Dropout: noise while training, nothing at all otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.diagnostics import OpError
from netc.ir.opdef import Array, OpDef, define
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class DropoutAttrs:
    """``ratio`` in [0, 1) is the chance of an element to become 0; ``train`` switches the noise on."""

    ratio: float
    train: bool


def _infer(operands: tuple[TensorType, ...], attrs: DropoutAttrs) -> tuple[TensorType, ...]:
    if not 0 <= attrs.ratio <= 1 or (attrs.train and attrs.ratio == 1):
        raise OpError(f"ratio must be >= 0 and < 1, got {attrs.ratio}", attr="ratio")
    return (operands[0],)


def _reference(operands: tuple[Array, ...], attrs: DropoutAttrs) -> tuple[Array, ...]:
    if attrs.train:
        raise OpError(
            "the reference has no random numbers: nn.dropout runs outside of training only", attr="train"
        )
    return (operands[0],)


DROPOUT = define(
    OpDef(
        "nn.dropout",
        "tensor",
        "train: 0 with probability ratio, else x / (1 - ratio). Otherwise x: Caffe scales in training, "
        "not in testing. Keeps x's layout.",
        ("x",),
        DropoutAttrs,
        infer=_infer,
        reference=_reference,
        in_place=(0,),
        elementwise=True,
    )
)
