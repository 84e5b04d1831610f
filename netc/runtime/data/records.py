"""The records of a database in the order of its keys, by their position: endless, as Caffe's cursor wraps."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from netc.ir.diagnostics import NetcError

MARK_EVERY = 256  # records between two places that are remembered


class Store(Protocol):
    """An open database, which any number of iterators read. It is closed when nobody refers to it."""

    path: Path

    @property
    def count(self) -> int | None:
        """The number of records, where the database knows it."""

    def places(self, start: Any) -> Iterator[Any]:
        """Where the records are, in the order of their keys, from ``start`` on or from the first (None).

        What a place is, the kind of database knows. Values are not read.
        """

    def records(self, start: Any) -> Iterator[tuple[Any, bytes]]:
        """The values with their places, from ``start`` on or from the first (None)."""


class Records:
    """Reads runs of records at any position; positions beyond the last record start over.

    Reading on is one step of a cursor. To go elsewhere, some places are remembered on the way, so that at
    most ``MARK_EVERY`` records are stepped over, or those that no one has reached yet.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._count = store.count
        self._begin()
        if next(store.places(None), None) is None:
            raise self._empty()

    def read(self, position: int, count: int) -> list[bytes]:
        """The values of ``count`` records from ``position`` on."""
        if os.getpid() != self._process:  # a fork: a thread that is not here may hold the lock
            self._begin()
        with self._lock:
            found: list[bytes] = []
            while len(found) < count:
                at = self._wrapped(position + len(found))
                if at != self._position:
                    self._seek(at)
                if self._position == at:
                    self._read_on(found, count)
            return found

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._marks: list[Any] = []
        self._cursor: Iterator[tuple[Any, bytes]] = iter(())
        self._position = -1  # of the record that the cursor gives next; -1: there is no cursor

    def _wrapped(self, position: int) -> int:
        if self._count == 0:
            raise self._empty()
        return position if self._count is None else position % self._count

    def _empty(self) -> NetcError:
        return NetcError(f"{self._store.path}: the database is empty")

    def _read_on(self, found: list[bytes], count: int) -> None:
        """Take records until there are ``count``, or the database ends."""
        position, self._position = self._position, -1  # an error ends the cursor
        for place, value in self._cursor:
            if position % MARK_EVERY == 0:
                self._mark(position, place)
            position += 1
            found.append(value)
            if len(found) == count:
                self._position = position
                return
        self._count = position

    def _seek(self, position: int) -> None:
        """Put the cursor on a position; where the database ends before it, its number of records is known."""
        nearest = min(position // MARK_EVERY, len(self._marks) - 1)
        at = max(nearest, 0) * MARK_EVERY
        for place in self._store.places(self._marks[nearest] if nearest >= 0 else None):
            if at % MARK_EVERY == 0:
                self._mark(at, place)
            if at == position:
                self._cursor = self._store.records(place)
                self._position = position
                return
            at += 1
        self._count = at

    def _mark(self, position: int, place: Any) -> None:
        if position == len(self._marks) * MARK_EVERY:  # not passed before
            self._marks.append(place)
