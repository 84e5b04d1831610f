"""Curves of training as a picture in a file. Needs matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from netc.frontend.atomic_file import atomic_path
from netc.ir.diagnostics import NetcError
from netc.runtime.solver.curves import Curve

_KINDS = ("png", "svg", "pdf")
_LOG_FROM = 50.0  # a loss that falls by more is drawn on a logarithmic axis


def check_picture(path: str) -> None:
    """Refuse early where the picture could not be drawn or written in the end."""
    _library()
    _kind(path)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise NetcError(f"{path}: the folder '{folder}' does not exist", remedy="create it")
    if os.path.isdir(path or "."):
        raise NetcError(f"{path}: is a folder", remedy="name a file in it")
    if not os.access(folder, os.W_OK):
        raise NetcError(f"{path}: the folder '{folder}' cannot be written to")


def has_library() -> bool:
    """Whether pictures can be drawn at all."""
    try:
        _library()
    except NetcError:
        return False
    return True


def write_png(path: str, runs: Sequence[tuple[str, Sequence[Curve]]]) -> None:
    """Draw the curves of each run: losses in one field, everything else in one below.

    At least one curve has a finite point.
    """
    library = _library()
    kind = _kind(path)
    named = [(run, curve) for run, curves in runs for curve in curves if curve.finite]
    fields = [
        [(run, curve) for run, curve in named if ("loss" in curve.name) == losses] for losses in (True, False)
    ]
    fields = [field for field in fields if field]
    assert fields, "nothing to draw"
    figure = library.Figure(figsize=(8, 4 * len(fields)), layout="constrained")
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
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind)


def _kind(path: str) -> str:
    """The format that a path's suffix stands for: PNG without one."""
    kind = os.path.splitext(path)[1].lstrip(".").lower() or "png"
    if kind not in _KINDS:
        raise NetcError(f"{path}: pictures are written as {', '.join(f'.{name}' for name in _KINDS)}")
    return kind


def _library() -> Any:
    try:
        import matplotlib.figure
    except ImportError:
        raise NetcError(
            "a picture in a file needs the package matplotlib",
            remedy="install it with: pip install 'netc[plot]'; a picture in the terminal needs nothing",
        ) from None
    return matplotlib.figure
