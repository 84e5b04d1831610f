"""Binds threads to cores, where the system lets a program do so (Linux)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from netc.ir.diagnostics import NetcError

_TOPOLOGY = Path("/sys/devices/system/cpu")


def check_can_bind() -> None:
    """Raise `NetcError` where threads cannot be bound."""
    if not hasattr(os, "sched_setaffinity"):
        raise NetcError(
            f"threads cannot be bound to cores here ({sys.platform}): that is for Linux alone",
            remedy="leave out pin_threads, or --pin",
        )


def cores_to_bind() -> tuple[int, ...]:
    """The cores that the calling thread may use, one thread of each physical core first."""
    ranked: list[tuple[int, int]] = []
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    for core in allowed:
        ranked.append((sum(sibling < core for sibling in _siblings(core).intersection(allowed)), core))
    return tuple(core for _, core in sorted(ranked))


def bind_thread(native_id: int | None, core: int) -> None:
    """Let a thread of this process run on one core only."""
    assert native_id is not None
    try:
        os.sched_setaffinity(native_id, {core})
    except OSError as error:
        raise NetcError(f"a thread cannot be bound to core {core}: {error.strerror}") from None


def _siblings(core: int) -> set[int]:
    """The hardware threads of a core's physical core, as Linux numbers them."""
    try:
        text = (_TOPOLOGY / f"cpu{core}" / "topology" / "thread_siblings_list").read_text()
        return parse_list(text)
    except (OSError, ValueError):
        return {core}


def parse_list(text: str) -> set[int]:
    """The numbers of a list such as ``0-3,8``, as Linux writes it."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
