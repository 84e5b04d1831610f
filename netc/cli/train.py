"""``netc train``: trains the net of a solver, and shows how it goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack

from netc.backends.cuda.target import Precision
from netc.cli.loss_picture import LossPicture
from netc.cli.output import progress, put, say
from netc.cli.signals import actions_of_signals
from netc.cli.tensorboard_log import TensorBoardLog
from netc.cli.training_view import TrainingView
from netc.cli.tuning import tuning
from netc.ir.diagnostics import NetcError
from netc.runtime.solver.action import Action
from netc.runtime.solver.caffe_log import CaffeLog
from netc.runtime.solver.curves import Curves
from netc.runtime.solver.json_log import JsonLog
from netc.runtime.solver.reports import Reporter
from netc.runtime.solver.solver import Solver
from netc.runtime.tuning.tuner import Tuner

UNNAMED = "-"  # what --plot without a file stands for


def command(
    solver: str,
    weights: Sequence[str],
    snapshot: str | None,
    iterations: int | None,
    threads: int | None,
    pin: bool,
    target: str,
    precision: Precision,
    opt_level: str,
    exact: bool,
    tune: bool,
    level: int,
    stages: Sequence[str],
    memory_limit: str | None,
    log_format: str | None,
    plot: str | None,
    sigint_effect: str,
    sighup_effect: str,
    tensorboard: str | None,
    allow_python_layers: bool,
) -> None:
    """``netc train``."""
    if snapshot and weights:
        raise NetcError(
            "--snapshot goes on with a run, --weights starts a new one: give one of them",
            remedy="a snapshot names its own weights",
        )
    picture = None if plot is None else LossPicture(None if plot == UNNAMED else plot)
    with ExitStack() as closing:
        curves = Curves()
        reporters: list[Reporter] = [curves]
        log_format = log_format or ("rich" if sys.stderr.isatty() else "caffe")
        # a program reads stdout: whoever started it may look at stderr
        watched = picture is not None and sys.stderr.isatty() and not sys.stdout.isatty()
        if log_format == "rich" or (log_format == "json" and watched):
            view = TrainingView(curves, picture=picture is not None)
            closing.callback(view.close)
            reporters.append(view)
        if log_format != "rich":
            reporters.append(CaffeLog(say) if log_format == "caffe" else JsonLog(_put_now))
        if tensorboard is not None:
            reporters.append(TensorBoardLog(tensorboard))
        tuner = Tuner() if tune else None
        with tuning(tuner), progress("compiling kernels") as on_kernel:
            trainer = Solver(
                solver,
                weights=weights or None,
                target=target,
                precision=precision,
                opt_level=int(opt_level),
                exact=exact,
                threads=threads,
                pin_threads=pin,
                tuner=tuner,
                level=level,
                stages=stages,
                memory_limit=memory_limit,
                reporters=reporters,
                on_kernel=on_kernel,
                allow_python_layers=allow_python_layers,
            )
        closing.callback(trainer.close)
        actions = closing.enter_context(actions_of_signals(Action(sigint_effect), Action(sighup_effect)))
        trainer.action = actions.take
        trainer.solve(snapshot, iterations)
    if picture is not None:
        picture.draw(curves, trainer.snapshot_prefix, data_on_stdout=log_format == "json")


def _put_now(line: str) -> None:
    put(line)
    sys.stdout.flush()
