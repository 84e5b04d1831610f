"""``netc bench --history``: how the ratios went from run to run, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netc.bench.history import Series, read_history, series_of
from netc.bench.run_file import Run
from netc.cli.output import put, table
from netc.cli.picture_file import check_picture, new_figure, save_figure
from netc.ir.diagnostics import NetcError

_MISSING = "—"


def show_history(folder: str, picture: str | None) -> None:
    """Print the geometric means of every run, or draw them with each net's ratios."""
    if picture is not None:
        check_picture(picture)
    runs = read_history(folder)
    found = series_of(runs)
    if not found:
        raise NetcError(
            f"{folder}: there is no run of netc bench",
            remedy=f"make one: netc bench --json {folder}/NAME.json",
        )
    if picture is not None:
        _draw(picture, runs, found)
        put(picture)
        return
    put("\n\n".join(f"{each.title}\n{_table(runs, each)}" for each in found))


def _table(runs: Sequence[Run], series: Series) -> str:
    columns = zip(runs, series.means, series.fma_fractions, strict=True)
    rows = [
        (run.date, run.versions.get("netc", "?"), _ratio(mean), _ratio(fraction), run.cpu)
        for run, mean, fraction in columns
        if mean is not None or fraction is not None
    ]
    return table(("date", "netc", "best peer / netc", "of fma peak", "machine"), rows, right=(2, 3))


def _ratio(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.2f}"


def _draw(path: str, runs: Sequence[Run], series: Sequence[Series]) -> None:
    """A field a kind of row: each net thin, the geometric mean thick, a line where the machine changes."""
    figure = new_figure(9, 3.2 * len(series))
    numbers = range(len(runs))
    for index, each in enumerate(series):
        axes = figure.add_subplot(len(series), 1, index + 1)
        for net, ratios in each.nets.items():
            axes.plot(numbers, _with_gaps(ratios), marker=".", linewidth=0.8, label=net)
        axes.plot(
            numbers, _with_gaps(each.means), marker="o", linewidth=2, color="black", label="geometric mean"
        )
        fractions = _with_gaps(each.fma_fractions)
        axes.plot(numbers, fractions, linestyle="--", color="grey", label="part of the fma peak")
        axes.axhline(1, color="grey", linewidth=0.6)
        _mark_machines(axes, runs)
        axes.set_title(each.title)
        axes.set_ylabel("best peer's time / netc's")
        axes.set_xticks(list(numbers), [run.date[:10] for run in runs], rotation=45, fontsize=7)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    save_figure(path, figure)


def _mark_machines(axes: Any, runs: Sequence[Run]) -> None:
    for number, run in enumerate(runs):
        if number == 0 or run.cpu != runs[number - 1].cpu:
            axes.axvline(number - 0.5, color="black", linestyle=":", linewidth=0.8)
            at = (number - 0.45, 0.02)
            axes.annotate(run.cpu, at, xycoords=("data", "axes fraction"), fontsize=6, rotation=90)


def _with_gaps(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
