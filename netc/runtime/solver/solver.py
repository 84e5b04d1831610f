"""The training loop, in the original's order of steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from netc.backends.cuda.target import DEFAULT_PRECISION, Precision
from netc.frontend.message import Message
from netc.frontend.solver_check import check_snapshot_prefix
from netc.frontend.solver_file import read_solver
from netc.frontend.solver_state import ResumeState
from netc.ir.diagnostics import NetcError
from netc.runtime.compiler import OnKernel
from netc.runtime.memory import Array, parse_bytes
from netc.runtime.options import CompileOptions
from netc.runtime.solver.action import Action
from netc.runtime.solver.callbacks import Callbacks
from netc.runtime.solver.debug_info import pass_lines, update_lines
from netc.runtime.solver.detailed_step import Details
from netc.runtime.solver.feed import GiveInputs
from netc.runtime.solver.hooks import Hooks, OnGradients
from netc.runtime.solver.initial_weights import WeightPaths, load_initial_weights, weight_paths
from netc.runtime.solver.nets import SolverNets
from netc.runtime.solver.progress import Progress
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
from netc.runtime.solver.seed import choose_seed
from netc.runtime.solver.snapshots import read_snapshot, write_snapshot, write_weights
from netc.runtime.solver.train_net import TrainNet
from netc.runtime.tuning.tuner import Tuner


class Solver:
    """Trains a net as a solver.prototxt says.

    ``source`` is a path, a text or a message. ``weights`` are paths of trained weights to start from, instead
    of the solver's own. ``level`` and ``stages`` add to the state of the net to train. Paths of data start at
    ``root``. ``kind`` is the solver's type instead of the one that it states. ``seed`` counts where the
    solver states none; without one it is drawn. ``inputs`` gives arrays for inputs without a data layer, for
    every batch. ``reporters`` listen. Under a ``memory_limit``, in bytes or as in ``"2GB"``, activations are
    computed twice as far as is needed. ``allow_python_layers`` runs the code that the nets' Python layers
    name. For ``target``, ``precision``, ``opt_level``, ``exact``, ``threads``, ``pin_threads`` and ``tuner``
    see :class:`~netc.runtime.options.CompileOptions`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Message,
        *,
        weights: WeightPaths | None = None,
        target: str = "cpu",
        precision: Precision = DEFAULT_PRECISION,
        opt_level: int = 3,
        exact: bool = False,
        threads: int | None = None,
        pin_threads: bool = False,
        tuner: Tuner | None = None,
        level: int = 0,
        stages: Iterable[str] = (),
        root: str | os.PathLike[str] = ".",
        kind: str | None = None,
        seed: int | None = None,
        memory_limit: int | str | None = None,
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
        """Whether the last iteration of :meth:`step`, or what its callbacks see, can be looked at closer."""
        self._prefix = file.snapshot_prefix
        self._notes = list(file.warnings)
        self._hooks = Hooks()
        self._iteration = 0
        self._stopped = False
        self._policy = RatePolicy(self.param)
        self._progress = Progress(self.param)
        self._resumed = False
        if self.param.integer("snapshot"):
            check_snapshot_prefix(self.param, self._prefix)
        self.seed, notes = choose_seed(self.param, seed)
        self._notes += notes
        given = load_initial_weights(weight_paths(weights) or weight_paths(self.param.texts("weights")))
        self._nets = SolverNets(
            file,
            CompileOptions(
                target=target,
                precision=precision,
                opt_level=opt_level,
                exact=exact,
                threads=threads,
                pin_threads=pin_threads,
                tuner=tuner,
            ),
            weights=given,
            seed=self.seed,
            root=Path(root),
            memory_limit=parse_bytes(memory_limit) if isinstance(memory_limit, str) else memory_limit,
            inputs=inputs,
            on_kernel=on_kernel,
            allow_python_layers=allow_python_layers,
        )
        self.net = self._nets.train
        self._limited = memory_limit is not None
        if self._limited and self.param.flag("debug_info"):
            self.net.prepare_gradients()
        self.test_nets = self._nets.tests
        self._notes += self._nets.notes
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
        return self._policy.next_rate(self._iteration)

    @property
    def loss(self) -> float:
        """The mean loss over the last ``average_loss`` iterations."""
        return float(self._progress.average.value)

    @property
    def snapshot_prefix(self) -> str:
        """What the paths of snapshots begin with."""
        return self._prefix

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
        on_iteration_start: Callable[[], object] | None = None,
        on_gradients: OnGradients | None = None,
        on_iteration: Callable[[IterationReport], object] | None = None,
        on_test: Callable[[TestReport], object] | None = None,
        on_snapshot: Callable[[SnapshotReport], object] | None = None,
    ) -> None:
        """Call functions from now on: after each iteration, test and snapshot, and within each iteration.

        ``on_iteration_start`` is called before an iteration takes its data. ``on_gradients`` gets layer name
        -> gradients, summed over the batches of the iteration (None for what does not learn), before they are
        clipped, normalised and regularised: edit them in place, and the update takes that. With it gradients
        and update are two programs instead of one.
        """
        self._hooks.add(on_iteration_start, on_gradients)
        if self._limited and on_gradients is not None:
            self.net.prepare_gradients()
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
        if not isinstance(iterations, int | np.integer):
            raise NetcError(f"the number of iterations is an integer, got {iterations!r}")
        self._stopped = False
        if not self._resumed:
            self._progress.average.reset()
        self._resumed = False
        self._progress.begin(self._iteration)
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
        resume = take_resume_state(self.seed, self._progress.average, self.net, self.test_nets)
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
        snapshots, training goes on with the batch and the numbers that the iteration would take.
        """
        state, notes = read_snapshot(os.fspath(path), self.net)
        self._iteration = state.iteration
        self._policy.current_step = state.current_step
        resume = state.resume
        if resume is None:
            self.net.seek(state.iteration * self.param.integer("iter_size"))
        else:
            self._resume(resume)
        self._say(f"Restored iteration {state.iteration} from {path}")
        for note in notes:
            self._say(note)

    def close(self) -> None:
        """End the threads that read data. The solver can go on; it starts new ones."""
        self._nets.close()

    # ---- inside

    def _iterate(self, *, last: bool) -> bool:
        """One iteration with all that belongs to it, ``last`` if no other follows; False to stop."""
        param, iteration = self.param, self._iteration
        interval = param.integer("test_interval")
        if interval and iteration % interval == 0 and (iteration or param.flag("test_initialization")):
            self._test_all()
            if self._stopped:
                return False
        self._hooks.start()
        debugged = self._progress.displayed(iteration) and param.flag("debug_info")
        rate = self._rate()
        loss = self.net.iterate(
            rate,
            iteration,
            detailed=debugged or self.detailed,
            remember=self.remember and (last or self._hooks.see_starts),
            on_gradients=partial(self._give_gradients, debugged)
            if debugged or self._hooks.see_gradients
            else None,
        )
        if debugged:
            self._debug(update_lines)
        report = self._progress.report(iteration, loss, rate, self.net)
        self._tell(lambda reporter: reporter.on_iteration(report))
        self._iteration += 1
        action = self.action()
        every = param.integer("snapshot")
        if action is Action.SNAPSHOT or (every and self._iteration % every == 0):
            self.snapshot()
        self._stopped = action is Action.STOP
        return not self._stopped

    def _give_gradients(self, debugged: bool) -> None:
        if debugged:
            self._debug(pass_lines)
        self._hooks.gradients_ready(self.net.gradients)

    def _debug(self, lines: Callable[[TrainNet, Details], Iterable[str]]) -> None:
        if self.net.details is not None:
            for line in lines(self.net, self.net.details):
                self._say(line)

    def _rate(self) -> float:
        before = self._policy.current_step
        rate = self._policy.rate(self._iteration)
        step = self._policy.current_step
        if self._policy.name == "multistep" and step != before:
            self._say(f"MultiStep Status: Iteration {self._iteration}, step = {step}")
        return rate

    def _finish(self) -> None:
        """The loss after the last update, and a last test, where they are to be shown."""
        interval = self.param.integer("test_interval")
        if self._progress.displayed(self._iteration):
            final = self._progress.average.add(self.net.evaluate())
            self._tell(lambda reporter: reporter.on_final_loss(self._iteration, final))
        if interval and self._iteration % interval == 0:
            self._test_all()

    def _test_all(self) -> None:
        for index in range(len(self.test_nets)):
            if not self._stopped:
                self._test(index)

    def _test(self, index: int) -> None:
        self._tell(lambda reporter: reporter.on_test_start(self._iteration, index))
        found = self.test_nets[index].test(self._nets.test_batches[index], lambda *_: self._goes_on())
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

    def _resume(self, resume: ResumeState) -> None:
        """Take over what netc keeps in a snapshot beyond the original's content."""
        if resume.seed != self.seed:
            self.seed = resume.seed
            self._nets.reseed(self.seed)
        give_resume_state(resume, self._progress.average, self.net, self.test_nets)
        self._resumed = True

    def _say(self, text: str) -> None:
        self._tell(lambda reporter: reporter.on_message(text))

    def _tell(self, call: Callable[[Reporter], None]) -> None:
        for reporter in self.reporters:
            call(reporter)
