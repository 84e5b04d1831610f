"""Training as JSON, an object a line: for programs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from netc.runtime.solver.reports import (
    EndReport,
    IterationReport,
    Outputs,
    Reporter,
    SnapshotReport,
    StartReport,
    TestReport,
)


class JsonLog(Reporter):
    """Passes lines, without line ends, to ``write``. Every object has its ``event`` and the Unix ``time``."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.time) -> None:
        self._write = write
        self._clock = clock

    def on_start(self, report: StartReport) -> None:
        """``start``: net, policy, iteration, max_iter."""
        self._put("start", **asdict(report))

    def on_message(self, text: str) -> None:
        """``message``: text."""
        self._put("message", text=text)

    def on_iteration(self, report: IterationReport) -> None:
        """``train``: iteration, loss (smoothed), lr, outputs, seconds since the last."""
        if report.displayed:
            self._put(
                "train",
                iteration=report.iteration,
                loss=report.smoothed_loss,
                lr=report.rate,
                outputs=_plain(report.outputs),
                seconds=report.seconds,
            )

    def on_test(self, report: TestReport) -> None:
        """``test``: iteration, net, loss, outputs."""
        self._put(
            "test",
            iteration=report.iteration,
            net=report.net,
            loss=report.loss,
            outputs=_plain(report.outputs),
        )

    def on_snapshot(self, report: SnapshotReport) -> None:
        """``snapshot``: iteration, weights, state (paths)."""
        self._put("snapshot", **asdict(report))

    def on_final_loss(self, iteration: int, loss: float) -> None:
        """``final_loss``: iteration, loss."""
        self._put("final_loss", iteration=iteration, loss=loss)

    def on_end(self, report: EndReport) -> None:
        """``end``: iteration, early."""
        self._put("end", **asdict(report))

    def _put(self, event: str, **fields: Any) -> None:
        plain = {key: _finite(value) if isinstance(value, float) else value for key, value in fields.items()}
        self._write(json.dumps({"event": event, "time": self._clock(), **plain}, allow_nan=False))


def _plain(outputs: Outputs) -> dict[str, Any]:
    """Each output: a number, or a list where it has several."""
    found: dict[str, Any] = {}
    for name in sorted(outputs.arrays):
        values = [_finite(float(value)) for value in outputs.arrays[name].reshape(-1)]
        found[name] = values[0] if len(values) == 1 else values
    return found


def _finite(value: float) -> float | None:
    """JSON has no number for infinity and NaN."""
    return value if math.isfinite(value) else None
