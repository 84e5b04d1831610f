"""Memory that kernels read and write: aligned arrays, how much a module takes, how much there is."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netc.ir.arena import ALIGN_BYTES
from netc.ir.diagnostics import NetcError
from netc.ir.layout import Layout, storage_shape

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a module takes at one size of its inputs.

    ``activations`` is what intermediate blobs share, ``unshared`` what they would take one by one;
    ``scratch`` is what kernels need besides, all threads together;
    ``params`` is the net's own parameters, ``prepared`` the copies of them in the layouts of the kernels, and
    ``inputs_outputs`` the buffers of the net's inputs and outputs.
    """

    activations: int
    scratch: int
    unshared: int
    params: int
    prepared: int
    inputs_outputs: int

    @property
    def total(self) -> int:
        """Everything that is allocated."""
        return self.activations + self.scratch + self.params + self.prepared + self.inputs_outputs


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32, *, what: str) -> Array:
    """An array of zeros that starts at a multiple of 64 bytes; NetcError if it cannot be had."""
    item = np.dtype(dtype)
    size = math.prod(shape) * item.itemsize
    check_available(size, what)
    try:
        raw = np.zeros(size + ALIGN_BYTES, np.uint8)
    except MemoryError:
        raise NetcError(f"{what} takes {show_bytes(size)}, which cannot be allocated") from None
    start = -raw.ctypes.data % ALIGN_BYTES
    return raw[start : start + size].view(item).reshape(shape)


def release_free_memory() -> None:
    """Give freed memory back to the system: glibc would keep tens of megabytes of it."""
    trim = getattr(ctypes.pythonapi, "malloc_trim", None)
    if trim is not None:
        trim(0)


def is_aligned(array: Array) -> bool:
    """Whether kernels can read the array as it lies."""
    return bool(array.flags.c_contiguous) and (not array.size or array.ctypes.data % ALIGN_BYTES == 0)


def pack_aligned(array: Array, layout: Layout, *, what: str) -> Array:
    """The aligned storage of a logical array: one copy, none where it lies right already."""
    if layout is None:
        if is_aligned(array):
            return array
        storage = aligned_zeros(array.shape, array.dtype, what=what)
        storage[...] = array
        return storage
    shape = tuple(int(str(d)) for d in storage_shape(array.shape, layout))
    storage = aligned_zeros(shape, array.dtype, what=what)
    axis, size = layout.axis, layout.size
    # (…, block, …, inside) seen as (…, block, inside, …), the order of the logical array
    blocks = np.moveaxis(storage, -1, axis + 1)
    whole = array.shape[axis] // size
    before, after = (slice(None),) * axis, array.shape[axis + 1 :]
    blocks[(*before, slice(whole))] = array[(*before, slice(whole * size))].reshape(
        *array.shape[:axis], whole, size, *after
    )
    rest = array.shape[axis] - whole * size
    if rest:
        blocks[(*before, whole, slice(rest))] = array[(*before, slice(whole * size, None))]
    return storage


def check_available(size: int, what: str) -> None:
    """Raise NetcError if this machine has not that much memory at all."""
    have = physical_memory()
    if have is not None and size > have:
        raise NetcError(f"{what} takes {show_bytes(size)}, but this machine has {show_bytes(have)} of memory")


@functools.cache
def physical_memory() -> int | None:
    """Bytes of memory that this process may use at most; None where the system does not tell."""
    try:
        have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(have, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return have  # no cgroup, or "max": no limit


def show_bytes(size: int) -> str:
    """``1536`` -> ``1.54 kB``; powers of 1000, three digits."""
    if size < 1000:
        return f"{size} B"
    value = size / 1000
    for unit in ("kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def parse_bytes(text: str) -> int:
    """``1536``, ``500MB`` or ``2 GB`` as bytes; powers of 1000, as :func:`show_bytes` writes them."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)B?\s*", text, re.IGNORECASE)
    if found is None:
        raise NetcError(f"'{text}' is no size", remedy="write a number of bytes, or 500MB, 2GB")
    power = " kmgt".index(found[2].lower() or " ")
    return int(float(found[1]) * 1000**power)
