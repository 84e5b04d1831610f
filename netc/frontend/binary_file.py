"""Opens binary files of Caffe's messages: mapped into memory, and refused where they are something else."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap

from netc.ir.diagnostics import NetcError

_SNIFFED_BYTES = 512
_LFS_POINTER = b"version https://git-lfs"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_FORMATS = (
    (_HDF5, "an HDF5 file", None),
    (_LFS_POINTER, "a Git LFS pointer, not the file itself", "fetch it with 'git lfs pull'"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first"),
)


@dataclass(frozen=True, slots=True)
class BinaryFile:
    """An open file and its bytes, mapped."""

    path: str
    descriptor: int
    data: mmap

    def error(self, message: str, offset: int | None = None, remedy: str | None = None) -> NetcError:
        """An error that names the file, and the byte where that is known."""
        where = self.path if offset is None else f"{self.path}, byte {offset}"
        return NetcError(f"{where}: {message}", remedy=remedy)


@contextmanager
def open_binary(path: str | os.PathLike[str]) -> Iterator[BinaryFile]:
    """Map a file that should hold a message; the mapping lives on while arrays view it."""
    name = os.fspath(path)
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):
            raise NetcError(f"{name}: {'is a directory' if os.path.isdir(name) else 'is no regular file'}")
        descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise NetcError(f"{name}: {error.strerror or error}") from None
    except ValueError:
        raise NetcError(f"{name!r}: is no path") from None
    try:
        if os.fstat(descriptor).st_size == 0:
            raise NetcError(f"{name}: the file is empty")
        file = BinaryFile(name, descriptor, mmap(descriptor, 0, access=ACCESS_READ))
        _refuse_other_formats(file)
        yield file
    finally:
        os.close(descriptor)


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as HDF5 files do; False where it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return file.read(len(_HDF5)) == _HDF5
    except (OSError, ValueError):
        return False


def _refuse_other_formats(file: BinaryFile) -> None:
    head = file.data[:_SNIFFED_BYTES]
    for magic, what, remedy in _FORMATS:
        if head.startswith(magic):
            raise file.error(f"this is {what}", remedy=remedy)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise file.error("this is a web page", remedy="download the file itself, not the page about it")
    if not has_control_characters(head) and _is_utf8(head):
        raise file.error("this is text, where a binary file is expected")


def has_control_characters(head: bytes) -> bool:
    """Whether the first bytes of a file have what no text has, and binary messages soon have."""
    return any((byte < 32 and byte not in b"\t\n\v\f\r") or byte == 127 for byte in head)


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut off
    except UnicodeDecodeError:
        return False
    return True
