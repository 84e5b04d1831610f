"""Says whether an input was treated well: it is read, or refused by a located error, soon and in little memory."""

from __future__ import annotations

import os
import re
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from netc.ir.diagnostics import NetcError

CPU_SECONDS = 1.0
MEGABYTES = 256  # of address space above what the process has before its first input

# how an error without a location says where: the file of the input, a part of the IR
_NAMED_PLACE = re.compile(r"/case\.|function '|module '")

Reader = Callable[[bytes], None]


@dataclass(frozen=True)
class Fault:
    """What is wrong: ``place`` is the innermost line of netc, and with ``what`` tells faults apart."""

    what: str
    place: str
    detail: str

    @property
    def key(self) -> tuple[str, str]:
        """Equal for inputs that show the same fault."""
        return self.what, self.place


class BadError(Exception):
    """A NetcError that does not say where, or cannot be shown."""


class _TooSlowError(BaseException):
    """Nothing that handles exceptions may stop this one."""


def fault_of(read: Reader, data: bytes) -> Fault | None:
    """The fault that an input shows, or None."""
    try:
        with _cpu_limit():
            try:
                read(data)
            except NetcError as error:
                check_error(error)
    except _TooSlowError as error:
        return _fault(f"more than {CPU_SECONDS} s", error)
    except BadError as error:
        return _fault(f"bad error: {error}", error.__cause__ or error)
    except Exception as error:
        return _fault(type(error).__name__, error)
    return None


def limit_memory() -> None:
    """From now on this process gets no more than ``MEGABYTES`` more; asking for them is a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (MEGABYTES << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check_error(error: NetcError) -> None:
    """The error says where: a point of the text, a byte or the path of a binary file, an op that it quotes."""
    shown = error.render()
    if any(not (char.isprintable() or char == "\n") for char in shown):
        raise BadError("characters that drive a terminal") from error
    where = error.location
    if where is None:
        if not error.notes and not _NAMED_PLACE.search(error.message):
            raise BadError("no location") from error
    elif where.source is not None:
        lines = where.source.text.split("\n")
        if not 1 <= where.line <= len(lines) or not 1 <= where.column <= len(lines[where.line - 1]) + 1:
            raise BadError("a location outside of the text") from error
        if not shown.split("\n")[1].startswith(f"{where.line:>5} | "):
            raise BadError("the line is not shown") from error


def _fault(what: str, error: BaseException) -> Fault:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/netc/" in frame.filename] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
    shown = traceback.format_exception(type(error), error, error.__traceback__)
    return Fault(what, place, "".join([*shown[:6], *shown[-12:]]))


@contextmanager
def _cpu_limit() -> Iterator[None]:
    signal.signal(signal.SIGVTALRM, _too_slow)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    raise _TooSlowError
