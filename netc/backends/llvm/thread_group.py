"""The worker threads of one group: they live in native code, and go through programs in lock step.

They spin for a short while after a program, then park on a lock until the next one. See `lock_step` for the
protocol.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netc.backends.llvm import sync_block
from netc.backends.llvm.core_budget import CoreBudget
from netc.backends.llvm.cores import bind_thread
from netc.backends.llvm.native_runtime import Native, seconds_per_tick
from netc.ir.diagnostics import NetcError

SPIN_BEFORE_PARKING_S = 80e-6
BARRIER_SPINS = 4000  # about 100 microseconds; then a thread sleeps, or offers its core turn by turn
BARRIER_SPINS_OVERSUBSCRIBED = 8
STOP_TIMEOUT_S = 2.0

Words = npt.NDArray[np.int64]


class ThreadGroup:
    """The worker threads 1 … ``threads`` - 1, their sync block and their locks.

    They take cores of ``budget``. With ``cores`` thread i is bound to ``cores[i]``, the caller while a
    program runs.
    """

    def __init__(
        self, threads: int, native: Native, budget: CoreBudget, cores: Sequence[int] | None = None
    ) -> None:
        self._native = native
        self.budget = budget
        size = sync_block.sync_words(threads) + sync_block.LINE_WORDS
        memory = np.zeros(size, dtype=np.int64)
        start = -(int(memory.ctypes.data) // 8) % sync_block.LINE_WORDS  # to the next whole line
        sync = memory[start:]
        self._sync = sync
        self.sync_address = int(sync.ctypes.data)
        crowded = threads > budget.cores
        sync[sync_block.CONFIG : sync_block.CONFIG + 13] = (
            threads,
            native.yield_core,
            native.acquire_lock,
            native.release_lock,
            int(SPIN_BEFORE_PARKING_S / (seconds_per_tick() or SPIN_BEFORE_PARKING_S)),
            BARRIER_SPINS_OVERSUBSCRIBED if crowded else BARRIER_SPINS,
            native.system_call,
            native.futex_number,
            budget.share(threads),
            budget.address,
            native.get_mask if cores else 0,
            native.set_mask,
            cores[0] if cores else 0,
        )
        self._workers: list[threading.Thread] = []
        try:
            for tid in range(1, threads):
                sync[sync_block.WORKER + sync_block.LINE_WORDS * tid + 1] = native.held_lock()
                worker = threading.Thread(
                    target=_work, args=(native, sync, tid), name=f"netc-{tid}", daemon=True
                )
                worker.start()
                self._workers.append(worker)
                if cores:
                    bind_thread(worker.native_id, cores[tid])
        except RuntimeError as error:
            self.stop()
            raise NetcError(
                f"cannot start {threads} threads: {error}", remedy="ask for fewer threads"
            ) from None
        except BaseException:  # an interrupt must leave no threads behind
            self.stop()
            raise

    @property
    def busy(self) -> bool:
        """Whether it runs a program now."""
        return bool(self._sync[sync_block.BUSY])

    def stop(self) -> None:
        """End the threads and wait until they are gone."""
        # only those that were started: the locks of the others do not exist
        self._sync[sync_block.CONFIG] = len(self._workers) + 1
        self._native.stop(self.sync_address)
        for worker in self._workers:
            worker.join(STOP_TIMEOUT_S)
        # the locks, a few bytes each, are left alone: a worker may still be leaving its own


def _work(native: Native, sync: Words, tid: int) -> None:
    native.work(int(sync.ctypes.data), tid)
