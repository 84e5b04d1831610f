"""Parameters of a net as its compiled parts see them.

A net is compiled in parts (all of it, or from one layer to another), and nets can share parameters. The
arrays live in one store; each part looks at them under its own names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netc.runtime.memory import Array
from netc.runtime.params import ParamEntry, ParamStore

Shape = tuple[int, ...]


class ParamSlot:
    """Where one parameter lies; it moves when the net shares the parameter of another net."""

    def __init__(self, store: ParamStore, name: str) -> None:
        self.store = store
        self.name = name

    @property
    def array(self) -> Array:
        """The parameter itself, not to be handed out."""
        return self.store.last(self.name).look()

    def lend(self) -> Array:
        """The parameter, to be edited by the caller."""
        return self.store.lend(self.name)

    def assign(self, array: Array) -> None:
        """Give the parameter new content."""
        self.store.assign(self.name, array.reshape(self.array.shape))

    def move(self, other: ParamSlot) -> None:
        """Be the parameter of another net from now on."""
        self.store, self.name = other.store, other.name


ParamSlots = Mapping[tuple[int, int], tuple[ParamSlot, Shape]]
"""(position of the layer, index of the parameter) -> where it is, and its shape there."""


class ParamView(ParamStore):
    """The parameters of one compiled part, by its own names."""

    def __init__(self, entries: Sequence[ParamEntry], slots: Mapping[str, ParamSlot]) -> None:
        slot_of = {e.value: slots[e.value] for e in entries}
        lasting = {
            e.value: slot_of[e.value].store.last(slot_of[e.value].name).shaped(e.shape) for e in entries
        }
        super().__init__(entries, {}, lasting)
        self._slots = dict(slots)

    def refresh(self) -> Mapping[str, int]:
        """The versions in the stores, after those looked for changes."""
        for store in {id(slot.store): slot.store for slot in self._slots.values()}.values():
            store.refresh()
        self.versions = {name: slot.store.versions[slot.name] for name, slot in self._slots.items()}
        return self.versions

    def lend(self, value: str) -> Array:
        """One parameter, to be edited by the caller."""
        return self._slots[value].lend().reshape(self.last(value).shape)

    def assign(self, value: str, array: Array) -> None:
        """Give a parameter new content."""
        self._slots[value].assign(array)
