"""Turn measurements into Markdown tables: times, ratios with geometric means, floors, agreement."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

MISSING = "—"
SUBJECT = "netc"
TITLES = {
    "netc": "netc",
    "torch": "torch",
    "compile": "torch.compile",
    "ort": "onnxruntime",
    "openvino": "openvino",
    "opencv": "opencv",
}


@dataclass
class Timing:
    """One engine on one net and batch."""

    rounds: list[float] = field(default_factory=list)  # median ms per image of each round
    low: float = math.inf  # fastest single call, ms per image
    difference: float | None = None  # from the reference output, relative to its largest value
    agrees: bool = True
    error: str | None = None

    @property
    def ms(self) -> float | None:
        """Median of the rounds' medians; None where there is no right result to time."""
        return median(self.rounds) if self.rounds and self.agrees and not self.error else None


@dataclass
class Case:
    """One net and batch: what every engine did, and what the machine allows."""

    net: str
    batch: int
    macs: int  # per image
    param_bytes: int
    reference: str = ""  # the engine that outputs are compared with
    largest_output: float = math.nan
    timings: dict[str, Timing] = field(default_factory=dict)

    def ms(self, engine: str) -> float | None:
        """Time of an engine, None if it did not run or was wrong."""
        timing = self.timings.get(engine)
        return timing.ms if timing else None


def floor_ms(case: Case, machine: dict[str, Any]) -> float | None:
    """Milliseconds per image that the machine needs at least: arithmetic or reading the parameters.

    Parameters that fit the last-level cache need not be read from memory again.
    """
    if not machine:
        return None
    gflops, gbytes, cache = (float(machine[k]) for k in ("gflops", "gbytes", "last_level_cache"))
    arithmetic = 2 * case.macs / gflops / 1e6
    streamed = case.param_bytes if case.param_bytes > cache else 0
    return max(arithmetic, streamed / gbytes / 1e6 / case.batch)


def times_table(cases: list[Case], engines: Sequence[str], machine: dict[str, Any]) -> str:
    """Milliseconds per image; the fastest engine is bold, a wrong one is struck out."""
    rows = []
    for case in cases:
        times = [t for e in engines if (t := case.ms(e)) is not None]
        best = min(times, default=None)
        floor = floor_ms(case, machine)
        row = [case.net, str(case.batch), *(_time_cell(case, e, best) for e in engines)]
        rows.append([*row, _number(floor), _ratio(case.ms(SUBJECT), floor), _ratio(best, floor)])
    head = ["net", "batch", *(TITLES[e] for e in engines), "floor", "netc / floor", "best / floor"]
    return _table(head, rows)


def ratios_table(cases: list[Case], engines: Sequence[str]) -> str:
    """Peer's time / netc's time, so above 1 netc is faster; the last rows are geometric means."""
    peers = [e for e in engines if e != SUBJECT]
    rows = [[case.net, str(case.batch), *map(_factor, ratios_of(case, peers))] for case in cases]
    groups = [(f"{b}", [c for c in cases if c.batch == b]) for b in sorted({c.batch for c in cases})]
    for label, group in [*groups, ("all", cases)]:
        columns = zip(*(ratios_of(case, peers) for case in group), strict=True)
        rows.append(["**geometric mean**", label, *(_factor(geometric_mean(c)) for c in columns)])
    return _table(["net", "batch", *(TITLES[e] for e in peers), "best peer"], rows)


def ratios_of(case: Case, peers: Sequence[str]) -> list[float | None]:
    """Peer / netc for every peer, and for the fastest of them."""
    own, times = case.ms(SUBJECT), [case.ms(e) for e in peers]
    best = min((t for t in times if t is not None), default=None)
    return [t / own if t is not None and own else None for t in [*times, best]]


def geometric_mean(ratios: Iterable[float | None]) -> float | None:
    """Mean of what is there; None when nothing is."""
    logs = [math.log(r) for r in ratios if r is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None


def agreement_table(cases: list[Case], engines: Sequence[str]) -> str:
    """Largest difference from the reference output, relative to the reference's largest value."""
    rows = []
    for case in cases:
        cells = [_difference_cell(case.timings.get(e)) for e in engines]
        rows.append([case.net, str(case.batch), case.reference, f"{case.largest_output:.3g}", *cells])
    return _table(["net", "batch", "reference", "largest output", *(TITLES[e] for e in engines)], rows)


def _time_cell(case: Case, engine: str, best: float | None) -> str:
    timing = case.timings.get(engine)
    if timing is not None and not timing.agrees and timing.rounds:
        return f"~~{_number(median(timing.rounds))}~~"
    ms = case.ms(engine)
    return f"**{_number(ms)}**" if ms is not None and ms == best else _number(ms)


def _difference_cell(timing: Timing | None) -> str:
    if timing is None or timing.difference is None:
        return MISSING
    text = f"{timing.difference:.1e}"
    return text if timing.agrees else f"**{text} WRONG**"


def _number(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:.3f}" if value < 1 else f"{value:.3g}"


def _ratio(value: float | None, base: float | None) -> str:
    return MISSING if value is None or not base else f"{value / base:.1f}"


def _factor(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
