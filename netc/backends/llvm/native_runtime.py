"""The runtime of `lock_step`, compiled and loaded, and the C functions that it calls."""

from __future__ import annotations

import ctypes
import functools
import sys
import time
from pathlib import Path
from typing import Any

from netc.backends.llvm import lock_step
from netc.backends.llvm.compile_pool import Job, compile_all
from netc.backends.llvm.library import Library
from netc.backends.llvm.object_cache import ObjectCache, default_cache_dir
from netc.backends.llvm.sync_block import FUTEX_NUMBERS
from netc.backends.llvm.target import Target, host_target

CALIBRATION_S = 0.01


class Native:
    """The compiled functions, callable, and addresses of what a group's sync block holds."""

    def __init__(self) -> None:
        target = host_target()
        self._library = library = Library({lock_step.RUN: compile_runtime()}, target)
        pointer, word = ctypes.c_void_p, ctypes.c_int64

        def function(name: str, result: type | None, *arguments: type) -> Any:
            # these calls release the interpreter's lock
            return ctypes.CFUNCTYPE(result, *arguments)(library.address(name))

        self.run = function(lock_step.RUN, word, pointer, pointer, word, pointer, word)
        self.work = function(lock_step.WORK, None, pointer, word)
        self.stop = function(lock_step.STOP, None, pointer)
        self.tick = function(lock_step.TICK, word)
        self.rally = library.address(lock_step.RALLY)
        self.origin = (self.tick(), time.perf_counter())
        # Python's own locks: they need no interpreter lock, and exist on every platform
        python = ctypes.pythonapi
        self.acquire_lock = _address(python.PyThread_acquire_lock)
        self.release_lock = _address(python.PyThread_release_lock)
        self.yield_core = _yield_address()
        self.system_call, self.futex_number = _futex(target.architecture)
        self.get_mask, self.set_mask = _affinity()

    def held_lock(self) -> int:
        """A new lock, already taken."""
        allocate = ctypes.PYFUNCTYPE(ctypes.c_void_p)(_address(ctypes.pythonapi.PyThread_allocate_lock))
        take = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(self.acquire_lock)
        lock = allocate()
        if not lock or not take(lock, 1):
            raise RuntimeError("no more locks")
        return int(lock)


def compile_runtime() -> bytes:
    """The runtime's object file; where the cache on disk has it, a first run needs no compiler."""
    return _compiled_runtime(host_target(), default_cache_dir())


@functools.cache
def _compiled_runtime(target: Target, folder: Path | None) -> bytes:
    text = lock_step.runtime_text(target.triple)
    # level 0: these few loops wait for memory, so better code would gain nothing and cost 30 ms
    job, cache = Job(text, lambda: text), ObjectCache(folder)
    return compile_all([job], target, 0, cache, 1)[text]


@functools.cache
def seconds_per_tick() -> float:
    """How long one tick of the native clock lasts; 0 where the processor has none."""
    loaded = native()
    tick, second = loaded.origin
    wait = CALIBRATION_S - (time.perf_counter() - second)
    if wait > 0:
        time.sleep(wait)
    ticks = loaded.tick() - tick
    return (time.perf_counter() - second) / ticks if ticks > 0 else 0.0


@functools.cache
def native() -> Native:
    """The process's runtime; compiled at the first call."""
    return Native()


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _yield_address() -> int:
    """What offers the core to other threads; 0 where the platform has no such function."""
    try:
        if sys.platform == "win32":
            return _address(ctypes.WinDLL("kernel32").SwitchToThread)
        return _address(ctypes.CDLL(None).sched_yield)
    except (AttributeError, OSError):
        return 0


def _affinity() -> tuple[int, int]:
    """What asks for the mask of the calling thread, and what sets it; zeros where there is neither."""
    try:
        library = ctypes.CDLL(None)
        return _address(library.sched_getaffinity), _address(library.sched_setaffinity)
    except (AttributeError, OSError, TypeError):
        return 0, 0


def _futex(architecture: str) -> tuple[int, int]:
    """The C library's ``syscall``, and the number by which it waits for a word to change; else zeros."""
    number = FUTEX_NUMBERS.get(architecture)
    if number is None or sys.platform != "linux":
        return 0, 0
    try:
        return _address(ctypes.CDLL(None).syscall), number
    except (AttributeError, OSError):
        return 0, 0
