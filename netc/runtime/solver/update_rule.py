"""From a solver's fields to the rule that the compiled step follows."""

from __future__ import annotations

from typing import Literal, cast

from netc.frontend.message import Message
from netc.passes.update_params import SolverKind, UpdateRule


def update_rule(solver: Message) -> UpdateRule:
    """The rule of a checked solver. A negative ``clip_gradients`` means no clipping, as in the original."""
    clip = solver.number("clip_gradients")
    return UpdateRule(
        cast(SolverKind, solver.text("type")),
        momentum=solver.number("momentum"),
        momentum2=solver.number("momentum2"),
        delta=solver.number("delta"),
        rms_decay=solver.number("rms_decay"),
        weight_decay=solver.number("weight_decay"),
        regularization=cast(Literal["L1", "L2"], solver.text("regularization_type")),
        clip_gradients=None if clip < 0 else clip,
        iter_size=solver.integer("iter_size"),
    )
