"""Runs compiled kernels on all cores: persistent threads that go through a program's steps in lock step.

The calling thread is thread 0, the others are a `ThreadGroup`. Programs run from several Python threads at
once run side by side as long as all their threads together are no more than the cores; else they wait for
each other, in the order in which they came (`CoreBudget`). Programs of one thread never wait: they run on
the host program's own threads, of which it has as many as it wants.

After a fork the child starts threads of its own when it first needs them.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netc.backends.llvm import lock_step
from netc.backends.llvm.core_budget import CoreBudget
from netc.backends.llvm.cores import check_can_bind, cores_to_bind
from netc.backends.llvm.native_runtime import native, seconds_per_tick
from netc.backends.llvm.target import available_cores
from netc.backends.llvm.thread_group import ThreadGroup
from netc.ir.diagnostics import NetcError

MAX_THREADS = 1024

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
    """Runs steps on ``threads`` threads, the caller of `run_steps` being the first.

    ``pinned`` binds each thread to a core while it computes, one of each physical core first; more threads
    than cores share them in turn. The caller's thread is bound only to a core of its own mask, which it gets
    back after each run. A single thread is not bound. Groups that run side by side have cores of their own.
    """

    def __init__(self, threads: int, *, pinned: bool = False) -> None:
        if not 1 <= threads <= MAX_THREADS:
            raise NetcError(f"cannot run on {threads} threads: expected 1 to {MAX_THREADS}")
        if pinned:
            check_can_bind()
        self.threads, self.pinned = threads, pinned
        self._native = native()
        self._run = self._native.run
        self.rally_address = self._native.rally
        self._groups = _Groups()
        self._close: weakref.finalize[Any, Executor] | None = None
        _executors.add(self)

    def run_steps(self, steps: int, count: int, clock: int) -> None:
        """Run ``count`` (at least 1) steps of a table at an address; see `lock_step` for its layout."""
        if self.threads == 1:
            self._run(0, steps, count, clock, 1)
            return
        groups = self._groups
        budget, waited = groups.budget, False
        while True:
            if groups.ended:  # the process is ending, and takes no new threads
                self._run(0, steps, count, clock, 1)
                return
            if waited or not budget.waiting:  # else somebody came earlier
                for group in groups.all:
                    if not self._run(group.sync_address, steps, count, clock, self.threads):
                        if budget.waiting:
                            budget.wake()
                        return
                if self._start(groups):
                    continue
            budget.wait(lambda: groups.have_room(self.threads), again=waited)
            waited = True

    def close(self) -> None:
        """End the threads, none of which may be running; a later run starts new ones."""
        if self._close is not None:
            self._close()
        self._groups, self._close = _Groups(), None

    def forget_threads(self) -> None:
        """In a forked child: the threads exist in the parent only."""
        if self._close is not None:
            self._close.detach()
        self._groups, self._close = _Groups(), None

    def _start(self, groups: _Groups) -> bool:
        """Start one more group, if it could run beside those that there are."""
        with groups.starting:
            if len(groups.all) >= groups.most(self.threads) or not groups.have_room(self.threads):
                return False
            cores = None
            if self.pinned:
                known, first = cores_to_bind(), len(groups.all) * self.threads
                cores = [known[(first + tid) % len(known)] for tid in range(self.threads)]
            groups.all = (*groups.all, ThreadGroup(self.threads, self._native, groups.budget, cores))
            if self._close is None:
                # when the executor is collected, and at exit: a thread must not outlive the code it runs
                self._close = weakref.finalize(self, groups.end)
            return True


class _Groups:
    """The groups of an executor: as many as ran side by side."""

    def __init__(self) -> None:
        self.all: tuple[ThreadGroup, ...] = ()
        self.starting = threading.Lock()
        self.ended = False

    @functools.cached_property
    def budget(self) -> CoreBudget:
        """The process's."""
        return _budget()

    def most(self, threads: int) -> int:
        """How many groups of so many threads the cores have room for."""
        return max(1, self.budget.cores // threads)

    def have_room(self, threads: int) -> bool:
        """Whether a group could start running now, perhaps one that does not exist yet."""
        if self.budget.free < self.budget.share(threads):
            return False
        return len(self.all) < self.most(threads) or not all(group.busy for group in self.all)

    def end(self) -> None:
        """End all threads for good."""
        self.ended = True
        for group in self.all:
            group.stop()


def executor_for(threads: int, *, pinned: bool = False) -> Executor:
    """The process's executor with this many threads."""
    executor = _shared.get((threads, pinned))
    if executor is None:
        # two threads may both get here: the dictionary keeps one of the two, the other never starts threads
        executor = _shared.setdefault((threads, pinned), Executor(threads, pinned=pinned))
    return executor


def _budget() -> CoreBudget:
    """The process's; made when it is first needed, as a forked child may have been given other cores."""
    return _budgets.get("cpu") or _budgets.setdefault("cpu", CoreBudget(available_cores()))


def _forget_threads() -> None:
    _budgets.clear()
    for executor in list(_executors):
        executor.forget_threads()


_budgets: dict[str, CoreBudget] = {}
_shared: dict[tuple[int, bool], Executor] = {}
_executors: weakref.WeakSet[Executor] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
