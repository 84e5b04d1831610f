"""Compiled code on disk, found again by what it was compiled from.

An entry is one file: magic, digest, data. It is written under another name and renamed, so no reader sees
half of it; a reader checks the digest, so a damaged entry is a miss and is written again. Any trouble with
the disk means working without the cache, never an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

DEFAULT_LIMIT_BYTES = 512 << 20
SHRINK_TO = 0.8  # of the limit, so that not every write has to evict
PUTS_BETWEEN_SCANS = 64
TOUCH_AFTER_S = 3600.0  # an entry's time of use is renewed at most this often
STALE_PART_S = 3600.0  # a temporary file this old was left by a process that died

_MAGIC = b"netc-object-1\n"
_HEADER_BYTES = len(_MAGIC) + hashlib.sha256().digest_size
_SUFFIX = ".obj"
_PART_SUFFIX = ".part"


def default_cache_dir() -> Path | None:
    """The user's cache directory for netc on this platform; None where the user has no home.

    This is the only place where the cache reads the environment.
    """
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "netc" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "netc"
        given = os.environ.get("XDG_CACHE_HOME", "")
        # the specification says to ignore relative paths
        return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "netc"
    except RuntimeError:
        return None


class ObjectCache:
    """A bounded store of byte strings under string keys; the least recently used entries go first.

    With no directory, or one that is not the user's own alone, nothing is found and nothing is kept.
    """

    def __init__(self, directory: Path | None, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._puts = 0
        self.directory = directory if directory is not None and _prepare(directory) else None

    def get(self, key: str) -> bytes | None:
        """The data stored under the key, or None."""
        if self.directory is None:
            return None
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        data = content[_HEADER_BYTES:]
        if content[:_HEADER_BYTES] != _header(key, data):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > TOUCH_AFTER_S:
                os.utime(path)
        return data

    def put(self, key: str, data: bytes) -> None:
        """Store the data, whole or not at all."""
        if self.directory is None:
            return
        part = None
        try:
            handle, part = tempfile.mkstemp(suffix=_PART_SUFFIX, dir=self.directory)
            with os.fdopen(handle, "wb") as file:
                file.write(_header(key, data))
                file.write(data)
            os.replace(part, self._path(key))
        except OSError:
            if part is not None:
                with contextlib.suppress(OSError):
                    os.unlink(part)
            return
        if self._puts % PUTS_BETWEEN_SCANS == 0:
            self.evict()
        self._puts += 1

    def evict(self) -> None:
        """Delete what was used longest ago, as far as the limit asks for it."""
        if self.directory is None:
            return
        entries: list[tuple[float, int, str]] = []
        with contextlib.suppress(OSError), os.scandir(self.directory) as files:
            for file in files:
                with contextlib.suppress(OSError):  # another process may evict at the same time
                    status = file.stat(follow_symlinks=False)
                    if file.name.endswith(_SUFFIX):
                        entries.append((status.st_mtime, status.st_size, file.path))
                    elif file.name.endswith(_PART_SUFFIX) and time.time() - status.st_mtime > STALE_PART_S:
                        os.unlink(file.path)
        total = sum(size for _, size, _ in entries)
        if total <= self._limit_bytes:
            return
        for _, size, path in sorted(entries):
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size
            if total <= SHRINK_TO * self._limit_bytes:
                break

    def _path(self, key: str) -> Path:
        assert self.directory is not None
        return self.directory / (hashlib.sha256(key.encode()).hexdigest() + _SUFFIX)


def _header(key: str, data: bytes) -> bytes:
    """The digest covers the key too: a file under a wrong name is as bad as a damaged one."""
    digest = hashlib.sha256(hashlib.sha256(key.encode()).digest())
    digest.update(data)
    return _MAGIC + digest.digest()


def _prepare(directory: Path) -> bool:
    """Create the directory for the user alone; False where others could write code into it."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.stat()
    except OSError:
        return False
    if not directory.is_dir():
        return False
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & 0o022
