"""Runs compiled kernels on all cores: persistent threads that go through a program's steps in lock step.

The calling thread is thread 0. The others live in native code without the interpreter's lock: they spin for
a short while after a program, then park on a lock until the next one. See `lock_step` for the protocol.

One executor serves the whole process for each number of threads (`executor_for`); programs run from several
Python threads at once wait for each other there. With one thread there is nothing to share, so single-thread
programs run side by side. After a fork the child starts threads of its own when it first needs them.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netc.backends.llvm import lock_step
from netc.backends.llvm.compile_pool import Job, compile_all
from netc.backends.llvm.library import Library
from netc.backends.llvm.object_cache import ObjectCache, default_cache_dir
from netc.backends.llvm.target import available_cores, host_target
from netc.ir.diagnostics import NetcError

SPIN_BEFORE_PARKING_S = 80e-6
BARRIER_SPINS = 4000  # about 100 microseconds; then each turn offers the core to others
BARRIER_SPINS_OVERSUBSCRIBED = 8
CALIBRATION_S = 0.01
MAX_THREADS = 1024
STOP_TIMEOUT_S = 2.0

Slots = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Step:
    """One launch: the kernel ``void f(ptr slots, i64 tid, i64 nth)`` at ``address``, and its slots.

    ``serial`` runs it on thread 0 alone, as (0, 1). ``barrier_after=False`` lets threads go on to the next
    step before all have finished this one, which is right where the two are independent; the last step
    always ends with a barrier.
    """

    name: str
    address: int
    slots: Slots
    serial: bool = False
    barrier_after: bool = True


class Program:
    """Steps made ready to run on an executor; runs as often as wanted.

    Slots may be changed between runs, in place. ``keep_alive`` holds whatever the addresses point into: the
    library of the kernels, the buffers.
    """

    def __init__(self, executor: Executor, steps: Sequence[Step], keep_alive: Sequence[object] = ()) -> None:
        self.executor = executor
        self.steps = tuple(steps)
        self._keep_alive = tuple(keep_alive)
        # one row more, in front: a rally, which wakes the threads before `run_timed` times the first step
        self._table = np.zeros((len(steps) + 1, lock_step.STEP_WORDS), dtype=np.int64)
        self._table[0, 0] = executor.rally_address
        for row, step in zip(self._table[1:], self.steps, strict=True):
            slots = step.slots
            if slots.dtype != np.int64 or not slots.flags.c_contiguous:
                raise ValueError(f"step '{step.name}': the slots are not a contiguous int64 array")
            if not step.address:
                raise ValueError(f"step '{step.name}' has no kernel")
            flags = (lock_step.SERIAL if step.serial else 0) | (
                0 if step.barrier_after else lock_step.NO_BARRIER_AFTER
            )
            row[:3] = step.address, slots.ctypes.data, flags
        self._rally = int(self._table.ctypes.data)
        self._first_step = self._rally + self._table.strides[0]

    def run(self) -> None:
        """Run all steps; returns when every thread has finished the last one."""
        if self.steps:
            self.executor.run_steps(self._first_step, len(self.steps), 0)

    def run_timed(self) -> list[float]:
        """Run all steps; the seconds that each took, its barrier included, as thread 0 sees it."""
        clock = np.zeros(len(self.steps) + 2, dtype=np.int64)
        self.executor.run_steps(self._rally, len(self.steps) + 1, int(clock.ctypes.data))
        return [float(ticks) * seconds_per_tick() for ticks in np.diff(clock[1:])]


class Executor:
    """A group of ``threads`` threads, the caller of `run_steps` being the first."""

    def __init__(self, threads: int) -> None:
        if not 1 <= threads <= MAX_THREADS:
            raise NetcError(f"cannot run on {threads} threads: expected 1 to {MAX_THREADS}")
        self.threads = threads
        self._native = _native()
        self._run = self._native.run
        self.rally_address = self._native.rally
        self._turn = threading.Lock()
        self._group: _Group | None = None
        self._close: weakref.finalize[Any, Executor] | None = None
        _executors.add(self)

    def run_steps(self, steps: int, count: int, clock: int) -> None:
        """Run ``count`` (at least 1) steps of a table at an address; see `lock_step` for its layout."""
        if self.threads == 1:
            self._run(0, steps, count, clock, 1)
            return
        with self._turn:
            group = self._group or self._start()
            if group.stopped:  # the process is ending, and takes no new threads
                self._run(0, steps, count, clock, 1)
            else:
                self._run(group.sync_address, steps, count, clock, self.threads)

    def close(self) -> None:
        """End the threads; a later run starts new ones."""
        with self._turn:
            if self._close is not None:
                self._close()
            self._group = self._close = None

    def forget_threads(self) -> None:
        """In a forked child: the threads exist in the parent only, and one of them may hold the lock."""
        if self._close is not None:
            self._close.detach()
        self._turn = threading.Lock()
        self._group = self._close = None

    def _start(self) -> _Group:
        group = _Group(self.threads, self._native)
        # runs when the executor is collected, and at exit: a thread in native code must not outlive the code
        self._close = weakref.finalize(self, group.stop)
        self._group = group
        return group


class _Group:
    """The worker threads of an executor, their sync block and their locks."""

    def __init__(self, threads: int, native: _Native) -> None:
        self._native = native
        self.stopped = False
        size = lock_step.sync_words(threads) + lock_step.LINE_WORDS
        memory = np.zeros(size, dtype=np.int64)
        start = -(int(memory.ctypes.data) // 8) % lock_step.LINE_WORDS  # to the next whole line
        sync = memory[start:]
        self._sync = sync
        self.sync_address = int(sync.ctypes.data)
        crowded = threads > available_cores()
        sync[lock_step.CONFIG : lock_step.CONFIG + 6] = (
            threads,
            native.yield_core,
            native.acquire_lock,
            native.release_lock,
            int(SPIN_BEFORE_PARKING_S / (seconds_per_tick() or SPIN_BEFORE_PARKING_S)),
            BARRIER_SPINS_OVERSUBSCRIBED if crowded else BARRIER_SPINS,
        )
        self._workers: list[threading.Thread] = []
        try:
            for tid in range(1, threads):
                sync[lock_step.WORKER + lock_step.LINE_WORDS * tid + 1] = native.held_lock()
                worker = threading.Thread(
                    target=_work, args=(native, sync, tid), name=f"netc-{tid}", daemon=True
                )
                worker.start()
                self._workers.append(worker)
        except RuntimeError as error:
            self.stop()
            raise NetcError(
                f"cannot start {threads} threads: {error}", remedy="ask for fewer threads"
            ) from None

    def stop(self) -> None:
        """End the threads and wait until they are gone."""
        self.stopped = True
        # only those that were started: the locks of the others do not exist
        self._sync[lock_step.CONFIG] = len(self._workers) + 1
        self._native.stop(self.sync_address)
        for worker in self._workers:
            worker.join(STOP_TIMEOUT_S)
        # the locks, a few bytes each, are left alone: a worker may still be leaving its own


def _work(native: _Native, sync: Slots, tid: int) -> None:
    native.work(int(sync.ctypes.data), tid)


class _Native:
    """The compiled runtime, and the C functions that it is given."""

    def __init__(self) -> None:
        target = host_target()
        text = lock_step.runtime_text(target.triple)
        # level 0: these few loops wait for memory, so better code would gain nothing and cost 30 ms
        job, cache = Job(text, lambda: text), ObjectCache(default_cache_dir())
        library = Library({lock_step.RUN: compile_all([job], target, 0, cache, 1)[text]}, target)
        self._library = library
        pointer, word = ctypes.c_void_p, ctypes.c_int64

        def function(name: str, result: type | None, *arguments: type) -> Any:
            # these calls release the interpreter's lock
            return ctypes.CFUNCTYPE(result, *arguments)(library.address(name))

        self.run = function(lock_step.RUN, None, pointer, pointer, word, pointer, word)
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

    def held_lock(self) -> int:
        """A new lock, already taken."""
        allocate = ctypes.PYFUNCTYPE(ctypes.c_void_p)(_address(ctypes.pythonapi.PyThread_allocate_lock))
        take = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(self.acquire_lock)
        lock = allocate()
        if not lock or not take(lock, 1):
            raise RuntimeError("no more locks")
        return int(lock)


def executor_for(threads: int) -> Executor:
    """The process's executor with this many threads."""
    executor = _shared.get(threads)
    if executor is None:
        # two threads may both get here: the dictionary keeps one of the two, the other never starts threads
        executor = _shared.setdefault(threads, Executor(threads))
    return executor


@functools.cache
def seconds_per_tick() -> float:
    """How long one tick of the native clock lasts; 0 where the processor has none."""
    native = _native()
    tick, second = native.origin
    wait = CALIBRATION_S - (time.perf_counter() - second)
    if wait > 0:
        time.sleep(wait)
    ticks = native.tick() - tick
    return (time.perf_counter() - second) / ticks if ticks > 0 else 0.0


@functools.cache
def _native() -> _Native:
    return _Native()


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


def _forget_threads() -> None:
    for executor in list(_executors):
        executor.forget_threads()


_shared: dict[int, Executor] = {}
_executors: weakref.WeakSet[Executor] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
