"""What the emulator found wrong with a kernel, with the place and the threads."""

from __future__ import annotations

from dataclasses import dataclass

Index = tuple[int, int, int]

KINDS = (
    "none",
    "out_of_bounds",
    "misaligned",
    "uninitialised_shared",
    "uninitialised_global",
    "read_only",
    "race",
    "missing_wait",
    "divergence",
    "arithmetic",
    "crash",
    "timeout",
    "bad_launch",
)  # in the order of Kind in runtime/runtime.h


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of a launch by its block's index and its own."""

    block: Index
    thread: Index

    def __str__(self) -> str:
        return f"thread {self.thread} of block {self.block}"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the kernels' text, from 1."""

    line: int
    text: str


class EmulatorFault(Exception):
    """A kernel did what the device would not forgive, or would not report.

    ``index`` counts elements of ``buffer`` and lies outside of it for an access out of bounds; ``other`` is the
    second thread of a race, or one that does not come to a barrier. ``places``: the access first, then the calls
    that led to it.
    """

    def __init__(
        self,
        kernel: str,
        kind: str,
        *,
        buffer: str = "",
        index: int = 0,
        extent: int = 0,
        write: bool = False,
        thread: Thread | None = None,
        other: Thread | None = None,
        places: tuple[Place, ...] = (),
        detail: str = "",
    ):
        self.kernel, self.kind = kernel, kind
        self.buffer, self.index, self.extent, self.write = buffer, index, extent, write
        self.thread, self.other = thread, other
        self.places, self.detail = places, detail
        super().__init__(self.describe())

    @property
    def line(self) -> int | None:
        """Where the access stands in the kernels' text; None where that is unknown."""
        return self.places[0].line if self.places else None

    def describe(self) -> str:
        """The fault in a few lines."""
        lines = [f"kernel {self.kernel}: {self.kind.replace('_', ' ')}"]
        if self.extent:
            verb = "write to" if self.write else "read of"
            lines[0] += f": {verb} {self.buffer}[{self.index}], which has {self.extent} elements"
        elif self.buffer:
            lines[0] += f": {self.buffer}"
        if self.detail:
            lines.append(f"  {self.detail}")
        if self.thread is not None:
            lines.append(f"  by {self.thread}")
        if self.other is not None:
            lines.append(f"  and {self.other}")
        lines += [f"  at line {p.line}: {p.text}" for p in self.places]
        return "\n".join(lines)
