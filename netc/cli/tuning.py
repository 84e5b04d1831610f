"""Shows how far a tuner is, and says what it had no time for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from netc.cli.output import progress, say
from netc.runtime.tuning.tuner import Tuner


@contextmanager
def tuning(tuner: Tuner | None) -> Iterator[None]:
    """A bar on stderr while the tuner measures."""
    if tuner is None:
        yield
        return
    with progress("measuring schedules") as tuner.on_progress:
        yield
    tuner.on_progress = None
    if tuner.unmeasured:
        say(
            f"note: no time was left to measure {tuner.unmeasured} of the choices; "
            "what was measured is remembered, so another run with --tune goes on from here"
        )
