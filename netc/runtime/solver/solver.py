"""The training loop, in the original's order of steps."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from netc.backends.cuda.target import DEFAULT_PRECISION, Precision
from netc.frontend.message import Message
from netc.frontend.python_layers.layers import PythonLayers
from netc.frontend.solver_check import check_snapshot_prefix
from netc.frontend.solver_file import SolverNet, read_solver
from netc.frontend.solver_state import ResumeState
from netc.runtime.compiler import OnKernel
from netc.runtime.memory import Array
from netc.runtime.options import CompileOptions
from netc.runtime.solver.callbacks import Callbacks
from netc.runtime.solver.debug_info import debug_lines
from netc.runtime.solver.feed import Feed, GiveInputs
from netc.runtime.solver.initial_weights import WeightPaths, load_initial_weights, weight_paths
from netc.runtime.solver.loss_average import LossAverage
from netc.runtime.solver.rates import RatePolicy
from netc.runtime.solver.reports import (
    EndReport,
    IterationReport,
    Reporter,
    SnapshotReport,
    StartReport,
    TestReport,
)
from netc.runtime.solver.resume import give_resume_state, take_resume_state
from netc.runtime.solver.snapshots import read_snapshot, write_snapshot, write_weights
from netc.runtime.solver.test_net import TestNet
from netc.runtime.solver.train_net import TrainNet
from netc.runtime.solver.update_rule import update_rule

MAX_SEED = 2**31


class Action(Enum):
    """What somebody outside may ask of a running solver."""

    NONE = "none"
    STOP = "stop"
    SNAPSHOT = "snapshot"


class Solver:
    """Trains a net as a solver.prototxt says.

    ``source`` is a path, a text or a message. ``weights`` are paths of trained weights to start from, instead
    of the solver's own. ``level`` and ``stages`` add to the state of the net to train. Paths of data start at
    ``root``. ``kind`` is the solver's type instead of the one that it states. ``seed`` counts where the
    solver states none; without one it is drawn. ``inputs`` gives arrays for inputs without a data layer, for
    every batch. ``reporters`` listen. Under a ``memory_limit``, in bytes, activations are computed twice as
    far as is needed. ``allow_python_layers`` runs the code that the nets' Python layers name. For ``target``,
    ``precision``, ``opt_level`` and ``threads`` see :class:`~netc.runtime.options.CompileOptions`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Message,
        *,
        weights: WeightPaths | None = None,
        target: str = "cpu",
        precision: Precision = DEFAULT_PRECISION,
        opt_level: int = 3,
        threads: int | None = None,
        level: int = 0,
        stages: Iterable[str] = (),
        root: str | os.PathLike[str] = ".",
        kind: str | None = None,
        seed: int | None = None,
        memory_limit: int | None = None,
        inputs: GiveInputs | None = None,
        reporters: Iterable[Reporter] = (),
        on_kernel: OnKernel | None = None,
        allow_python_layers: bool = False,
    ) -> None:
        file = read_solver(source, level=level, stages=stages, kind=kind)
        self.param = file.param
        self.reporters = list(reporters)
        self.action: Callable[[], Action] = lambda: Action.NONE
        self.detailed = False
        """Whether every iteration computes :attr:`TrainNet.details`."""
        self.remember = False
        """Whether the last iteration of :meth:`step` can be looked at closer."""
        self._prefix = file.snapshot_prefix
        self._notes = list(file.warnings)
        self._iteration = 0
        self._stopped = False
        self._policy = RatePolicy(self.param)
        self._average = LossAverage(self.param.integer("average_loss"))
        self._resumed = False
        self._shown = (time.perf_counter(), 0)
        if self.param.integer("snapshot"):
            check_snapshot_prefix(self.param, self._prefix)
        self.seed = self._seed(seed)
        given = load_initial_weights(weight_paths(weights) or weight_paths(self.param.texts("weights")))
        options = CompileOptions(target=target, precision=precision, opt_level=opt_level, threads=threads)

        def settings(net: SolverNet) -> dict[str, Any]:
            phase: Literal["TRAIN", "TEST"] = "TRAIN" if net.phase == "TRAIN" else "TEST"
            return {
                "options": replace(
                    options, phase=phase, python_layers=PythonLayers(allowed=allow_python_layers)
                ),
                "weights": given,
                "seed": self.seed,
                "root": Path(root),
                "on_kernel": on_kernel,
            }

        self.net = TrainNet(
            file.train.message,
            rule=update_rule(self.param),
            memory_limit=memory_limit,
            **settings(file.train),
        )
        self._notes += self.net.warnings
        if self.net.step.recomputation is not None:
            self._notes.append(f"note: {self.net.step.recomputation}")
        self.test_nets = [TestNet(net.message, trained=self.net, **settings(net)) for net in file.tests]
        self._test_batches = [net.iterations for net in file.tests]
        if inputs is not None:
            for feed in self._feeds:
                feed.give(inputs)
        for note in self._notes:
            self._say(note)

    # ---- what it is at

    @property
    def iter(self) -> int:
        """How many updates have been made."""
        return self._iteration

    @property
    def lr(self) -> float:
        """The learning rate of the next iteration."""
        step = self._policy.current_step
        try:
            return self._policy.rate(self._iteration)
        finally:
            self._policy.current_step = step

    @property
    def loss(self) -> float:
        """The mean loss over the last ``average_loss`` iterations."""
        return float(self._average.value)

    @property
    def params(self) -> dict[str, list[Array]]:
        """Layer name -> its parameters. Edit the arrays in place: the next iteration sees it."""
        return self.net.params

    def add_reporter(self, reporter: Reporter) -> None:
        """Let somebody listen from now on."""
        self.reporters.append(reporter)
        for note in self._notes:
            reporter.on_message(note)

    def add_callbacks(
        self,
        *,
        on_iteration: Callable[[IterationReport], object] | None = None,
        on_test: Callable[[TestReport], object] | None = None,
        on_snapshot: Callable[[SnapshotReport], object] | None = None,
    ) -> None:
        """Call functions after each iteration, test and snapshot from now on."""
        self.add_reporter(Callbacks(on_iteration, on_test, on_snapshot))

    # ---- training

    def solve(self, snapshot: str | os.PathLike[str] | None = None, iterations: int | None = None) -> None:
        """Train to ``max_iter``, from a snapshot if one is given, with a last snapshot and a last test.

        ``iterations`` is where to end instead of ``max_iter``; the learning rates stay what they are.
        """
        if self.param.flag("snapshot_after_train"):
            check_snapshot_prefix(self.param, self._prefix)
        if snapshot is not None:
            self.restore(snapshot)
        if iterations is None and not self.param.has("max_iter"):
            self._say("warning: the solver has no max_iter: it trains 0 iterations")
        max_iter = self.param.integer("max_iter") if iterations is None else iterations
        policy = self.param.text("lr_policy")
        start = StartReport(self.net.name, policy, self._iteration, max_iter)
        self._tell(lambda reporter: reporter.on_start(start))
        self.step(max_iter - self._iteration)
        every = self.param.integer("snapshot")
        if self.param.flag("snapshot_after_train") and not (every and self._iteration % every == 0):
            self.snapshot()
        if not self._stopped:
            self._finish()
        end = EndReport(self._iteration, self._stopped)
        self._tell(lambda reporter: reporter.on_end(end))

    def step(self, iterations: int) -> None:
        """Make some updates, with the tests and snapshots that fall among them."""
        self._stopped = False
        if not self._resumed:
            self._average.reset()
        self._resumed = False
        self._shown = (time.perf_counter(), self._iteration)
        end = self._iteration + iterations
        while self._iteration < end:
            if not self._iterate(last=self._iteration == end - 1):
                return

    def test_all(self) -> None:
        """Run every test net over its batches."""
        self._stopped = False
        self._test_all()

    # ---- snapshots

    def snapshot(self) -> SnapshotReport:
        """Write a snapshot now; its two paths."""
        check_snapshot_prefix(self.param, self._prefix)
        hdf5 = self.param.text("snapshot_format") == "HDF5"
        resume = take_resume_state(self.seed, self._average, self.net, self.test_nets)
        report = write_snapshot(
            self._prefix,
            hdf5=hdf5,
            train=self.net,
            iteration=self._iteration,
            current_step=self._policy.current_step,
            resume=resume,
        )
        self._tell(lambda reporter: reporter.on_snapshot(report))
        return report

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the weights alone, as a caffemodel, or as HDF5 where the path ends in ``.h5``."""
        write_weights(os.fspath(path), self.net)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Go on where a snapshot was taken, one of netc's or one of the original's.

        The original does not keep which data came last, nor the state of its random numbers: from its
        snapshots, training goes on with the batch that the iteration would take.
        """
        state, notes = read_snapshot(os.fspath(path), self.net)
        self._iteration = state.iteration
        self._policy.current_step = state.current_step
        resume = state.resume
        if resume is None:
            self.net.feed.seek(state.iteration * self.param.integer("iter_size"))
        else:
            self._resume(resume)
        self._say(f"Restored iteration {state.iteration} from {path}")
        for note in notes:
            self._say(note)

    def close(self) -> None:
        """End the threads that read data. The solver can go on; it starts new ones."""
        for feed in self._feeds:
            feed.close()

    # ---- inside

    def _iterate(self, *, last: bool) -> bool:
        """One iteration with all that belongs to it, ``last`` if no other follows; False to stop."""
        param, iteration = self.param, self._iteration
        interval, display = param.integer("test_interval"), param.integer("display")
        if interval and iteration % interval == 0 and (iteration or param.flag("test_initialization")):
            self._test_all()
            if self._stopped:
                return False
        displayed = bool(display and iteration % display == 0)
        debugged = displayed and param.flag("debug_info")
        rate = self._rate()
        loss = self.net.iterate(
            rate, iteration, detailed=debugged or self.detailed, remember=self.remember and last
        )
        if debugged and self.net.details is not None:
            for line in debug_lines(self.net, self.net.details):
                self._say(line)
        self._average.add(loss)
        self._report(iteration, loss, rate, displayed)
        self._iteration += 1
        action = self.action()
        every = param.integer("snapshot")
        if action is Action.SNAPSHOT or (every and self._iteration % every == 0):
            self.snapshot()
        self._stopped = action is Action.STOP
        return not self._stopped

    def _rate(self) -> float:
        before = self._policy.current_step
        rate = self._policy.rate(self._iteration)
        step = self._policy.current_step
        if self._policy.name == "multistep" and step != before:
            self._say(f"MultiStep Status: Iteration {self._iteration}, step = {step}")
        return rate

    def _report(self, iteration: int, loss: float, rate: float, displayed: bool) -> None:
        now, (since, first) = time.perf_counter(), self._shown
        report = IterationReport(
            iteration,
            loss,
            float(self._average.value),
            rate,
            self.net.objective.outputs(self.net.results),
            displayed,
            now - since,
            iteration - first,
            self.param.integer("display"),
        )
        if displayed:
            self._shown = now, iteration
        self._tell(lambda reporter: reporter.on_iteration(report))

    def _finish(self) -> None:
        """The loss after the last update, and a last test, where they are to be shown."""
        display, interval = self.param.integer("display"), self.param.integer("test_interval")
        if display and self._iteration % display == 0:
            final = self._average.add(self.net.evaluate())
            self._tell(lambda reporter: reporter.on_final_loss(self._iteration, final))
        if interval and self._iteration % interval == 0:
            self._test_all()

    def _test_all(self) -> None:
        for index in range(len(self.test_nets)):
            if not self._stopped:
                self._test(index)

    def _test(self, index: int) -> None:
        self._tell(lambda reporter: reporter.on_test_start(self._iteration, index))
        found = self.test_nets[index].test(self._test_batches[index], lambda *_: self._goes_on())
        if found is None:
            self._say("Test interrupted.")
            return
        loss, outputs = found
        shown = loss if self.param.flag("test_compute_loss") else None
        report = TestReport(self._iteration, index, shown, outputs)
        self._tell(lambda reporter: reporter.on_test(report))

    def _goes_on(self) -> bool:
        """Do what somebody asks for in the middle of a test; False to stop."""
        action = self.action()
        if action is Action.SNAPSHOT:
            self.snapshot()
        self._stopped = action is Action.STOP
        return not self._stopped

    def _seed(self, given: int | None) -> int:
        stated = self.param.integer("random_seed")
        if stated >= 0:
            return stated
        if given is not None:
            return given
        drawn = secrets.randbelow(MAX_SEED)
        self._notes.append(f"note: random_seed: {drawn} was drawn, as the solver states none")
        return drawn

    def _resume(self, resume: ResumeState) -> None:
        """Take over what netc keeps in a snapshot beyond the original's content."""
        if resume.seed != self.seed:
            self.seed = resume.seed
            for feed in self._feeds:
                feed.reseed(self.seed)
        give_resume_state(resume, self._average, self.net, self.test_nets)
        self._resumed = True

    @property
    def _feeds(self) -> list[Feed]:
        return [self.net.feed, *(net.feed for net in self.test_nets)]

    def _say(self, text: str) -> None:
        self._tell(lambda reporter: reporter.on_message(text))

    def _tell(self, call: Callable[[Reporter], None]) -> None:
        for reporter in self.reporters:
            call(reporter)
