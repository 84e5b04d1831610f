"""What each kernel takes of a processor: registers, spills, shared memory, as ptxas reports it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True, slots=True)
class Resources:
    """Of one function: registers a thread, bytes of stack and of spills a thread, shared bytes a block."""

    function: str
    registers: int
    stack_bytes: int
    spill_bytes: int
    shared_bytes: int


def parse_resources(log: str) -> tuple[Resources, ...]:
    """The functions in a log of NVRTC with ``--ptxas-options=-v``, in its order."""
    found: list[Resources] = []
    name, stack, spills = "", 0, 0
    for line in log.splitlines():
        if match := _ENTRY.search(line):
            name, stack, spills = match[1], 0, 0
        elif match := _SPILLS.search(line):
            stack, spills = int(match[1]), int(match[2]) + int(match[3])
        elif name and (match := _REGISTERS.search(line)):
            shared = _SHARED.search(line)
            found.append(Resources(name, int(match[1]), stack, spills, int(shared[1]) if shared else 0))
            name = ""
    return tuple(found)
