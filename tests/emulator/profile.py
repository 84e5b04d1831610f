"""What a kernel's first block asks of memory, line by line: bank conflicts, sectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import compiler
from .launch import Traffic


@dataclass(frozen=True, slots=True)
class LineTraffic:
    """The warps' requests of one line, of one width, to one kind of memory.

    ``bytes``: of a lane. ``transactions``: passes over the banks of shared memory, or 32-byte sectors of
    global memory; ``least``: what the same bytes would need at best.
    """

    line: int
    text: str
    shared: bool
    write: bool
    bytes: int
    requests: int
    transactions: int
    least: int

    @property
    def excess(self) -> float:
        """1 where no two lanes meet in a bank, and where all bytes of the sectors are used."""
        return self.transactions / self.least

    def __str__(self) -> str:
        verb, space = "write" if self.write else "read", "shared" if self.shared else "global"
        return f"{self.excess:5.2f} x {self.least:8} {space} {verb} of {self.bytes:2} at line {self.line}: {self.text}"


def by_line(traffic: Sequence[Traffic], library: Path, text: str) -> list[LineTraffic]:
    """Places of the code as lines of the text, outside of the functions that they call; ordered by line."""
    lines = text.splitlines()
    sums: dict[tuple[int, bool, bool, int], LineTraffic] = {}
    for t, found in zip(traffic, compiler.places(library, [t.pc for t in traffic]), strict=True):
        numbers = [n for file, n in found if file == "kernels.cpp" and n <= len(lines)]
        line = numbers[-1] if numbers else 0
        key = (line, bool(t.shared), bool(t.write), int(t.bytes))
        old = sums.get(key) or LineTraffic(line, lines[line - 1].strip() if line else "", *key[1:], 0, 0, 0)
        sums[key] = replace(
            old,
            requests=old.requests + t.requests,
            transactions=old.transactions + t.transactions,
            least=old.least + t.least,
        )
    return [sums[key] for key in sorted(sums)]
