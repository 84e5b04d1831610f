"""Training in a terminal: a bar with loss, rate and time left, and a growing picture of the loss."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from netc.cli.plot import writes_braille
from netc.cli.terminal_plot import draw
from netc.runtime.solver.curves import LOSS, Curves
from netc.runtime.solver.reports import (
    EndReport,
    IterationReport,
    Outputs,
    Reporter,
    SnapshotReport,
    StartReport,
    TestReport,
)

_HEIGHT = 8
_PER_SECOND = 4


class TrainingView(Reporter):
    """Writes to stderr; where that is no terminal, a line for each test and snapshot. Close it at the end.

    ``curves`` hear of each iteration before; with ``picture`` their loss is drawn.
    """

    def __init__(self, curves: Curves, *, picture: bool) -> None:
        self._console = Console(stderr=True)
        self._curves = curves
        self._picture = picture
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4g}  rate {task.fields[rate]:.4g}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task: Any = None
        self._live: Live | None = None

    def on_start(self, report: StartReport) -> None:
        """Show the bar."""
        self._task = self._progress.add_task(
            report.net,
            total=report.max_iter,
            completed=report.iteration,
            loss=float("nan"),
            rate=float("nan"),
        )
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._shown, console=self._console, refresh_per_second=_PER_SECOND
            )
            self._live.start()

    def on_message(self, text: str) -> None:
        """A line above the bar."""
        self._print(text)

    def on_iteration(self, report: IterationReport) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.update(
                self._task, completed=report.iteration + 1, loss=report.smoothed_loss, rate=report.rate
            )

    def on_test(self, report: TestReport) -> None:
        """A line with all outputs."""
        loss = "" if report.loss is None else f"  loss {report.loss:.4g}"
        self._print(f"iteration {report.iteration}: test net {report.net}:{loss}{_line(report.outputs)}")

    def on_snapshot(self, report: SnapshotReport) -> None:
        """A line with the file."""
        self._print(f"iteration {report.iteration}: snapshot {report.state}")

    def on_final_loss(self, iteration: int, loss: float) -> None:
        """A line."""
        self._print(f"iteration {iteration}: loss {loss:.4g}")

    def on_end(self, report: EndReport) -> None:
        """A last line."""
        self._print(f"iteration {report.iteration}: {'stopped' if report.early else 'done'}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _shown(self) -> Group:
        curve = self._curves.found[LOSS]
        size = self._console.size
        height = min(_HEIGHT, size.height - 4) if self._picture else 0
        lines = draw(curve, size.width, height, unicode=writes_braille(self._console.file))
        return Group(*map(Text, lines), self._progress)

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


def _line(outputs: Outputs) -> str:
    return "".join(f"  {name} {value:.4g}" for name, value, _ in outputs.values())
