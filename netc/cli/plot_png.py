"""Curves of training as a picture in a file. Needs matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from netc.frontend.atomic_file import atomic_path
from netc.ir.diagnostics import NetcError
from netc.runtime.solver.curves import Curve

_LOG_FROM = 50.0  # a loss that falls by more is drawn on a logarithmic axis


def check_library() -> None:
    """Refuse early where the picture could not be drawn in the end."""
    _library()


def write_png(path: str, runs: Sequence[tuple[str, Sequence[Curve]]]) -> None:
    """Draw the curves of each run: losses in one field, everything else in one below."""
    library = _library()
    named = [(run, curve) for run, curves in runs for curve in curves if curve.points]
    fields = [
        [(run, curve) for run, curve in named if ("loss" in curve.name) == losses] for losses in (True, False)
    ]
    fields = [field for field in fields if field]
    figure = library.Figure(figsize=(8, 4 * len(fields)), layout="constrained")
    for index, field in enumerate(fields):
        axes = figure.add_subplot(len(fields), 1, index + 1)
        for run, curve in field:
            label = f"{run}: {curve.name}" if len(runs) > 1 else curve.name
            axes.plot(curve.iterations, curve.values, label=label, linewidth=1)
        values = [value for _, curve in field for value in curve.values]
        if min(values) > 0 and max(values) / min(values) > _LOG_FROM:
            axes.set_yscale("log")
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        axes.legend()
    kind = os.path.splitext(path)[1].lstrip(".").lower() or "png"
    try:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=kind)
    except ValueError:
        raise NetcError(f"{path}: pictures are written as .png, .svg or .pdf") from None


def _library() -> Any:
    try:
        import matplotlib.figure
    except ImportError:
        raise NetcError(
            "a picture in a file needs the package matplotlib",
            remedy="install it with: pip install 'netc[plot]'; a picture in the terminal needs nothing",
        ) from None
    return matplotlib.figure
