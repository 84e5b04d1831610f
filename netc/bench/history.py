"""The runs in a folder, in the order of their dates, and how the ratios went from one to the next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from netc.bench.cases import geometric_mean, show_threads
from netc.bench.run_file import BEST, Run, read_run
from netc.ir.diagnostics import NetcError


@dataclass(frozen=True)
class Series:
    """What one kind of row was in each run: geometric means over all nets, and each net's ratio."""

    batch: int
    threads: int
    train: bool
    means: tuple[float | None, ...]  # to the best peer
    fma_fractions: tuple[float | None, ...]  # geometric means too
    nets: dict[str, tuple[float | None, ...]]  # to the best peer

    @property
    def title(self) -> str:
        """The kind in words."""
        return f"{'training' if self.train else 'forward'}, batch {self.batch}, {show_threads(self.threads)}"


def read_history(folder: str) -> list[Run]:
    """The runs in the ``.json`` files of a folder, the oldest first."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except OSError as error:
        raise NetcError(f"{folder}: {error.strerror or error}") from None
    return sorted((read_run(os.path.join(folder, name)) for name in names), key=lambda run: run.date)


def newest_like(runs: Sequence[Run], run: Run) -> Run | None:
    """The newest run on the same kind of machine that has a result of netc for a row of this one."""
    keys = {row.key for row in run.rows}
    like = [
        each
        for each in runs
        if each.cpu == run.cpu and any(r.key in keys and r.fma_fraction is not None for r in each.rows)
    ]
    return like[-1] if like else None


def series_of(runs: Sequence[Run]) -> list[Series]:
    """How each kind of row went; None for a run that has none of it."""
    kinds = sorted({row.key[1:] for run in runs for row in run.rows}, key=lambda kind: (kind[2], *kind))
    return [_series(runs, *kind) for kind in kinds]


def _series(runs: Sequence[Run], batch: int, threads: int, train: bool) -> Series:
    rows = [{r.key[0]: r for r in run.rows if r.key[1:] == (batch, threads, train)} for run in runs]
    nets = sorted({net for each in rows for net in each})
    ratios = {
        net: tuple(each[net].ratios.get(BEST) if net in each else None for each in rows) for net in nets
    }
    return Series(
        batch,
        threads,
        train,
        tuple(geometric_mean(r.ratios.get(BEST) for r in each.values()) for each in rows),
        tuple(geometric_mean(r.fma_fraction for r in each.values()) for each in rows),
        ratios,
    )
