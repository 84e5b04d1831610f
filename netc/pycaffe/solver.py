"""Solvers: ``caffe.SGDSolver("solver.prototxt")`` and its kin."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from netc.frontend.net_file import load_solver
from netc.frontend.protobuf_messages import to_protobuf
from netc.ir.diagnostics import NetcError
from netc.pycaffe.mode import next_seed, target
from netc.pycaffe.solver_net import SolverNet, TrainingNet
from netc.runtime.options import CompileOptions, Phase
from netc.runtime.solver.caffe_log import CaffeLog
from netc.runtime.solver.callbacks import check_callbacks
from netc.runtime.solver.solver import Solver
from netc.runtime.solver.test_net import TestNet
from netc.runtime.solver.train_net import TrainNet

Path = str | os.PathLike[str]
_LEVEL = "GLOG_minloglevel"  # glog's own name


class SGDSolver:
    """Trains a net by stochastic gradient descent with momentum. Logs to stderr as the original does.

    ``allow_python_layers`` runs the code that the nets' Python layers name, which the original always does.
    """

    kind = "SGD"

    def __init__(self, param_file: Path, *, allow_python_layers: bool = False) -> None:
        self._has_callbacks = False
        self._solver = Solver(
            param_file,
            kind=self.kind,
            target=target(),
            seed=next_seed() % 2**31,
            reporters=[CaffeLog(_log)],
            allow_python_layers=allow_python_layers,
        )
        self.net = TrainingNet(self._solver, _options(self._solver.net))
        self.test_nets = [SolverNet(net, _options(net)) for net in self._solver.test_nets]
        self.param: Any = to_protobuf(self._solver.param)
        """The solver's fields, to be read."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.net.name} at iteration {self.iter}>"

    @property
    def iter(self) -> int:
        """How many updates have been made."""
        return self._solver.iter

    @property
    def lr(self) -> float:
        """The learning rate of the next iteration."""
        return self._solver.lr

    def step(self, iterations: int) -> None:
        """Make some updates, with the tests and snapshots that fall among them."""
        self._solver.step(iterations)
        if not self._has_callbacks:
            self.net.stepped()

    def solve(self, resume_file: Path | None = None) -> None:
        """Train to ``max_iter``, from a snapshot if one is given."""
        self._solver.solve(resume_file)
        self.net.stepped()

    def snapshot(self) -> None:
        """Write a snapshot now."""
        self._solver.snapshot()

    def restore(self, state_file: Path) -> None:
        """Go on where a snapshot was taken."""
        self._solver.restore(state_file)
        self.net.parameters_changed()

    def add_callback(
        self,
        on_start: Callable[[], object] | None,
        on_gradients_ready: Callable[[], object] | None = None,
    ) -> None:
        """Call ``on_start`` before every iteration, ``on_gradients_ready`` before its update.

        The latter sees the iteration's blobs, and in the ``diff`` of parameters their gradients, added up
        over ``iter_size`` batches; the update takes what it makes of them. With it every iteration computes
        all blobs and gradients.
        """
        check_callbacks(on_start=on_start, on_gradients_ready=on_gradients_ready)
        if not self._has_callbacks:  # which are to see the blobs of the iteration before
            self._solver.add_callbacks(on_iteration=lambda _: self.net.stepped())
            self._has_callbacks = True
        if on_start is not None:
            self._solver.add_callbacks(on_iteration_start=on_start)
        if on_gradients_ready is not None:
            call = on_gradients_ready
            self.net.watch_gradients()

            def show_and_call(_: object) -> None:
                self.net.gradients_ready()
                call()

            self._solver.add_callbacks(on_gradients=show_and_call)


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient."""

    kind = "Nesterov"


class AdaGradSolver(SGDSolver):
    """Steps that shrink with the sum of all squared gradients."""

    kind = "AdaGrad"


class RMSPropSolver(SGDSolver):
    """Steps that shrink with the mean of the last squared gradients."""

    kind = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    """Steps in the units of the parameters."""

    kind = "AdaDelta"


class AdamSolver(SGDSolver):
    """Steps by the means of gradients and of their squares."""

    kind = "Adam"


_SOLVERS = {
    solver.kind: solver
    for solver in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}


def get_solver(param_file: Path, *, allow_python_layers: bool = False) -> SGDSolver:
    """The solver of the type that the file states."""
    param = load_solver(param_file)
    kind = param.text("type")
    if kind not in _SOLVERS:
        raise NetcError(
            f"unknown solver type '{kind}'; there are {', '.join(_SOLVERS)}", location=param.where("type")
        )
    return _SOLVERS[kind](param_file, allow_python_layers=allow_python_layers)


def _options(net: TrainNet | TestNet) -> CompileOptions:
    phase: Phase = "TRAIN" if net.message.message("state").text("phase") == "TRAIN" else "TEST"
    return CompileOptions(target=target(), phase=phase, python_layers=net.options.python_layers)


def _log(line: str) -> None:
    if os.environ.get(_LEVEL, "0") == "0":
        print(line, file=sys.stderr)
