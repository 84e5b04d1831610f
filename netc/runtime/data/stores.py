"""The kinds of databases, and those that are open: a process opens each of them once."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

from netc.runtime.data import leveldb_store, lmdb_store
from netc.runtime.data.leveldb_store import LevelDbStore
from netc.runtime.data.lmdb_store import LmdbStore
from netc.runtime.data.records import Store

BACKENDS: dict[str, type[LmdbStore] | type[LevelDbStore]] = {"LMDB": LmdbStore, "LEVELDB": LevelDbStore}

_lock = threading.Lock()
_open: weakref.WeakValueDictionary[tuple[str, str], LmdbStore | LevelDbStore] = weakref.WeakValueDictionary()


def open_store(path: Path, backend: str) -> Store:
    """The database at a path, which all that read it share: LevelDB opens none twice."""
    key = backend, os.path.realpath(path)
    with _lock:
        store = _open.get(key)
        if store is None:
            store = _open[key] = BACKENDS[backend](path)
        return store


def backend_of(path: Path) -> str | None:
    """The kind of the database in a folder, or None where it looks like neither."""
    if os.path.exists(path / lmdb_store.FILE):
        return "LMDB"
    return "LEVELDB" if os.path.exists(path / leveldb_store.FILE) else None
