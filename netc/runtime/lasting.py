"""Arrays that last from run to run, and where their newest content is.

It is in host memory, until kernels write a device's copy; then it is there, until somebody looks
(:meth:`LastingArray.look`), and nothing is copied in between. An array that was looked at may have been
changed: the next run on the device compares its content, and sends it if it is another. After that run
whoever wants to see it looks again. Only an array that a caller outside holds, as :meth:`LastingArray.lend`
gives it, is brought back after every run, so that it always is what it says.
"""

from __future__ import annotations

import weakref
import zlib
from typing import Protocol

import numpy as np

from netc.runtime.memory import Array


class Elsewhere(Protocol):
    """Who has the newest content of arrays on a device."""

    def bring(self, home: Home) -> None:
        """Copy it to the array's host memory."""

    def clear(self, home: Home) -> None:
        """Make it zeros, there."""


class Home:
    """The host memory of an array that lasts, whatever shapes it is looked at in.

    ``memory`` may be old. ``looks`` counts how often it may have been changed here.
    """

    def __init__(self, memory: Array) -> None:
        self.memory = memory
        self.looks = 1
        self._elsewhere: Elsewhere | None = None
        self._lent: weakref.ref[Array] | None = None

    def look(self) -> Array:
        """The memory, with the newest content."""
        if self._elsewhere is not None:
            self._elsewhere.bring(self)
            self._elsewhere = None
        self.looks += 1
        return self.memory

    def clear(self) -> None:
        """Make the content zeros, where it is."""
        if self._elsewhere is not None:
            self._elsewhere.clear(self)
        else:
            self.look().fill(0)

    def written(self, elsewhere: Elsewhere) -> None:
        """Kernels have written the copy that somebody has on a device."""
        self._elsewhere = elsewhere
        if self.held:
            self.look()

    @property
    def elsewhere(self) -> Elsewhere | None:
        """Who has the newest content; None: it is here."""
        return self._elsewhere

    def lend(self) -> Array:
        """The memory as one dimension: it counts as held as long as it, or any view of it, lives."""
        self.look()
        base = self._lent() if self._lent is not None else None
        if base is None and self.memory.size:
            # the base of every view that the caller makes: it lives as long as any of them
            base = np.frombuffer(self.memory.reshape(-1).data, self.memory.dtype)
            self._lent = weakref.ref(base)
        return self.memory.reshape(-1) if base is None else base

    @property
    def held(self) -> bool:
        """Whether a caller holds the memory."""
        return self._lent is not None and self._lent() is not None


class LastingArray:
    """An array that lasts, in one of the shapes that nets give it."""

    def __init__(self, memory: Array, home: Home | None = None) -> None:
        self.home = Home(memory) if home is None else home
        self._memory = memory

    @property
    def memory(self) -> Array:
        """The host memory as it is, for whoever runs kernels on it."""
        return self._memory

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self._memory.shape

    def look(self) -> Array:
        """The array with its newest content; it may be changed until the next run."""
        self.home.look()
        return self._memory

    def lend(self) -> Array:
        """The array for a caller outside, which is up to date, and may be changed, as long as it is held."""
        return self.home.lend().reshape(self.shape)

    def clear(self) -> None:
        """Make it zeros."""
        self.home.clear()

    def shaped(self, shape: tuple[int, ...]) -> LastingArray:
        """The same array in another shape."""
        return LastingArray(self._memory.reshape(shape), self.home)


def content_digest(array: Array) -> int:
    """Of the bytes of an array: by it a change is found."""
    return zlib.crc32(array.reshape(-1).view(np.uint8).data)
