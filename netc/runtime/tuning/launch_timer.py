"""Times launches on this machine, in turns, each as it would be met inside of a net.

Inputs and outputs lie in the caches as far as they fit, as a kernel before has just written them. Weights do
not: every run reads another copy, so that as much memory as the net's other weights take passes by before one
is read again.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from netc.backends.launch_body import weight_operand
from netc.backends.llvm.backend import compile_kernels, kernel_name
from netc.backends.llvm.library import Library
from netc.backends.llvm.lower.table import scratch_bytes
from netc.backends.llvm.object_cache import ObjectCache, default_cache_dir
from netc.backends.llvm.spmd import Program, Step, executor_for
from netc.backends.llvm.target import available_cores
from netc.ir.arena import span_bytes
from netc.ir.core import Op
from netc.runtime.memory import Array, aligned_zeros
from netc.runtime.tuning.setting import Setting

STEPS = 4  # runs of a launch in one turn
MOST_TURNS = 40
FEWEST_TURNS = 3
SECONDS = 0.6  # for all turns of the launches compared
HOPELESS = 1.5  # times the quickest
WHAT = "the memory in which kernels are timed"


class LaunchTimer:
    """Seconds that static launches take; its memory for weights is kept from call to call."""

    def __init__(self) -> None:
        self._weights = np.zeros(0, np.uint8)
        self._next_weights = 0

    def __call__(self, launches: Sequence[Op], setting: Setting) -> list[float]:
        """The time of each launch: the lower quartile of its turns, since what disturbs them lengthens them.

        What is hopeless next to the quickest in its first turns gets no more, but the first launch does.
        """
        kernels = {kernel_name(op): op for op in launches}
        cache = ObjectCache(default_cache_dir())
        objects = compile_kernels(kernels, setting.target, setting.llvm_level, cache, available_cores())
        library = Library(objects, setting.target)
        memory: dict[str, Array] = {}
        scratch = max(scratch_bytes(op, setting.target) for op in launches) * setting.threads
        if scratch:
            memory["scratch"] = aligned_zeros((scratch,), np.uint8, what=WHAT)
        timed = [_Timed(op, library, memory, setting) for op in launches]
        self._reserve(max(each.weight_bytes for each in timed), setting.cold_bytes)
        for each in timed:
            self._turn(each)  # touches its memory
        samples = [[self._turn(each)] for each in timed]
        for each, found in zip(timed, samples, strict=True):
            found.append(self._turn(each))
        best = min(map(min, samples))
        left = [i for i, found in enumerate(samples) if i == 0 or min(found) <= best * HOPELESS]
        turn_s = sum(min(samples[i]) for i in left) * STEPS
        turns = int(min(MOST_TURNS, max(FEWEST_TURNS, SECONDS / turn_s))) if turn_s else FEWEST_TURNS
        for _ in range(turns):
            for i in left:
                samples[i].append(self._turn(timed[i]))
        return [_lower_quartile(found) for found in samples]

    def _reserve(self, weight_bytes: int, cold_bytes: int) -> None:
        size = max(weight_bytes, cold_bytes)
        if size > self._weights.nbytes:
            self._weights = np.zeros(0, np.uint8)
            self._weights = aligned_zeros((size,), np.uint8, what=WHAT)
            self._weights.fill(0)  # pages that were never written are all the same one

    def _turn(self, timed: _Timed) -> float:
        """The mean time of a few runs, each with other weights.

        Not that of one run: where the first thread has little to do and gets no core for a while, the others
        do the next run meanwhile, which then seems to take no time.
        """
        for slots in timed.slots:
            if timed.weight_slot is not None:
                if self._next_weights + timed.weight_bytes > self._weights.nbytes:
                    self._next_weights = 0
                slots[timed.weight_slot] = self._weights.ctypes.data + self._next_weights
                self._next_weights += -(-timed.weight_bytes // 64) * 64
        return sum(timed.program.run_timed()) / STEPS


def _lower_quartile(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=4, method="inclusive")[0]


class _Timed:
    """A launch ready to run a few times; operands of one name and type share their ``memory``."""

    def __init__(self, launch: Op, library: Library, memory: dict[str, Array], setting: Setting) -> None:
        name = kernel_name(launch)
        self.weight_slot = weight_operand(launch)
        self.weight_bytes = 0
        words = []
        for i, value in enumerate(launch.operands):
            if i == self.weight_slot:
                self.weight_bytes = span_bytes(value.type)
                words.append(0)
                continue
            key = f"{value.name}: {value.type}"
            if key not in memory:
                memory[key] = aligned_zeros((span_bytes(value.type),), np.uint8, what=WHAT)
            words.append(memory[key].ctypes.data)
        if scratch_bytes(launch, setting.target):
            words.append(memory["scratch"].ctypes.data)
        self.slots = [np.array(words, np.int64) for _ in range(STEPS)]
        steps = [Step(name, library.address(name), slots) for slots in self.slots]
        self.program = Program(executor_for(setting.threads), steps, [library, memory])
