"""Inputs on their way to a GPU: through two pinned buffers in turn, the next batch's during the present run.

A copy from pinned memory runs beside the host and the kernels. What is staged goes, on a stream of its own,
to memory of the device that no kernel reads; feeding it is then a copy within the device, when a run begins.
What was not staged is copied in the order of the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.runtime.memory import Array

ALIGNMENT = 256  # bytes, of each input in a buffer

Inputs = Sequence[tuple[Any, Array]]
"""Memory of the device, as CuPy's array of bytes, and the contiguous array that goes there."""


@dataclass(slots=True)
class _Pinned:
    """One of the two buffers; ``read`` is the event after which it may be written again."""

    memory: Any = None
    read: Any = None


@dataclass(frozen=True, slots=True)
class _Staged:
    """An array of the host, and where its copy lies on the device."""

    array: Array
    part: Any


class InputCopies:
    """Copies inputs for the runs on one stream. ``cupy`` is the module."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cupy, self._runs = cupy, stream
        self._ahead = cupy.cuda.Stream(non_blocking=True)
        self._pinned = (_Pinned(), _Pinned())
        self._turn = 0
        self._room: Any = None
        self._staged: list[_Staged] = []
        self._arrived: Any = None  # when what is staged is there
        self._taken: Any = None  # when the room may be written again

    def stage(self, inputs: Inputs) -> None:
        """Begin to copy what the next :meth:`feed` is to take; the arrays must not change until then."""
        offsets, total = _places(inputs)
        if self._room is None or self._room.nbytes < total:
            with self._runs:
                self._room = self._cupy.empty(total, np.uint8)
            self._taken = self._runs.record()
        if self._taken is not None:
            self._ahead.wait_event(self._taken)
        pinned, memory = self._write(inputs, offsets, total)
        self._staged = []
        for (_, array), at in zip(inputs, offsets, strict=True):
            part = self._room[at : at + array.nbytes]
            part.set(memory[at : at + array.nbytes], stream=self._ahead)
            self._staged.append(_Staged(array, part))
        self._arrived = pinned.read = self._ahead.record()

    def feed(self, inputs: Inputs) -> None:
        """Copy inputs to where the run behind this one reads them; they may change at once."""
        staged = {id(each.array): each.part for each in self._staged}
        there = [(to, staged[id(array)]) for to, array in inputs if id(array) in staged]
        others = [(to, array) for to, array in inputs if id(array) not in staged]
        if there:
            self._runs.wait_event(self._arrived)
            with self._runs:
                for to, part in there:
                    to[...] = part
            self._taken = self._runs.record()
        self._staged = []
        if others:
            offsets, total = _places(others)
            pinned, memory = self._write(others, offsets, total)
            for (to, array), at in zip(others, offsets, strict=True):
                to.set(memory[at : at + array.nbytes], stream=self._runs)
            pinned.read = self._runs.record()

    def _write(self, inputs: Inputs, offsets: Sequence[int], total: int) -> tuple[_Pinned, Array]:
        """Copy arrays to the pinned buffer whose turn it is, when what it held is gone."""
        pinned = self._pinned[self._turn]
        self._turn = 1 - self._turn
        if pinned.read is not None:
            pinned.read.synchronize()
        if pinned.memory is None or pinned.memory.nbytes < total:
            block = self._cupy.cuda.alloc_pinned_memory(total)
            pinned.memory = np.frombuffer(block, np.uint8, total)
        for (_, array), at in zip(inputs, offsets, strict=True):
            pinned.memory[at : at + array.nbytes] = array.reshape(-1).view(np.uint8)
        return pinned, pinned.memory


def _places(inputs: Inputs) -> tuple[list[int], int]:
    """Where each array begins in a buffer, and the buffer's size."""
    offsets, total = [], 0
    for _, array in inputs:
        offsets.append(total)
        total += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    return offsets, total
