"""Runs a program's parts, forward and backward, whatever machine they are for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from netc.runtime.memory import Array


class Part(Protocol):
    """Steps that run one after the other without a look at what they compute."""

    def run(self) -> None:
        """Run them in order."""


class PartsProgram(ABC):
    """A program of parts; the backward pass begins with part ``_backward``, None: there is none."""

    _parts: Sequence[Part]
    _backward: int | None

    @abstractmethod
    def fill(self, arrays: Mapping[str, Array]) -> None:
        """Copy inputs, those that are given, to where the parts read them."""

    def take(self, arrays: Mapping[str, Array]) -> None:
        """Give a whole run its inputs, which may then be used until it ends."""
        self.fill(arrays)

    @abstractmethod
    def outputs(self, *, late: bool | None = None) -> dict[str, Array]:
        """Copies of the outputs of the last run: all, or those that depend on late inputs or do not."""

    def run(
        self, arrays: Mapping[str, Array], meanwhile: Callable[[], object] | None = None
    ) -> dict[str, Array]:
        """The outputs for these inputs, as new arrays.

        ``meanwhile`` is called before they are waited for.
        """
        self.take(arrays)
        self.run_parts()
        if meanwhile is not None:
            meanwhile()
        return self.outputs()

    def run_forward(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs that do not depend on late inputs."""
        self.fill(arrays)
        for part in self._parts[: self._backward]:
            part.run()
        return self.outputs(late=False)

    def run_backward(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs that do, after :meth:`run_forward`."""
        self.fill(arrays)
        for part in self._parts[self._backward :] if self._backward is not None else ():
            part.run()
        return self.outputs(late=True)

    def run_parts(self) -> None:
        """Run everything on what the inputs hold."""
        for part in self._parts:
            part.run()
