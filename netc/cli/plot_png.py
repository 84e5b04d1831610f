"""Curves of training as a picture in a file. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

from netc.cli.picture_file import new_figure, save_figure
from netc.runtime.solver.curves import Curve

_LOG_FROM = 10.0  # a loss that falls by more is drawn on a logarithmic axis


def write_png(path: str, runs: Sequence[tuple[str, Sequence[Curve]]]) -> None:
    """Draw the curves of each run: losses in one field, everything else in one below.

    At least one curve has a finite point.
    """
    named = [(run, curve) for run, curves in runs for curve in curves if curve.finite]
    fields = [
        [(run, curve) for run, curve in named if ("loss" in curve.name) == losses] for losses in (True, False)
    ]
    fields = [field for field in fields if field]
    assert fields, "nothing to draw"
    figure = new_figure(8, 4 * len(fields))
    for index, field in enumerate(fields):
        axes = figure.add_subplot(len(fields), 1, index + 1)
        for run, curve in field:
            label = f"{run}: {curve.name}" if len(runs) > 1 else curve.name
            axes.plot(curve.iterations, curve.values, label=label, linewidth=1)
        values = [value for _, curve in field for _, value in curve.finite]
        if min(values) > 0 and max(values) / min(values) > _LOG_FROM:
            axes.set_yscale("log")
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(path, figure)
