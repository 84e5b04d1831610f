"""Inputs that kernels read where the caller has them: the words that point into an input's memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from netc.backends.llvm.spmd import Slots
from netc.ir.core import Func
from netc.runtime.memory import Array

LEAST_BYTES = 16 << 10  # copying less is quicker than changing words


def readable_in_place(func: Func, by_reference: Collection[str]) -> frozenset[str]:
    """The inputs of a function at buffer level that kernels only read.

    ``by_reference`` names the kernels that are none: what they read cannot move. A function with states
    learns: its inputs come from loaders, which may fill them again while it runs.
    """
    if func.states:
        return frozenset()
    found = {value.name for value in func.inputs}
    roots = {name: name for name in found}
    for op in func.ops:
        if op.name != "buffer.launch":
            if op.operands and op.operands[0].name in roots:
                roots[op.result.name] = roots[op.operands[0].name]
            continue
        written = op.operands[len(op.operands) - op.attrs.writes :]
        fixed = op.operands if op.attrs.kernel in by_reference else written
        found -= {roots[v.name] for v in fixed if v.name in roots}
    return frozenset(found)


@dataclass(slots=True)
class InputSlots:
    """Where the words lie that point into one input, and how far into it each does, in bytes."""

    words: list[tuple[Slots, int, int]] = field(default_factory=list)
    address: int = 0

    def add(self, slots: Slots, index: int, offset: int) -> None:
        """Word ``index`` of ``slots`` points ``offset`` bytes into the input."""
        self.words.append((slots, index, offset))

    def point_to(self, address: int) -> None:
        """Let all words point into memory at this address."""
        if address != self.address:
            for slots, index, offset in self.words:
                slots[index] = address + offset
            self.address = address


def is_readable(array: Array, dtype: np.dtype[np.generic]) -> bool:
    """Whether kernels can read an array as it lies, and that saves a copy worth the name."""
    fits = array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned
    return bool(fits and array.nbytes >= LEAST_BYTES)
