"""``fusion``: tensor ops that become one kernel. Its body is their meaning."""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.core import Block
from netc.ir.diagnostics import OpError
from netc.ir.opdef import OpDef, define
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class FusionAttrs:
    """``anchor`` is the name of the op that decides the schedule; ``map`` for a purely elementwise body."""

    anchor: str


def _infer(operands: tuple[TensorType, ...], attrs: FusionAttrs, body: Block) -> tuple[TensorType, ...]:
    del attrs
    if tuple(a.type for a in body.args) != operands:
        raise OpError("the body's arguments do not have the types of the operands")
    return tuple(v.type for v in body.results if isinstance(v.type, TensorType))


FUSION = define(
    OpDef(
        "fusion",
        "tensor",
        "Runs its body; the results are what the body yields.",
        ("operands*",),
        FusionAttrs,
        infer_body=_infer,
    )
)
