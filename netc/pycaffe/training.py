"""What Caffe's Python interface has for gradients, which is not there yet: every use says so."""

from __future__ import annotations

from typing import NoReturn

from netc.ir.diagnostics import NetcError


def no_training(what: str) -> NoReturn:
    """Refuse a use of gradients."""
    raise NetcError(
        f"{what} needs the gradients of a net by itself, which this interface does not have yet",
        remedy="train with a solver, or compile the net with netc.compile(..., training=True)",
    )
