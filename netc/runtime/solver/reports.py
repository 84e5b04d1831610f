"""What a solver tells of its work, and who listens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netc.runtime.memory import Array


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a net by name, and by what each counts for the loss (0: not at all)."""

    arrays: Mapping[str, Array]
    weights: Mapping[str, float]

    def values(self) -> Iterator[tuple[str, float, float]]:
        """Name, value and weight of every element, in the original's order: outputs by name."""
        for name in sorted(self.arrays):
            for value in self.arrays[name].reshape(-1):
                yield name, float(value), self.weights.get(name, 0.0)


@dataclass(frozen=True, slots=True)
class StartReport:
    """Training begins, or goes on, at an iteration."""

    net: str
    policy: str
    iteration: int
    max_iter: int


@dataclass(frozen=True, slots=True)
class Clipping:
    """Gradients whose common L2 ``norm`` was above the ``limit`` were scaled down to it."""

    norm: float
    limit: float

    @property
    def scale(self) -> float:
        """What they were multiplied by."""
        return self.limit / self.norm


@dataclass(frozen=True, slots=True)
class IterationReport:
    """An iteration, counted from 0, is done.

    ``loss`` is its own, ``smoothed_loss`` the mean over the last. ``displayed`` says whether the solver's
    ``display`` asks for it to be shown; ``seconds`` and ``iterations`` are those since the last one shown.
    ``clipping`` is None where gradients were left as they were.
    """

    iteration: int
    loss: float
    smoothed_loss: float
    rate: float
    outputs: Outputs
    displayed: bool
    seconds: float
    iterations: int
    display: int
    clipping: Clipping | None = None


@dataclass(frozen=True, slots=True)
class TestReport:
    """A test net has been run: the mean of each output, and of the loss if that was asked for."""

    iteration: int
    net: int
    loss: float | None
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """A snapshot is on the disk: two files that belong together."""

    iteration: int
    weights: str
    state: str


@dataclass(frozen=True, slots=True)
class EndReport:
    """Training is over; ``early`` if somebody asked for it."""

    iteration: int
    early: bool


class Reporter:
    """Listens to a solver; each method may be overridden. What a method raises stops the training."""

    def on_start(self, report: StartReport) -> None:
        """Training begins."""

    def on_message(self, text: str) -> None:
        """Something that a user should know."""

    def on_iteration(self, report: IterationReport) -> None:
        """An iteration is done."""

    def on_test_start(self, iteration: int, net: int) -> None:
        """A test net is about to be run."""

    def on_test(self, report: TestReport) -> None:
        """A test net has been run."""

    def on_snapshot(self, report: SnapshotReport) -> None:
        """A snapshot has been written."""

    def on_final_loss(self, iteration: int, loss: float) -> None:
        """The loss after the last update is known."""

    def on_end(self, report: EndReport) -> None:
        """Training is over."""
