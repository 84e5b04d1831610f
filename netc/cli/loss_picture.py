"""What ``netc train --plot`` leaves: the curves in the terminal, and as a picture in a file."""

from __future__ import annotations

import os
import sys

from netc.cli.output import say
from netc.cli.picture_file import check_picture, has_library
from netc.cli.plot import show
from netc.cli.plot_png import write_png
from netc.ir.diagnostics import NetcError
from netc.runtime.solver.curves import Curves

_SUFFIX = "_loss.png"


class LossPicture:
    """Goes to the file ``path``, else beside the snapshots.

    A file that was asked for by name and cannot be written is refused here, before the training.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._in_file = True
        if path is not None:
            check_picture(path)
        elif not has_library():
            self._in_file = False
            say("note: no picture will be in a file: that needs matplotlib, pip install 'netc[plot]'")

    def draw(self, curves: Curves, prefix: str, *, data_on_stdout: bool) -> None:
        """Show what was collected; what goes wrong now is a message, as the training is done.

        ``prefix`` is that of the snapshots. Where stdout has other data, a terminal on stderr is drawn on.
        """
        found = [curve for curve in curves.found.values() if curve.finite]
        if not found:
            say("nothing to draw: there is no finite loss")
            return
        if not data_on_stdout or sys.stderr.isatty():
            for curve in found:
                show(curve, curve.name, as_message=data_on_stdout)
        if not self._in_file:
            return
        path = self._path or _beside(prefix)
        try:
            write_png(path, [("", found)])
        except (NetcError, OSError, ImportError) as error:
            say(f"warning: no picture: {error}")
        else:
            say(f"wrote {path}")


def _beside(prefix: str) -> str:
    """The picture's path among the snapshots; in the current folder where they could not be written."""
    folder, name = os.path.split(prefix + _SUFFIX)
    if folder and not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        return name
    return os.path.join(folder, name)
