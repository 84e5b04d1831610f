"""Runs CUDA kernels on the host and finds what a device would let pass. See README.md."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import compiler
from .fault import KINDS, EmulatorFault, Index, Place, Thread
from .launch import Report, Traffic, bind, describe_launch
from .profile import LineTraffic, by_line
from .signatures import Kernel, find_kernels

MAX_THREADS = 1024
MAX_PLACES = 8192  # that access memory, in a profile
MAX_GRID = (2**31 - 1, 65535, 65535)
WARP = 32
# KiB of shared memory that a block may have, by compute capability
MAX_SHARED = {70: 96, 72: 96, 75: 64, 80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 100: 227, 103: 227, 120: 99}
_one_launch_at_a_time = threading.Lock()


class Emulator:
    """The kernels of a translation unit (the prelude and what is written in it), compiled for the host.

    ``arch`` is the compute capability that the text sees: 70, 80, 90 and so on. Without ``checks`` kernels run
    several times faster; then only accesses outside of all memory are found.
    """

    def __init__(self, text: str, *, arch: int = 90, checks: bool = True):
        if arch not in MAX_SHARED:
            raise ValueError(f"sm_{arch} is none of {sorted(MAX_SHARED)}")
        reason = compiler.missing()
        if reason is not None:
            raise RuntimeError(reason)
        self.text = text
        self.arch = arch
        self.kernels = find_kernels(text)
        entries = "".join(f"EMULATOR_ENTRY({k.name}, {len(k.parameters)})\n" for k in self.kernels.values())
        self.path: Path = compiler.kernel_library(f"{text}\n{entries}", arch, checks)
        self._library = ctypes.CDLL(os.fspath(self.path))

    def launch(
        self,
        name: str,
        *,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        shared_bytes: int = 0,
        uninitialised: Iterable[str] = (),
        cpu_seconds: float = 60.0,
    ) -> None:
        """Runs a kernel. ``args`` are contiguous arrays, changed in place, scalars, and None for null.

        ``shared_bytes``: dynamic shared memory. ``uninitialised``: names of parameters whose arrays hold nothing
        yet, so that what is read there must have been written by this launch. Raises EmulatorFault, and leaves
        the arrays as they were then.
        """
        self._run(name, grid, block, args, shared_bytes, uninitialised, cpu_seconds, None)

    def profile(
        self,
        name: str,
        *,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        shared_bytes: int = 0,
        cpu_seconds: float = 60.0,
    ) -> list[LineTraffic]:
        """Runs a kernel as ``launch`` does; what its first block asks of memory, line by line."""
        traffic = (Traffic * MAX_PLACES)()
        self._run(name, grid, block, args, shared_bytes, (), cpu_seconds, traffic)
        return by_line([t for t in traffic if t.requests], self.path, self.text)

    def _run(
        self,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        shared_bytes: int,
        uninitialised: Iterable[str],
        cpu_seconds: float,
        traffic: ctypes.Array[Traffic] | None,
    ) -> None:
        kernel = self.kernels[name]
        grid3, block3 = _extents(grid), _extents(block)
        _check_extents(kernel, grid3, block3)
        if shared_bytes > MAX_SHARED[self.arch] * 1024:
            raise ValueError(
                f"{name}: {shared_bytes} bytes of shared memory, sm_{self.arch} has {MAX_SHARED[self.arch]} KiB"
            )
        arguments = bind(kernel, args, frozenset(uninitialised))
        entry = ctypes.cast(self._library[f"emulator_entry_{name}"], ctypes.c_void_p).value
        assert entry is not None
        launch = describe_launch(entry, grid3, block3, shared_bytes, cpu_seconds, arguments, traffic)
        report = Report()
        with _one_launch_at_a_time:
            failed = self._library.emulator_launch(ctypes.byref(launch), ctypes.byref(report))
        if failed:
            raise OSError(-failed, f"{name}: the launch could not be prepared: {os.strerror(-failed)}")
        if report.kind != 0:
            raise self._fault(kernel, report, grid3, block3)

    def _fault(self, kernel: Kernel, report: Report, grid: Index, block: Index) -> EmulatorFault:
        lines = self.text.splitlines()
        numbers = [n for file, n in compiler.places(self.path, [report.pc])[0] if file == "kernels.cpp"]
        if report.line and report.line not in numbers:
            numbers.insert(0, report.line)
        return EmulatorFault(
            kernel.name,
            KINDS[report.kind],
            buffer=report.buffer.decode(),
            index=report.index,
            extent=report.extent,
            write=bool(report.write),
            thread=_thread(report.thread, grid, block),
            other=_thread(report.other, grid, block),
            places=tuple(Place(n, lines[n - 1].strip()) for n in numbers if n <= len(lines)),
            detail=report.detail.decode(),
        )


def _extents(given: Sequence[int]) -> Index:
    x, y, z = (*(int(v) for v in given), 1, 1)[:3]
    return x, y, z


def _check_extents(kernel: Kernel, grid: Index, block: Index) -> None:
    threads = block[0] * block[1] * block[2]
    if min(*grid, *block) < 1 or any(g > m for g, m in zip(grid, MAX_GRID, strict=True)):
        raise ValueError(f"{kernel.name}: no device runs a grid of {grid} blocks of {block} threads")
    if threads > MAX_THREADS or block[2] > 64:
        raise ValueError(
            f"{kernel.name}: a block of {block} has {threads} threads, at most {MAX_THREADS} are possible"
        )
    if kernel.max_threads is not None and threads > kernel.max_threads:
        raise ValueError(
            f"{kernel.name}: {threads} threads in a block, __launch_bounds__ says {kernel.max_threads}"
        )


def _thread(number: int, grid: Index, block: Index) -> Thread | None:
    if number == 0:
        return None
    threads = block[0] * block[1] * block[2]
    stride = -(-threads // WARP) * WARP
    which, within = divmod(number - 1, stride)
    return Thread(_unravel(which, grid), _unravel(within, block))


def _unravel(number: int, extents: Index) -> Index:
    x, y, _ = extents
    return number % x, number // x % y, number // x // y
