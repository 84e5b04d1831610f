"""Writes files that appear under their names only when they are whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from netc.ir.diagnostics import NetcError

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[str]:
    """An empty file beside ``path`` to write to; it gets the name of ``path`` at the end, or vanishes.

    Its content is on the disk before it gets the name, so a loss of power leaves the old file or the new one.

    What the operating system refuses becomes a ``NetcError``.
    """
    name = os.fspath(path)
    temporary = f"{name}.{secrets.token_hex(4)}.partial"
    try:
        # unlike tempfile, this leaves the permissions to the user's umask
        os.close(os.open(temporary, _CREATE, 0o666))
    except OSError as error:
        raise NetcError(f"{name}: {error.strerror or error}") from None
    except ValueError:
        raise NetcError(f"{name!r}: is no path") from None
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, name)
        _flush_folder(os.path.dirname(name) or ".")
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise NetcError(f"{name}: {error.strerror or error}") from None
        raise


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Like ``atomic_path``, open for writing."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        yield file


def _flush(path: str) -> None:
    """Wait until the content of a file is on the disk."""
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(path: str) -> None:
    """Wait until the names in a folder are on the disk, so that they appear there in the order of writing."""
    with suppress(OSError):  # not every system can
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
