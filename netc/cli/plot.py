"""``netc plot``: the curves in logs of training, in the terminal or in a file."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from netc.cli.output import put, say
from netc.cli.plot_png import write_png
from netc.cli.terminal_plot import draw
from netc.ir.diagnostics import NetcError
from netc.runtime.solver.curves import Curve
from netc.runtime.solver.read_log import read_log

_HEIGHT = 12
_MOST_COLUMNS = 100


def command(logs: Sequence[str], output: str | None) -> None:
    """``netc plot``."""
    runs = [(os.path.basename(path), read_log(path).curves()) for path in logs]
    if not any(curve.finite for _, curves in runs for curve in curves):
        raise NetcError(f"{', '.join(logs)}: nothing to draw: no value is finite")
    if output is not None:
        write_png(output, runs)
        put(output)
        return
    for run, curves in runs:
        for curve in curves:
            show(curve, f"{run}: {curve.name}" if len(runs) > 1 else curve.name)


def show(curve: Curve, title: str, *, as_message: bool = False) -> None:
    """Print a curve as wide as the terminal is: on stdout, or ``as_message`` on stderr."""
    width = min(_MOST_COLUMNS, shutil.get_terminal_size().columns)
    stream = sys.stderr if as_message else sys.stdout
    lines = draw(curve, width, _HEIGHT, unicode=writes_braille(stream))
    if lines:
        (say if as_message else put)("\n".join([title, *lines]))


def writes_braille(stream: object) -> bool:
    """Whether a stream's encoding has the characters."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        "⣿┤".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
