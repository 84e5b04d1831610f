"""Reads LevelDB databases. Needs the package plyvel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netc.ir.diagnostics import NetcError

FILE = "CURRENT"


class LevelDbStore:
    """A database that is only read. LevelDB lets one process at a time open it."""

    count: int | None = None  # LevelDB counts by walking to the end

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = _library()
        with self._errors():
            self._database = self._library.DB(str(path), create_if_missing=False, max_open_files=100)

    def keys(self, start: bytes | None) -> Iterator[bytes]:
        """The keys in order, from ``start`` on or from the first."""
        with self._errors(), self._database.iterator(start=start, include_value=False) as found:
            yield from found

    def items(self, start: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The records in order, from the key ``start`` on or from the first."""
        with self._errors(), self._database.iterator(start=start) as found:
            yield from found

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._library.Error, RuntimeError) as error:
            text = error.args[0] if error.args else error
            words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
            raise NetcError(f"{self.path}: cannot be read as a LevelDB database: {words}") from None


def _library() -> Any:
    try:
        import plyvel
    except ImportError:
        raise NetcError(
            "reading LevelDB databases needs the package plyvel, which is not installed",
            remedy="pip install 'netc[leveldb]'",
        ) from None
    return plyvel
