"""The machine that a benchmark runs on: its name, and what it can do at best."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from netc.backends.llvm.machine_peak import measure_peaks
from netc.backends.llvm.target import host_target


@dataclass(frozen=True)
class Machine:
    """``gflops`` of float32 multiply-adds (an fma being two) and ``gbytes`` a second of reading, by threads.

    ``last_level_cache`` is in bytes.
    """

    cpu: str
    last_level_cache: int
    gflops: dict[int, float]
    gbytes: dict[int, float]

    def better_of(self, other: Machine) -> Machine:
        """Join two measurements of one machine: whatever disturbed either of them, the peak is the higher."""
        return Machine(
            self.cpu,
            self.last_level_cache,
            {n: max(rate, other.gflops[n]) for n, rate in self.gflops.items()},
            {n: max(rate, other.gbytes[n]) for n, rate in self.gbytes.items()},
        )


def measure_machine(threads: list[int]) -> Machine:
    """Measure with each number of threads; takes about half a second each."""
    target = host_target()
    peaks = {n: measure_peaks(n, target) for n in threads}
    return Machine(
        cpu_name(),
        target.l3_bytes,
        {n: round(each.gflops, 1) for n, each in peaks.items()},
        {n: round(each.gbytes_per_s, 1) for n, each in peaks.items()},
    )


def cpu_name() -> str:
    """The processor's model as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
