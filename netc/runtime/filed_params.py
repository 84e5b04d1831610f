"""Parameters that stay in the file of a compiled net: each is read when somebody asks for it.

Kernels read prepared copies, so the parameters themselves are mostly wanted once. Memory need not hold both.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.runtime.memory import Array, aligned_zeros

_READ_AT_ONCE = 1 << 30  # Linux reads no more than 2 GiB at a call


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file an array of float32 lies: its bytes from ``offset`` on.

    ``crc`` is the checksum of what comes before it in its member, and ``whole_crc`` that of the member.
    """

    offset: int
    shape: tuple[int, ...]
    crc: int
    whole_crc: int


class FiledParams(Mapping[str, Array]):
    """Parameters by name. Each access reads one anew.

    ``handle`` is an open file of the name ``path``, which belongs to this object from now on. `NetcError`
    where the file has changed since, or does not hold what its checksums say.
    """

    def __init__(self, path: str, handle: int, places: Mapping[str, Place]) -> None:
        self._path, self._handle, self._places = path, handle, dict(places)
        self._version = self._stat()

    def __del__(self) -> None:
        os.close(self._handle)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def holds(self, name: str, array: Array) -> bool:
        """Whether the array is what lies in the file."""
        place = self._places[name]
        return zlib.crc32(array.reshape(-1).view(np.uint8).data, place.crc) == place.whole_crc

    def __getitem__(self, name: str) -> Array:
        place = self._places[name]
        array = aligned_zeros(place.shape, what=f"parameter {name}")
        memory, done = array.reshape(-1).view(np.uint8).data, 0
        while done < len(memory):
            got = os.preadv(self._handle, [memory[done : done + _READ_AT_ONCE]], place.offset + done)
            if not got:
                raise self._damaged(f"parameter {name} ends early")
            done += got
        if zlib.crc32(memory, place.crc) != place.whole_crc:
            raise self._damaged(f"parameter {name} is not what was saved")
        return array

    def _damaged(self, message: str) -> NetcError:
        if self._stat() != self._version:
            message, remedy = "the file has changed since it was loaded", "load it again"
            return NetcError(f"{self._path}: {message}", remedy=remedy)
        return NetcError(f"{self._path}: damaged: {message}", remedy="compile the net again")

    def _stat(self) -> tuple[int, int]:
        found = os.fstat(self._handle)
        return found.st_size, found.st_mtime_ns
