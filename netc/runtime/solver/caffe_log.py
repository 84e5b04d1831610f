"""Training as the original logs it: lines in glog's format, which tools for those logs can read."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime

from netc.runtime.solver.reports import (
    EndReport,
    IterationReport,
    Outputs,
    Reporter,
    SnapshotReport,
    StartReport,
    TestReport,
)

_SOLVER, _SGD = "solver.cpp", "sgd_solver.cpp"


class CaffeLog(Reporter):
    """Passes lines, without a line end, to ``write``."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], datetime] = datetime.now) -> None:
        self._write = write
        self._clock = clock

    def on_start(self, report: StartReport) -> None:
        """``Solving NAME``, from whose time tools count."""
        self.line(f"Solving {report.net}", _SOLVER, 279)
        self.line(f"Learning Rate Policy: {report.policy}", _SOLVER, 280)

    def on_message(self, text: str) -> None:
        """The text, line by line."""
        for part in text.splitlines():
            self.line(part, _SOLVER, 104)

    def on_iteration(self, report: IterationReport) -> None:
        """Loss, outputs and rate of an iteration that is displayed; of any, that gradients were clipped."""
        if report.displayed:
            self._shown(report)
        if report.clipping is not None:
            clipping = report.clipping
            self.line(
                f"Gradient clipping: scaling down gradients (L2 norm {number(clipping.norm)} > "
                f"{number(clipping.limit)}) by scale factor {number(clipping.scale)}",
                _SGD,
                93,
            )

    def _shown(self, report: IterationReport) -> None:
        per_second = report.iterations / (report.seconds or 1)
        speed = f"({number(per_second)} iter/s, {number(report.seconds)}s/{report.display} iters)"
        loss = number(report.smoothed_loss)
        self.line(f"Iteration {report.iteration} {speed}, loss = {loss}", _SOLVER, 239)
        self._outputs("Train", report.outputs, 258)
        self.line(f"Iteration {report.iteration}, lr = {number(report.rate)}", _SGD, 112)

    def on_test_start(self, iteration: int, net: int) -> None:
        """``Iteration N, Testing net (#i)``."""
        self.line(f"Iteration {iteration}, Testing net (#{net})", _SOLVER, 347)

    def on_test(self, report: TestReport) -> None:
        """The means of a test."""
        if report.loss is not None:
            self.line(f"Test loss: {number(report.loss)}", _SOLVER, 397)
        self._outputs("Test", report.outputs, 414)

    def on_snapshot(self, report: SnapshotReport) -> None:
        """The names of the two files."""
        kind = "HDF5" if report.state.endswith(".h5") else "binary proto"
        self.line(f"Snapshotting to {kind} file {report.weights}", _SOLVER, 464)
        self.line(f"Snapshotting solver state to {kind} file {report.state}", _SGD, 284)

    def on_final_loss(self, iteration: int, loss: float) -> None:
        """The loss alone."""
        self.line(f"Iteration {iteration}, loss = {number(loss)}", _SOLVER, 327)

    def on_end(self, report: EndReport) -> None:
        """How it ended."""
        early = "Optimization stopped early." if report.early else "Optimization Done."
        self.line(early, _SOLVER, 332)
        self.line("Optimization Done.", "caffe.cpp", 259)

    def line(self, text: str, file: str, line: int) -> None:
        """One line with glog's prefix: severity and date, time, process, place in the original's code."""
        now = self._clock()
        self._write(f"I{now:%m%d %H:%M:%S.%f} {os.getpid():>5} {file}:{line}] {text}")

    def _outputs(self, phase: str, outputs: Outputs, line: int) -> None:
        for index, (name, value, weight) in enumerate(outputs.values()):
            text = f"    {phase} net output #{index}: {name} = {number(value)}"
            if weight:
                text += f" (* {number(weight)} = {number(weight * value)} loss)"
            self.line(text, _SOLVER, line)


def number(value: float) -> str:
    """A number as C++ streams print it: six digits."""
    return f"{value:g}"
