"""The report of a run in Markdown: for each number of threads the machine and the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netc.bench.cases import Case, show_threads
from netc.bench.check import Change, Comparison, named
from netc.bench.engines.table import ENGINES
from netc.bench.machine import Machine
from netc.bench.measure import Settings
from netc.bench.tables import MISSING, agreement_table, markdown, memory_table, ratios_table, times_table


def report(
    settings: Settings,
    cases: Sequence[Case],
    versions: Mapping[str, str],
    notes: Mapping[str, Sequence[str]],
    machine: Machine,
) -> str:
    """All tables; ``notes`` are errors with the cases that they happened in."""
    parts = [part for n in settings.threads for part in _for_threads(settings, cases, machine, n)]
    known = ", ".join(f"{ENGINES[e].title} {versions[e]}" for e in settings.engines if e in versions)
    parts.append(f"Versions: {known}.")
    parts += [f"Not measured ({'; '.join(where)}): {note}" for note, where in notes.items()]
    return "\n\n".join(parts)


def check_report(comparison: Comparison, margin: float) -> str:
    """What got worse by more than the margin, or a line that says that nothing did, and what was left out."""
    worse = [change for change in comparison.changes if change.is_worse(margin)]
    total = len(comparison.changes)
    if worse:
        head = f"{len(worse)} of {total} ratios got worse by more than {100 * margin:.3g} %:"
        parts = [
            head,
            markdown(("net", "batch", "threads", "ratio to", "before", "now", "change"), _rows(worse)),
        ]
    else:
        last = comparison.changes[0]
        parts = [
            f"None of {total} ratios got worse by more than {100 * margin:.3g} %. "
            f"The lowest is {100 * (last.factor - 1):+.1f} %: {named(last.key)}, {_title(last.what)}."
        ]
    if comparison.left_out:
        parts.append("Not compared: " + "; ".join(comparison.left_out) + ".")
    return "\n\n".join(parts)


def _for_threads(settings: Settings, cases: Sequence[Case], machine: Machine, threads: int) -> list[str]:
    here, engines = [case for case in cases if case.threads == threads], settings.engines
    what = "an iteration of training" if settings.train else "a forward pass"
    compared = "the losses of the first iterations" if settings.train else "outputs"
    return [
        f"{machine.cpu}, {show_threads(threads)}: {machine.gflops[threads]} GFLOP/s of fma in float32, "
        f"{machine.gbytes[threads]} GB/s of reading.",
        f"Milliseconds per image of {what}:",
        times_table(here, engines, machine),
        "Peer's time / netc's time (above 1, netc is faster):",
        ratios_table(here, engines),
        f"Difference of {compared}, relative to the largest of the reference:",
        agreement_table(here, engines),
        "Largest resident memory of the process while it runs, MB:",
        memory_table(here, engines),
    ]


def _rows(changes: Sequence[Change]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for change in changes:
        net, batch, threads, _ = change.key
        now = MISSING if change.now is None else f"{change.now:.2f}"
        by = "no right result" if change.now is None else f"{100 * (change.factor - 1):+.1f} %"
        rows.append((net, str(batch), str(threads), _title(change.what), f"{change.before:.2f}", now, by))
    return rows


def _title(what: str) -> str:
    return ENGINES[what].title if what in ENGINES else what
