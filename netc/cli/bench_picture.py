"""``netc bench --draw``: one run as a picture: netc against its peers, and against the machine's floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netc.bench.cases import geometric_mean, show_threads
from netc.bench.engines.table import ENGINES
from netc.bench.run_file import BEST, Row, Run, read_run
from netc.cli.output import put
from netc.cli.picture_file import check_picture, new_figure, save_figure
from netc.ir.diagnostics import NetcError

_ROW_INCHES = 0.24
_FRAME_INCHES = 1.2  # titles, axes and the legend of one number of threads
_LEGEND_INCHES = 0.45  # below the rows
_LEFT = 1.35  # the factor between the lowest ratio and the frame: room for the number
_TICKS = (0.5, 0.7, 1, 1.4, 2, 3, 4, 6, 8, 12)
_MARKERS = "osv^D"


def draw_run(file: str, picture: str) -> None:
    """Draw the run in a file: for each number of threads the ratios to peers, and those to the floor."""
    check_picture(picture)
    run = read_run(file)
    rows = [row for row in run.rows if BEST in row.ratios and row.over_floor is not None]
    if not rows:
        raise NetcError(f"{file}: no net has a ratio to a peer", remedy="measure with --peers torch,ort")
    groups = [[row for row in rows if row.key[2] == n] for n in dict.fromkeys(row.key[2] for row in rows)]
    heights = [_ROW_INCHES * (len(group) + 1) for group in groups]
    figure = new_figure(10, sum(heights) + _FRAME_INCHES * len(groups))
    grid = figure.add_gridspec(len(groups), 2, width_ratios=(2, 1), height_ratios=heights)
    for number, (group, height) in enumerate(zip(groups, heights, strict=True)):
        peers = figure.add_subplot(grid[number, 0])
        _draw_peers(peers, run, group, height)
        floor = figure.add_subplot(grid[number, 1], sharey=peers)
        _draw_floor(floor, group)
    save_figure(picture, figure)
    put(picture)


def _draw_peers(axes: Any, run: Run, rows: Sequence[Row], height: float) -> None:
    """Bars from 1 to the ratio to the best peer of each row, a mark for each peer; the mean below."""
    ratios: list[float] = [row.ratios[BEST] for row in rows]
    mean = geometric_mean(ratios)
    assert mean is not None
    values = [*ratios, mean]
    places = range(len(values))
    colours = ["C0"] * len(ratios) + ["black"]
    axes.set_xscale("log")
    axes.barh(places, [value - 1 for value in values], left=1, color=colours, alpha=0.5, label="best peer")
    for peer, marker in zip(_peers_of(rows), _MARKERS * len(rows), strict=False):
        points = [(row.ratios[peer], place) for place, row in enumerate(rows) if peer in row.ratios]
        axes.plot(*zip(*points, strict=True), marker, markersize=3.5, alpha=0.8, label=ENGINES[peer].title)
    for place, value in enumerate(values):
        axes.annotate(
            f"{value:.2f}", (1, place), (-4, 0), textcoords="offset points", ha="right", va="center"
        )
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(list(places), [*map(_label, rows), "geometric mean"])
    axes.invert_yaxis()
    largest = max(ratio for row in rows for ratio in row.ratios.values())
    first, last = min(*values, 1) / _LEFT, 1.1 * largest
    ticks = [tick for tick in _TICKS if first <= tick <= last]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(first, last)
    axes.grid(axis="x", alpha=0.3)
    what = "training" if rows[0].key[3] else "forward"
    axes.set_title(f"{what}, {show_threads(rows[0].key[2])}, {run.cpu}, {run.date}", loc="left", fontsize=9)
    axes.set_xlabel("peer's time / netc's time: right of 1 netc is faster")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -_LEGEND_INCHES / height), ncols=6)


def _draw_floor(axes: Any, rows: Sequence[Row]) -> None:
    """Bars of netc's time over the floor; the scale of the rows is that of the picture beside."""
    values = [row.over_floor or 0.0 for row in rows]
    axes.barh(range(len(values)), values, color="C1", alpha=0.5)
    for place, value in enumerate(values):
        axes.annotate(
            f"{value:.2f}", (0.98, place), xycoords=("axes fraction", "data"), ha="right", va="center"
        )
    axes.axvline(1, color="black", linewidth=0.8)
    axes.tick_params(labelleft=False)
    axes.set_xlim(0, 1.3 * max(1, *values))
    axes.grid(axis="x", alpha=0.3)
    axes.set_title("netc's time / floor", loc="left", fontsize=9)
    axes.set_xlabel("1: the machine's limit")


def _peers_of(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(peer for row in rows for peer in row.ratios if peer in ENGINES))


def _label(row: Row) -> str:
    return f"{row.key[0]}, batch {row.key[1]}"
