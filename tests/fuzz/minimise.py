"""Makes an input smaller while it shows the same fault."""

from __future__ import annotations

import time
from collections.abc import Callable

MOST_SECONDS = 30.0


def minimised(data: bytes, shows: Callable[[bytes], bool]) -> bytes:
    """The input without the parts that ``shows`` can do without: halves first, single bytes last."""
    end = time.monotonic() + MOST_SECONDS
    size = max(1, len(data) // 2)
    while True:
        smaller = _without(data, size, shows, end)
        if time.monotonic() > end or (size == 1 and smaller == data):
            return smaller
        data = smaller
        size = max(1, min(size // 2, len(data)))


def _without(data: bytes, size: int, shows: Callable[[bytes], bool], end: float) -> bytes:
    at = 0
    while at < len(data) and time.monotonic() < end:
        shorter = data[:at] + data[at + size :]
        if shows(shorter):
            data = shorter
        else:
            at += size
    return data
