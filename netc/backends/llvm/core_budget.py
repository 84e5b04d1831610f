"""How many cores the programs of one process use at the same time, and who waits for some."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

import numpy as np

POLL_S = 0.02  # a program that is interrupted may end without waking who waits

Turn = SimpleQueue[None]


class CoreBudget:
    """``cores`` cores. A program takes its share of them when it starts, in native code (`lock_step`).

    Who finds too few waits here, behind those who came earlier: many small programs do not keep a large one
    waiting for ever. There are no locks, which a signal could leave behind: each change is one call of C.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self.waiting: deque[Turn] = deque()
        self._owners: dict[int, int] = {}  # of turns, by their ids: threads
        self._free = np.array([cores], dtype=np.int64)

    @property
    def address(self) -> int:
        """Where the number of free cores is."""
        return int(self._free.ctypes.data)

    @property
    def free(self) -> int:
        """How many cores are free now."""
        return int(self._free[0])

    def share(self, threads: int) -> int:
        """The cores that so many threads take: all, where there are more threads."""
        return min(threads, self.cores)

    def wait(self, ready: Callable[[], bool], *, again: bool = False) -> None:
        """Return when the caller is first, and ready. Who then comes too late waits ``again``, in front.

        So does a signal's handler that runs a program while its thread waits: that wait goes on behind it.
        """
        turn: Turn = SimpleQueue()
        thread = threading.get_ident()
        in_front = again or thread in self._owners.values()
        try:
            self._owners[id(turn)] = thread  # as long as the turn may be among those that wait
            (self.waiting.appendleft if in_front else self.waiting.append)(turn)
            while self.waiting[0] is not turn or not ready():
                with suppress(Empty):
                    turn.get(timeout=POLL_S)
        finally:
            if turn in self.waiting:
                self.waiting.remove(turn)
            self._owners.pop(id(turn), None)
            self.wake()

    def wake(self) -> None:
        """Let who is first look again."""
        with suppress(IndexError):
            self.waiting[0].put(None)
