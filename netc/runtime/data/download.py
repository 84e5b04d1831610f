"""Fetches one published file over the network, and believes it only if its checksum is right."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netc.frontend.atomic_file import atomic_file
from netc.ir.diagnostics import NetcError

_CHUNK = 2**18
_TIMEOUT_S = 30.0  # without a byte

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Published:
    """A file at an address, with its SHA-256 and its size in bytes."""

    url: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def download(file: Published, target: Path, on_progress: OnProgress | None = None) -> None:
    """Write the file to ``target``, which appears when all of it is there and checked."""
    digest = hashlib.sha256()
    done = 0
    try:
        with (
            urllib.request.urlopen(file.url, timeout=_TIMEOUT_S) as answer,
            atomic_file(target) as written,
        ):
            while chunk := answer.read(_CHUNK):
                done += len(chunk)
                digest.update(chunk)
                if done > file.size:
                    break
                written.write(chunk)
                if on_progress is not None:
                    on_progress(done, file.size)
            if digest.hexdigest() != file.sha256:
                raise NetcError(
                    f"{file.url}: what came is not the published file: {done} bytes of another checksum",
                    remedy=_REMEDY,
                )
    except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise NetcError(f"{file.url}: cannot be downloaded: {reason}", remedy=_REMEDY) from None


_REMEDY = "download it by other means, and name its folder with --from"
