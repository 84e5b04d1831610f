"""Measurements as Markdown tables: times, ratios with geometric means, floors, agreement, memory."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from netc.bench.cases import Case, Timing, floor_ms, geometric_mean, ratios_of
from netc.bench.engines.table import ENGINES, SUBJECT
from netc.bench.machine import Machine

MISSING = "—"


def times_table(cases: Sequence[Case], engines: Sequence[str], machine: Machine) -> str:
    """Milliseconds per image; the fastest engine is bold, a wrong one is struck out."""
    rows = []
    for case in cases:
        times = [t for e in engines if (t := case.ms(e)) is not None]
        best = min(times, default=None)
        floor = floor_ms(case, machine)
        row = [case.net, str(case.batch), *(_time_cell(case, e, best) for e in engines)]
        rows.append([*row, _number(floor), _ratio(case.ms(SUBJECT), floor), _ratio(best, floor)])
    head = ["net", "batch", *_titles(engines), "floor", "netc / floor", "best / floor"]
    return markdown(head, rows)


def ratios_table(cases: Sequence[Case], engines: Sequence[str]) -> str:
    """Peer's time / netc's time, so above 1 netc is faster; the last rows are geometric means."""
    peers = [e for e in engines if e != SUBJECT]
    rows = [[case.net, str(case.batch), *map(_factor, ratios_of(case, peers))] for case in cases]
    groups = [(f"{b}", [c for c in cases if c.batch == b]) for b in sorted({c.batch for c in cases})]
    for label, group in [*groups, ("all", cases)]:
        columns = zip(*(ratios_of(case, peers) for case in group), strict=True)
        rows.append(["**geometric mean**", label, *(_factor(geometric_mean(c)) for c in columns)])
    return markdown(["net", "batch", *_titles(peers), "best peer"], rows)


def agreement_table(cases: Sequence[Case], engines: Sequence[str]) -> str:
    """Largest difference from the reference output, relative to the reference's largest value."""
    rows = []
    for case in cases:
        cells = [_difference_cell(case.timings.get(e)) for e in engines]
        rows.append([case.net, str(case.batch), case.reference, f"{case.largest_output:.3g}", *cells])
    return markdown(["net", "batch", "reference", "largest output", *_titles(engines)], rows)


def memory_table(cases: Sequence[Case], engines: Sequence[str]) -> str:
    """The largest resident set of each engine's process while it ran, in MB."""
    rows = []
    for case in cases:
        peaks = [timing.peak_bytes if (timing := case.timings.get(e)) else None for e in engines]
        rows.append([case.net, str(case.batch), *(f"{p / 1e6:.0f}" if p else MISSING for p in peaks)])
    return markdown(["net", "batch", *_titles(engines)], rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _titles(engines: Sequence[str]) -> list[str]:
    return [ENGINES[e].title for e in engines]


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


def _ratio(value: float | None, base: float) -> str:
    return MISSING if value is None else f"{value / base:.1f}"


def _factor(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"
