"""Batches for a net: from its data layers, made ahead, and from the caller for inputs without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.runtime.data.memory import MemoryArrays
from netc.runtime.data.open_source import data_shapes
from netc.runtime.data.prefetch import Prefetcher
from netc.runtime.memory import Array
from netc.runtime.shapes import as_array

GiveInputs = Callable[[], Mapping[str, Any]]
"""Arrays, or what becomes arrays, for the inputs that no data layer makes; asked for at every batch."""


class Feed:
    """The batches of a net in order. ``position`` is the number of the next one; it may be set."""

    def __init__(self, net: Message, *, phase: str, seed: int, root: Path) -> None:
        self._open = partial(data_shapes, net, phase=phase, root=root)
        self._sources, self.shapes = self._open(seed=seed)
        self._position = 0
        self._ahead: Prefetcher | None = None
        self._given: GiveInputs | None = None

    @property
    def position(self) -> int:
        """How many batches have been taken."""
        return self._position

    def seek(self, position: int) -> None:
        """Go on with another batch."""
        self.close()
        self._position = position

    def reseed(self, seed: int) -> None:
        """Draw the order of the data, and what is random in their preparation, anew. Set arrays stay."""
        self.close()
        before = self._sources
        self._sources, self.shapes = self._open(seed=seed)
        for old, new in zip(before, self._sources, strict=True):
            if isinstance(old, MemoryArrays) and isinstance(new, MemoryArrays):
                new.arrays = old.arrays

    def set_arrays(self, data: Array, labels: Array) -> bool:
        """Give the MemoryData layers their data set; False if there are none."""
        layers = [source for source in self._sources if isinstance(source, MemoryArrays)]
        for layer in layers:
            layer.set_arrays(data, labels)
        self.seek(0)
        return bool(layers)

    def give(self, inputs: GiveInputs | None) -> None:
        """Take the inputs that no data layer makes from a function."""
        if inputs is not None and not callable(inputs):
            raise NetcError("inputs is a function that gives the arrays of a batch by the inputs' names")
        self._given = inputs

    def next(self, wanted: Mapping[str, object]) -> dict[str, Array]:
        """The next batch: an array for each of the wanted inputs."""
        batch: dict[str, Array] = {}
        if self._sources:
            if self._ahead is None:
                self._ahead = Prefetcher(self._sources, self._position)
            batch.update(next(self._ahead))
        self._position += 1
        if self._given is not None:
            given = self._given()
            if not isinstance(given, Mapping):
                raise NetcError(f"the function for inputs gave {given!r}; expected arrays by name")
            batch.update({name: as_array(name, array) for name, array in given.items() if name not in batch})
        missing = [name for name in wanted if name not in batch]
        if missing:
            raise NetcError(
                f"nothing makes data for the input '{missing[0]}'",
                remedy="give the net a data layer, or pass the solver a function that gives the inputs",
            )
        return {name: batch[name] for name in wanted}

    def peek(self, wanted: Mapping[str, object]) -> dict[str, Array] | None:
        """The arrays that :meth:`next` will give, where they are made already."""
        made = self._ahead.peek() if self._ahead is not None else None
        if made is None or any(name not in made for name in wanted):
            return None
        return {name: made[name] for name in wanted}

    def close(self) -> None:
        """End the threads that make batches ahead; a later batch starts new ones."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None
