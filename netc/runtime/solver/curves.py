"""The curves of a training run: what is worth a picture, while it runs or from its log."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from netc.runtime.solver.reports import IterationReport, Reporter, TestReport

LOSS = "loss"
MOST_POINTS = 4000


@dataclass(slots=True)
class Curve:
    """Values by iteration, as pairs."""

    name: str
    points: list[tuple[float, float]] = field(default_factory=list)

    @property
    def iterations(self) -> list[float]:
        """The iterations alone."""
        return [iteration for iteration, _ in self.points]

    @property
    def values(self) -> list[float]:
        """The values alone."""
        return [value for _, value in self.points]

    @property
    def finite(self) -> list[tuple[float, float]]:
        """The points that can be drawn."""
        # a copy: training may go on in another thread
        return [(x, y) for x, y in list(self.points) if math.isfinite(x) and math.isfinite(y)]

    def add(self, iteration: float, value: float) -> None:
        """Append a point."""
        self.points.append((iteration, value))


class Curves(Reporter):
    """Collects the loss, and what the tests say, in ``found`` by name.

    Of a long run every second, fourth, … iteration is kept: a picture shows no more.
    """

    def __init__(self) -> None:
        self.found: dict[str, Curve] = {LOSS: Curve(LOSS)}
        self._every = 1

    def on_iteration(self, report: IterationReport) -> None:
        """The smoothed loss."""
        loss = self.found[LOSS]
        if report.iteration % self._every == 0:
            loss.add(report.iteration, report.smoothed_loss)
        if len(loss.points) >= MOST_POINTS:
            self._every *= 2
            loss.points = [point for point in loss.points if point[0] % self._every == 0]

    def on_test(self, report: TestReport) -> None:
        """Each output that is one number."""
        for name, array in report.outputs.arrays.items():
            if array.size == 1:
                title = test_title(report.net, name)
                self.found.setdefault(title, Curve(title)).add(report.iteration, float(array.reshape(())))


def test_title(net: int, output: str) -> str:
    """The name of a test net's output among curves."""
    return f"test {output}" if net == 0 else f"test #{net} {output}"
