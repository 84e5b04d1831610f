"""The seed of a training run: stated by the solver, given by its caller, or drawn."""

from __future__ import annotations

import secrets

from netc.frontend.message import Message

MAX_SEED = 2**31


def choose_seed(solver: Message, given: int | None) -> tuple[int, tuple[str, ...]]:
    """The seed, and notes for the user: one that was drawn is said, so that the run can be repeated."""
    stated = solver.integer("random_seed")
    if stated >= 0:
        return stated, ()
    if given is not None:
        return given, ()
    drawn = secrets.randbelow(MAX_SEED)
    return drawn, (f"note: random_seed: {drawn} was drawn, as the solver states none",)
