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
_MOST_DATES = 30  # below a field


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
    numbers = range(0, len(runs), 1 + len(runs) // _MOST_DATES)
    for index, each in enumerate(series):
        axes = figure.add_subplot(len(series), 1, index + 1)
        for net, ratios in each.nets.items():
            axes.plot(*_points(ratios), marker=".", linewidth=0.8, label=net)
        mean = {"linewidth": 2, "color": "black", "label": "geometric mean"}
        axes.plot(*_points(each.means), marker="o", **mean)
        fraction = {"linestyle": "--", "color": "grey", "label": "part of the fma peak"}
        axes.plot(*_points(each.fma_fractions), **fraction)
        axes.axhline(1, color="grey", linewidth=0.6)
        _mark_machines(axes, runs)
        axes.set_title(each.title)
        axes.set_ylabel("best peer's time / netc's")
        axes.set_xticks(
            list(numbers), [runs[number].date[:10] for number in numbers], rotation=45, fontsize=7
        )
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


def _points(values: Sequence[float | None]) -> tuple[list[int], list[float]]:
    """The numbers of the runs that have a value, and the values: a line goes over runs of another kind."""
    found = [(number, value) for number, value in enumerate(values) if value is not None]
    return [number for number, _ in found], [value for _, value in found]
