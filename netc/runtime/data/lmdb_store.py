"""Reads LMDB databases, without the package lmdb: the pages of its B-tree, none of them trusted.

The library maps the file and follows what the pages say, so that a damaged file ends the process. Here every
page is checked when it is read. The format is that of LMDB 0.9 on machines of 64 bits, little-endian, which
is what all of Caffe's databases have.
"""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from netc.ir.diagnostics import NetcError

FILE = "data.mdb"

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE_SIZES = tuple(2**power for power in range(9, 17))
_MAX_DEPTH = 32  # the library's own limit
_NO_PAGE = 2**64 - 1  # the root of an empty database
_HEAD = 16  # bytes before the pointers of a page, or before the data of an overflow page
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4  # kinds of pages
_IN_OVERFLOW = 1  # a node's flag: its value has pages of its own
_META = struct.Struct("<II16xI44x6xH24xQQQQ")  # after the head of page 0 and of page 1
_NODE = struct.Struct("<HHHH")

Place = tuple[int, int]
"""A leaf, counted in the order of the keys, and a node of it."""


class _Meta(NamedTuple):
    magic: int
    version: int
    page_size: int
    depth: int
    entries: int
    root: int
    last_page: int
    transaction: int


class LmdbStore:
    """A database that is only read, by any number of iterators in any threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path / FILE if path.is_dir() else path
        try:
            self._descriptor = os.open(self._file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self._descriptor)
            size = os.fstat(self._descriptor).st_size
        except OSError as error:
            raise NetcError(f"{self._file}: {error.strerror or error}") from None
        meta = self._meta()
        self._page_size = meta.page_size
        needed = (meta.last_page + 1) * meta.page_size
        if size < needed:
            raise NetcError(f"{self._file}: the database is cut off: {size} bytes of {needed}")
        self._pages = meta.last_page + 1
        self._leaves = [] if meta.root == _NO_PAGE else self._find_leaves(meta.root, meta.depth)
        self.count: int | None = meta.entries

    def places(self, start: Place | None) -> Iterator[Place]:
        """Where the records are, in the order of their keys, from ``start`` on or from the first."""
        leaf, node = start or (0, 0)
        for index in range(leaf, len(self._leaves)):
            count = len(self._pointers(self._page(self._leaves[index], _LEAF)))
            yield from ((index, each) for each in range(node, count))
            node = 0

    def records(self, start: Place | None) -> Iterator[tuple[Place, bytes]]:
        """The values with their places, from ``start`` on or from the first."""
        leaf, node = start or (0, 0)
        for index in range(leaf, len(self._leaves)):
            page = self._page(self._leaves[index], _LEAF)
            for each, pointer in enumerate(self._pointers(page)[node:], node):
                yield (index, each), self._value(page, pointer)
            node = 0

    def _meta(self) -> _Meta:
        """What the later one of the two meta pages says."""
        head = self._read(0, _HEAD + _META.size)
        if len(head) < _HEAD + _META.size or _Meta(*_META.unpack_from(head, _HEAD)).magic != _MAGIC:
            raise NetcError(f"{self._file}: cannot be read as an LMDB database")
        first = _Meta(*_META.unpack_from(head, _HEAD))
        if first.version != _VERSION or first.page_size not in _PAGE_SIZES:
            raise NetcError(f"{self._file}: an LMDB database of an unknown version, or a damaged one")
        tail = self._read(first.page_size, _HEAD + _META.size)
        if len(tail) < _HEAD + _META.size:
            raise self._damaged(1)
        second = _Meta(*_META.unpack_from(tail, _HEAD))
        if (second.magic, second.version, second.page_size) != first[:3]:
            raise self._damaged(1)
        return max(first, second, key=lambda each: each.transaction)

    def _find_leaves(self, root: int, depth: int) -> list[int]:
        """The numbers of all leaf pages in the order of their keys; leaves are not read."""
        if depth > _MAX_DEPTH:
            raise self._damaged(root)
        level = [root]
        for _ in range(depth - 1):
            below: list[int] = []
            for number in level:
                page = self._page(number, _BRANCH)
                for pointer in self._pointers(page):
                    low, middle, high, _ = self._node(page, pointer)
                    below.append(low | middle << 16 | high << 32)
                if len(below) > self._pages:  # pages that lead to each other
                    raise self._damaged(number)
            level = below
        return level

    def _page(self, number: int, kind: int) -> bytes:
        page = self._read(number * self._page_size, self._page_size) if number < self._pages else b""
        if len(page) != self._page_size:
            raise self._damaged(number)
        own_number, found = struct.unpack_from("<Q2xH", page)
        if own_number != number or found != kind:
            raise self._damaged(number)
        return page

    def _pointers(self, page: bytes) -> tuple[int, ...]:
        """Where the nodes of a page begin, in the order of their keys."""
        (lower,) = struct.unpack_from("<H", page, 12)
        if not _HEAD <= lower <= self._page_size:
            raise self._damaged(_number(page))
        return struct.unpack_from(f"<{(lower - _HEAD) // 2}H", page, _HEAD)

    def _node(self, page: bytes, pointer: int) -> tuple[int, int, int, int]:
        try:
            return _NODE.unpack_from(page, pointer)
        except struct.error:
            raise self._damaged(_number(page)) from None

    def _value(self, page: bytes, pointer: int) -> bytes:
        low, high, flags, key_size = self._node(page, pointer)
        size, start = low | high << 16, pointer + _NODE.size + key_size
        if not flags:
            value = page[start : start + size]
        elif flags != _IN_OVERFLOW:  # several values of one key, or a database in the database
            raise NetcError(f"{self._file}: an LMDB database of another kind than Caffe's")
        elif start + 8 <= len(page):
            (number,) = struct.unpack_from("<Q", page, start)
            value = self._overflow(number, size)
        else:
            value = b""
        if len(value) != size:
            raise self._damaged(_number(page))
        return value

    def _overflow(self, number: int, size: int) -> bytes:
        """A value in pages of its own."""
        if number * self._page_size + _HEAD + size > self._pages * self._page_size:
            raise self._damaged(number)
        data = self._read(number * self._page_size, _HEAD + size)
        if len(data) < _HEAD or struct.unpack_from("<Q2xH", data) != (number, _OVERFLOW):
            raise self._damaged(number)
        return data[_HEAD:]

    def _read(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise NetcError(f"{self._file}: {error.strerror or error}") from None

    def _damaged(self, number: int) -> NetcError:
        return NetcError(f"{self._file}: damaged database: page {number}")


def _number(page: bytes) -> int:
    number: int = struct.unpack_from("<Q", page)[0]
    return number
