"""Writes LMDB databases as Caffe's tools do: records by key, committed many at a time. Needs lmdb."""

from __future__ import annotations

import os
from typing import Any

from netc.ir.diagnostics import NetcError

MAP_SIZE = 2**30  # bytes at first; doubled whenever it is full
COMMIT_RECORDS = 1000  # as the original's tools do
COMMIT_BYTES = 2**26


class LmdbWriter:
    """A new database: a folder ``path``, which must not exist yet.

    Records are bytes by key, in the order of their keys. Many are committed at a time, the last by ``close``
    or the end of a ``with`` block; a block that ends by an error commits nothing more.
    """

    def __init__(self, path: str | os.PathLike[str], *, map_size: int = MAP_SIZE) -> None:
        self._lmdb = _lmdb()
        self._path = os.fspath(path)
        self._map_size = map_size
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0
        try:
            os.mkdir(self._path)
            self._environment = self._lmdb.open(self._path, map_size=map_size)
        except FileExistsError:
            raise NetcError(
                f"{self._path}: exists already", remedy="remove it, or name another one"
            ) from None
        except (OSError, self._lmdb.Error) as error:
            raise self._failed(error) from None

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._pending.clear()
        self.close()

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record; one of the same key is replaced."""
        self._pending.append((key, value))
        self._pending_bytes += len(value)
        if len(self._pending) == COMMIT_RECORDS or self._pending_bytes >= COMMIT_BYTES:
            self._commit()

    def close(self) -> None:
        """Commit what was put and close the database."""
        try:
            self._commit()
        finally:
            self._environment.close()

    def _commit(self) -> None:
        records, self._pending, self._pending_bytes = self._pending, [], 0
        while records:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in records:
                        transaction.put(key, value)
                return
            except self._lmdb.MapFullError:
                self._map_size *= 2
                self._environment.set_mapsize(self._map_size)
            except (OSError, self._lmdb.Error) as error:
                raise self._failed(error) from None

    def _failed(self, error: Exception) -> NetcError:
        return NetcError(f"{self._path}: {getattr(error, 'strerror', None) or error}")


def _lmdb() -> Any:
    try:
        import lmdb
    except ImportError:
        raise NetcError(
            "writing LMDB databases needs lmdb, which is not installed", remedy="pip install 'netc[lmdb]'"
        ) from None
    return lmdb
