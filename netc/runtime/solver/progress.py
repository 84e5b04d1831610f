"""How an iteration is reported: its smoothed loss, whether it is shown, the time since the last that was."""

from __future__ import annotations

import time

from netc.frontend.message import Message
from netc.runtime.solver.loss_average import LossAverage
from netc.runtime.solver.reports import IterationReport
from netc.runtime.solver.train_net import TrainNet


class Progress:
    """Of the solver ``param``. ``average`` holds the losses of the last iterations."""

    def __init__(self, param: Message) -> None:
        self.average = LossAverage(param.integer("average_loss"))
        self._display = param.integer("display")
        self._shown = (time.perf_counter(), 0)

    def begin(self, iteration: int) -> None:
        """Time counts from here."""
        self._shown = (time.perf_counter(), iteration)

    def displayed(self, iteration: int) -> bool:
        """Whether the solver shows this iteration."""
        return bool(self._display and iteration % self._display == 0)

    def report(self, iteration: int, loss: float, rate: float, net: TrainNet) -> IterationReport:
        """The report of the net's last iteration, whose loss joins the average."""
        smoothed = self.average.add(loss)
        displayed = self.displayed(iteration)
        now, (since, first) = time.perf_counter(), self._shown
        if displayed:
            self._shown = now, iteration
        return IterationReport(
            iteration,
            loss,
            smoothed,
            rate,
            net.objective.outputs(net.results),
            displayed,
            now - since,
            iteration - first,
            self._display,
            net.clipping,
        )
