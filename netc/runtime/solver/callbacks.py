"""Functions that listen to a solver, for who does not want to write a Reporter."""

from __future__ import annotations

from collections.abc import Callable

from netc.ir.diagnostics import NetcError
from netc.runtime.solver.reports import IterationReport, Reporter, SnapshotReport, TestReport


def check_callbacks(**given: object) -> None:
    """Refuse at once what could not be called in the middle of the training."""
    for name, call in given.items():
        if call is not None and not callable(call):
            raise NetcError(f"{name} is a function, or None; got {call!r}")


class Callbacks(Reporter):
    """Passes reports on to functions."""

    def __init__(
        self,
        on_iteration: Callable[[IterationReport], object] | None,
        on_test: Callable[[TestReport], object] | None,
        on_snapshot: Callable[[SnapshotReport], object] | None,
    ) -> None:
        check_callbacks(on_iteration=on_iteration, on_test=on_test, on_snapshot=on_snapshot)
        self._iteration = on_iteration
        self._test = on_test
        self._snapshot = on_snapshot

    def on_iteration(self, report: IterationReport) -> None:
        """An iteration is done."""
        if self._iteration is not None:
            self._iteration(report)

    def on_test(self, report: TestReport) -> None:
        """A test net has been run."""
        if self._test is not None:
            self._test(report)

    def on_snapshot(self, report: SnapshotReport) -> None:
        """A snapshot has been written."""
        if self._snapshot is not None:
            self._snapshot(report)
