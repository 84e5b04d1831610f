"""The elements of axes in the opposite order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import OpDef, define
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class ReverseAttrs:
    """``axes`` (>= 0, ascending) whose elements change their order."""

    axes: tuple[int, ...]


def _infer(operands: tuple[TensorType, ...], attrs: ReverseAttrs) -> tuple[TensorType, ...]:
    (x,) = operands
    if x.layout is not None:
        raise OpError(f"a row-major operand expected, got {x}")
    if list(attrs.axes) != sorted(set(attrs.axes)):
        raise OpError(f"axes must be ascending, got {list(attrs.axes)}", attr="axes")
    if attrs.axes and (attrs.axes[0] < 0 or attrs.axes[-1] >= x.rank):
        raise OpError(f"axes must be within 0..{x.rank - 1} for {x}, got {list(attrs.axes)}", attr="axes")
    return (x,)


REVERSE = define(
    OpDef(
        "tensor.reverse",
        "tensor",
        "The elements along each of the axes from the last to the first. Row-major only.",
        ("x",),
        ReverseAttrs,
        infer=_infer,
        reference=lambda operands, a: (np.ascontiguousarray(np.flip(operands[0], a.axes)),),
    )
)
