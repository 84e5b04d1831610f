"""Compares a run with an earlier one: which ratios got worse by more than a margin."""

from __future__ import annotations

from dataclasses import dataclass

from netc.bench.cases import show_threads
from netc.bench.run_file import BEST, Key, Row, Run
from netc.ir.diagnostics import NetcError

FMA_PEAK = "fma peak"


@dataclass(frozen=True)
class Change:
    """A ratio then and now, the larger the better; ``now`` is None without a right result of netc."""

    key: Key
    what: str  # an engine, `BEST`, or `FMA_PEAK`
    before: float
    now: float | None

    @property
    def factor(self) -> float:
        """Now over before; 0 where there is no result now."""
        return (self.now or 0.0) / self.before

    def is_worse(self, margin: float) -> bool:
        """Whether it got worse by more than a part of what it was."""
        return self.factor < 1 - margin


@dataclass(frozen=True)
class Comparison:
    """``changes`` are the worst first; ``left_out`` says what the baseline has and this run has not."""

    changes: tuple[Change, ...]
    left_out: tuple[str, ...]


def compare(baseline: Run, run: Run) -> Comparison:
    """Compare the rows that both have; NetcError if there is nothing to compare."""
    now = {row.key: row for row in run.rows}
    changes: list[Change] = []
    left_out: list[str] = []
    for row in baseline.rows:
        if row.key in now:
            _compare_row(row, now[row.key], changes, left_out)
        else:
            left_out.append(f"{named(row.key)} was not run")
    if not changes:
        raise NetcError(
            f"{baseline.name}: nothing of this run can be compared with it",
            notes=left_out,
            remedy="run nets, batches, threads and peers that the baseline has",
        )
    return Comparison(tuple(sorted(changes, key=lambda change: change.factor)), tuple(left_out))


def named(key: Key) -> str:
    """A row in words."""
    net, batch, threads, train = key
    return f"{net}, batch {batch}, {show_threads(threads)}" + (", training" if train else "")


def _compare_row(before: Row, now: Row, changes: list[Change], left_out: list[str]) -> None:
    if before.fma_fraction is not None:
        changes.append(Change(before.key, FMA_PEAK, before.fma_fraction, now.fma_fraction))
    if now.fma_fraction is None:  # netc itself failed; its ratios to peers say no more than that
        return
    same_peers = before.ratios.keys() - {BEST} == now.ratios.keys() - {BEST}
    for what, ratio in before.ratios.items():
        if what == BEST and not same_peers:
            continue  # the best of other peers is another matter
        if what in now.ratios:
            changes.append(Change(before.key, what, ratio, now.ratios[what]))
        else:
            left_out.append(f"{named(before.key)}: {what} was not measured")
