"""Reads LMDB databases. Needs the package lmdb."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netc.ir.diagnostics import NetcError

FILE = "data.mdb"


class LmdbStore:
    """A database that is only read, by any number of iterators in any threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = _library()
        self._environment = _environment(self._library, path)
        self.count: int | None = self._environment.stat()["entries"]

    def keys(self, start: bytes | None) -> Iterator[bytes]:
        """The keys in order, from ``start`` on or from the first."""
        return self._iterate(start, values=False)

    def items(self, start: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The records in order, from the key ``start`` on or from the first."""
        return self._iterate(start, values=True)

    def _iterate(self, start: bytes | None, *, values: bool) -> Iterator[Any]:
        with self._errors(), self._environment.begin() as transaction, transaction.cursor() as cursor:
            if cursor.first() if start is None else cursor.set_range(start):
                yield from cursor.iternext(keys=True, values=values)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._library.Error as error:
            raise NetcError(f"{self.path}: damaged database: {_words(error)}") from None


def _environment(library: Any, path: Path) -> Any:
    in_folder = path.is_dir()
    file = path / FILE if in_folder else path
    try:
        size = file.stat().st_size
        # without a lock file: the folder may be read-only, and nothing writes to a data set in use
        environment = library.open(os.fspath(path), subdir=in_folder, readonly=True, lock=False, max_dbs=0)
    except library.Error as error:
        raise NetcError(f"{path}: cannot be read as an LMDB database: {_words(error)}") from None
    except OSError as error:
        raise NetcError(f"{file}: {error.strerror or error}") from None
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < needed:  # reading beyond the end of a mapped file would end the process
        environment.close()
        raise NetcError(f"{file}: the database is cut off: {size} bytes of {needed}")
    return environment


def _words(error: Exception) -> str:
    """The library's message without the path, which it puts in front."""
    return str(error).rpartition(": ")[2]


def _library() -> Any:
    try:
        import lmdb
    except ImportError:
        raise NetcError(
            "reading LMDB databases needs the package lmdb, which is not installed",
            remedy="pip install 'netc[lmdb]'",
        ) from None
    return lmdb
