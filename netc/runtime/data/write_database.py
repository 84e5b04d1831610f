"""Writes databases that appear under their names only when they are whole."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from netc.ir.diagnostics import NetcError
from netc.runtime.data import leveldb_store
from netc.runtime.data.lmdb_writer import LmdbWriter

BACKENDS = ("lmdb", "leveldb")


Put = Callable[[bytes, bytes], None]
"""Adds a record: its key, its value."""


@contextmanager
def new_database(path: Path, backend: str) -> Iterator[Put]:
    """A database beside ``path`` to put records in; it gets the name ``path`` at the end, or vanishes."""
    if os.path.exists(path):
        raise NetcError(f"{path}: exists already", remedy="remove it, or name another one")
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with _writer(temporary, backend) as put:
            yield put
        os.rename(temporary, path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise NetcError(f"{path}: {error.strerror or error}") from None
        raise


@contextmanager
def _writer(path: Path, backend: str) -> Iterator[Put]:
    if backend == "lmdb":
        with LmdbWriter(path) as writer:
            yield writer.put
        return
    plyvel = leveldb_store.library()
    with leveldb_store.errors(path, plyvel):
        database = plyvel.DB(os.fspath(path), create_if_missing=True, error_if_exists=True)

    def put(key: bytes, value: bytes) -> None:
        with leveldb_store.errors(path, plyvel):
            database.put(key, value)

    with closing(database):
        yield put
