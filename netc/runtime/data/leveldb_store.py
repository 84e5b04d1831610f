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
        self._library = library()
        with errors(self.path, self._library):
            self._database = self._library.DB(str(path), create_if_missing=False, max_open_files=100)

    def places(self, start: bytes | None) -> Iterator[bytes]:
        """The keys in order, from ``start`` on or from the first."""
        with (
            errors(self.path, self._library),
            self._database.iterator(start=start, include_value=False) as found,
        ):
            yield from found

    def records(self, start: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The values with their keys, from ``start`` on or from the first."""
        with errors(self.path, self._library), self._database.iterator(start=start) as found:
            yield from found


@contextmanager
def errors(path: Path, package: Any) -> Iterator[None]:
    """What the package raises inside of the block becomes an error about the database at a path."""
    try:
        yield
    except (package.Error, RuntimeError) as error:
        text = error.args[0] if error.args else error
        words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise NetcError(f"{path}: LevelDB: {words}") from None


def library() -> Any:
    """The package plyvel."""
    try:
        import plyvel
    except ImportError:
        raise NetcError(
            "LevelDB databases need the package plyvel, which is not installed",
            remedy="pip install 'netc[leveldb]'",
        ) from None
    return plyvel
