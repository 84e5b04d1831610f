"""The curves of a training run: what is worth a picture, while it runs or from its log."""

from __future__ import annotations

from dataclasses import dataclass, field

from netc.runtime.solver.reports import IterationReport, Reporter, TestReport

LOSS, RATE = "loss", "learning rate"


@dataclass(slots=True)
class Curve:
    """Values by iteration."""

    name: str
    iterations: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, iteration: float, value: float) -> None:
        """Append a point."""
        self.iterations.append(iteration)
        self.values.append(value)


class Curves(Reporter):
    """Collects the loss of every iteration, and what the tests say, in ``found`` by name."""

    def __init__(self) -> None:
        self.found: dict[str, Curve] = {LOSS: Curve(LOSS)}

    def on_iteration(self, report: IterationReport) -> None:
        """The smoothed loss."""
        self.found[LOSS].add(report.iteration, report.smoothed_loss)

    def on_test(self, report: TestReport) -> None:
        """Each output that is one number."""
        for name, array in report.outputs.arrays.items():
            if array.size == 1:
                title = test_title(report.net, name)
                self.found.setdefault(title, Curve(title)).add(report.iteration, float(array.reshape(())))


def test_title(net: int, output: str) -> str:
    """The name of a test net's output among curves."""
    return f"test {output}" if net == 0 else f"test #{net} {output}"
