"""What commands print: data on stdout as text or JSON, messages and progress on stderr."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

SHOW_PROGRESS_AFTER_S = 0.5

OnProgress = Callable[[int, int], None]


class OutputClosed(Exception):
    """Nobody reads stdout any more, as with ``| head``."""


class OutputFailed(Exception):
    """Stdout cannot be written: the disk is full, say."""


class CheckFailed(Exception):
    """What the command was asked to check does not hold."""


def put(text: str) -> None:
    """Write a line of data."""
    with _writing():
        sys.stdout.write(text + "\n")


def flush() -> None:
    """Write what is left of the data."""
    with _writing():
        sys.stdout.flush()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise OutputFailed(error.strerror or str(error)) from None


def put_json(data: Any) -> None:
    """Write data as JSON; numbers that JSON lacks become null."""
    put(json.dumps(_plain(data), indent=2, allow_nan=False))


def say(text: str) -> None:
    """Write a message."""
    click.echo(text, err=True)


def say_warnings(warnings: Sequence[str]) -> None:
    """Write warnings, a line each."""
    for warning in warnings:
        say(warning)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Columns in line; those in ``right`` are aligned to the right."""
    widths = [max(len(row[c]) for row in (header, *rows)) for c in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [
            cell.rjust(width) if c in right else cell.ljust(width)
            for c, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def show_count(count: int | str) -> str:
    """``1234567`` -> ``1.23 M``; a text stays."""
    if isinstance(count, str):
        return count
    value = float(count)
    if value < 1000:
        return str(count)
    for unit in ("k", "M", "G"):
        value /= 1000
        if value < 999.5:
            return f"{value:.3g} {unit}"
    return f"{value / 1000:.3g} T"


@contextmanager
def progress(what: str) -> Iterator[OnProgress | None]:
    """A bar on stderr for work that takes long; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(what)
    try:
        yield bar.update
    finally:
        bar.close()


class _Bar:
    def __init__(self, what: str) -> None:
        self._what = what
        self._start = time.perf_counter()
        self._bar: Any = None
        self._task: Any = None

    def update(self, done: int, total: int) -> None:
        if self._bar is None:
            if done >= total or time.perf_counter() - self._start < SHOW_PROGRESS_AFTER_S:
                return
            # only here, on a terminal, for work that does take long
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=total)
        self._bar.update(self._task, completed=done, total=total)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
