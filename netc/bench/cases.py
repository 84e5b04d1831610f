"""What was measured: the times of every engine on every net, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from netc.bench.engines.table import SUBJECT
from netc.bench.machine import Machine


@dataclass
class Timing:
    """One engine on one case."""

    rounds: list[float] = field(default_factory=list)  # median ms per image of each round
    low: float = math.inf  # fastest single call, ms per image
    peak_bytes: int | None = None  # largest resident set while it ran
    difference: float | None = None  # from the reference output, relative to its largest value
    agrees: bool = True
    error: str | None = None

    @property
    def ms(self) -> float | None:
        """Median of the rounds' medians; None where there is no right result to time."""
        return median(self.rounds) if self.rounds and self.agrees and not self.error else None


@dataclass
class Case:
    """One net, batch and number of threads: what every engine did."""

    net: str
    batch: int
    macs: int  # per image
    param_bytes: int
    threads: int = 1
    reference: str = ""  # the engine that outputs are compared with
    largest_output: float = math.nan
    timings: dict[str, Timing] = field(default_factory=dict)

    def ms(self, engine: str) -> float | None:
        """Time of an engine, None if it did not run or was wrong."""
        timing = self.timings.get(engine)
        return timing.ms if timing else None


def show_threads(threads: int) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{threads} thread{'' if threads == 1 else 's'}"


def floor_ms(case: Case, machine: Machine) -> float:
    """Milliseconds per image that the machine needs at least: arithmetic or reading the parameters.

    Parameters that fit the last-level cache need not be read from memory again.
    """
    arithmetic = 2 * case.macs / machine.gflops[case.threads] / 1e6
    streamed = case.param_bytes if case.param_bytes > machine.last_level_cache else 0
    return max(arithmetic, streamed / machine.gbytes[case.threads] / 1e6 / case.batch)


def fraction_of_fma_peak(case: Case, machine: Machine) -> float | None:
    """The multiply-adds of netc's run, counted as direct convolution does them, over the machine's peak."""
    own = case.ms(SUBJECT)
    return 2 * case.macs / own / 1e6 / machine.gflops[case.threads] if own else None


def ratios_of(case: Case, peers: Sequence[str]) -> list[float | None]:
    """Peer / netc for every peer, and for the fastest of them."""
    own, times = case.ms(SUBJECT), [case.ms(e) for e in peers]
    best = min((t for t in times if t is not None), default=None)
    return [t / own if t is not None and own else None for t in [*times, best]]


def geometric_mean(ratios: Iterable[float | None]) -> float | None:
    """Mean of what is there; None when nothing is."""
    logs = [math.log(r) for r in ratios if r is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None
