"""Training as events for TensorBoard. Needs the package tensorboard."""

from __future__ import annotations

import os
import time
from typing import Any

from netc.ir.diagnostics import NetcError
from netc.runtime.solver.reports import EndReport, IterationReport, Outputs, Reporter, TestReport


class TensorBoardLog(Reporter):
    """Writes the loss, the rate and the outputs of what is displayed, and what tests say, into a folder."""

    def __init__(self, folder: str) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise NetcError(
                "events for TensorBoard need the package tensorboard",
                remedy="install it with: pip install 'netc[tensorboard]'",
            ) from None
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise NetcError(f"{folder}: {error.strerror or error}") from None
        self._event: Any = Event
        self._summary: Any = Summary
        self._writer: Any = EventFileWriter(folder)

    def on_iteration(self, report: IterationReport) -> None:
        """Loss, rate, outputs."""
        if report.displayed:
            self._put(report.iteration, "train/loss", report.smoothed_loss)
            self._put(report.iteration, "train/learning_rate", report.rate)
            self._outputs(report.iteration, "train/output", report.outputs)

    def on_test(self, report: TestReport) -> None:
        """Outputs."""
        self._outputs(report.iteration, f"test{report.net}", report.outputs)

    def on_end(self, report: EndReport) -> None:
        """Everything is in the file."""
        del report
        self._writer.flush()

    def _outputs(self, iteration: int, group: str, outputs: Outputs) -> None:
        for name, array in outputs.arrays.items():
            if array.size == 1:
                self._put(iteration, f"{group}/{name}", float(array.reshape(())))

    def _put(self, iteration: int, tag: str, value: float) -> None:
        summary = self._summary(value=[self._summary.Value(tag=tag, simple_value=value)])
        self._writer.add_event(self._event(wall_time=time.time(), step=iteration, summary=summary))
