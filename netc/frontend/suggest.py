"""The nearest right name for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_COMPARED = 64  # characters; comparing is quadratic, and no name of the schema is as long


def did_you_mean(name: str, choices: Iterable[str]) -> str | None:
    """A remedy that names the choice most like ``name``, or None where nothing is like it."""
    by_fold = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(name[:MAX_COMPARED].casefold(), list(by_fold), n=1)
    return f"did you mean '{by_fold[near[0]]}'?" if near else None
