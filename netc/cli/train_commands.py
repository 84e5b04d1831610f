"""The commands around training, and ``netc caffe``, which takes the flags of the original's program."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from netc.cli.make_command import (
    ALLOW_PYTHON_LAYERS,
    EXACT,
    JSON,
    PIN,
    PRECISION,
    TARGET,
    TUNE,
    Parameter,
    command,
    made,
)

EFFECTS = ("stop", "snapshot", "none")
LOG_FORMATS = ("caffe", "json", "rich")


def _originals(name: str, *more: str, **settings: Any) -> Parameter:
    """An option of the original's program, with one dash or two, as gflags takes it."""
    return click.option(*more, f"-{name}", f"--{name}", **settings)


def _effect(signal: str, default: str) -> Parameter:
    return click.option(
        f"--{signal}-effect",
        type=click.Choice(EFFECTS),
        default=default,
        show_default=True,
        help=f"What {signal.upper()} does: stop after the iteration, write a snapshot, or nothing.",
    )


_RUNNING: tuple[Parameter, ...] = (
    click.option("--threads", type=int, metavar="N", help="Threads to run on: all cores."),
    PIN,
    TARGET,
    PRECISION,
    click.option(
        "-O", "opt_level", type=click.Choice(["0", "1", "2", "3"]), default="3", help="Optimisation level: 3."
    ),
    EXACT,
    TUNE,
    click.option("--level", type=int, default=0, help="Selects layers: the level."),
    click.option("--stage", "stages", multiple=True, metavar="NAME", help="Selects layers: a stage."),
    ALLOW_PYTHON_LAYERS,
)

TRAIN = command(
    "train",
    "Train the net of a solver.",
    """Train the net of the solver SOLVER (a .prototxt) as Caffe does.

    Paths start at the current directory, as in Caffe; a net that is not there is looked for beside SOLVER.
    """,
    "netc.cli.train",
    _originals("solver", required=True, metavar="FILE", help="The solver (.prototxt)."),
    _originals("weights", "-w", multiple=True, metavar="FILE,...", help="Trained weights to start from."),
    _originals("snapshot", metavar="FILE", help="Go on with a run: its .solverstate or .solverstate.h5."),
    _originals("iterations", type=click.IntRange(0), metavar="N", help="Train to this iteration: max_iter."),
    *_RUNNING,
    click.option(
        "--memory-limit",
        metavar="SIZE",
        help="Bytes for training (also 500MB, 2GB): activations are computed twice as needed.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(LOG_FORMATS),
        help="caffe: the original's lines (stderr); json: a line an event (stdout); rich: a bar.",
    ),
    click.option(
        "--plot",
        is_flag=False,
        flag_value="-",
        metavar="[FILE.png]",
        help="Draw the loss: in the terminal, and at the end in FILE.png: PREFIX_loss.png.",
    ),
    click.option("--tensorboard", metavar="DIR", help="Write events for TensorBoard there."),
    _effect("sigint", "stop"),
    _effect("sighup", "snapshot"),
)

_TEST_HELP = """Run batches of the net's own data through it, and print the mean of each output.

The net is read for the phase TEST.
"""

TEST = command(
    "test",
    "Measure a net on its own data.",
    _TEST_HELP,
    "netc.cli.test",
    _originals("model", required=True, metavar="FILE", help="The net (.prototxt)."),
    _originals("weights", "-w", required=True, metavar="FILE,...", help="Trained weights."),
    _originals("iterations", type=click.IntRange(1), default=50, show_default=True, help="Batches to run."),
    *_RUNNING,
    click.option("--log-format", type=click.Choice(["caffe"]), help="caffe: the original's lines (stderr)."),
    JSON,
)

PARSE_LOG = command(
    "parse-log",
    "Make tables of a log of training.",
    """Write the outputs in LOG as tables, DIR/LOG.train and DIR/LOG.test, as Caffe's parse_log.py does.

    LOG is what the original or `netc train` logged.
    """,
    "netc.cli.parse_log",
    click.argument("log", type=click.Path()),
    click.argument("folder", metavar="[DIR]", default=".", type=click.Path()),
    click.option("--delimiter", default=",", show_default=True, help="What stands between columns."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON, and write no file."),
)

PLOT = command(
    "plot",
    "Draw the curves in logs of training.",
    "Draw the loss and the tests in each LOG: in the terminal, or with -o in a file (needs matplotlib).",
    "netc.cli.plot",
    click.argument("logs", nargs=-1, required=True, metavar="LOG...", type=click.Path()),
    click.option("-o", "--output", metavar="FILE", help="File to write: .png, .svg or .pdf."),
)


_STATE: tuple[Parameter, ...] = (
    _originals("gpu", default="", help="Ignored, with a warning: netc train --target cuda trains on a GPU."),
    _originals("level", type=int, default=0, help="Selects layers: the level."),
    _originals("stage", default="", help="Selects layers: stages, with commas between."),
    ALLOW_PYTHON_LAYERS,
)


def _unused(action: str, *names: str) -> tuple[Parameter, ...]:
    """Flags of the original's other actions: they belong to its program, so every action takes them."""

    def note(_context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            click.echo(f"note: caffe {action} does not use -{parameter.name}: ignored", err=True)

    return tuple(_originals(name, hidden=True, expose_value=False, callback=note) for name in names)


def _caffe_train(gpu: str, stage: str, weights: str, **given: Any) -> None:
    _warn_of_gpu(gpu)
    import_module("netc.cli.train").command(
        weights=tuple(filter(None, [weights])),
        stages=tuple(filter(None, stage.split(","))),
        iterations=None,
        threads=None,
        pin=False,
        target="cpu",
        precision="fp32",
        opt_level="3",
        exact=False,
        tune=False,
        memory_limit=None,
        log_format="caffe",
        plot=None,
        tensorboard=None,
        **given,
    )


def _caffe_test(gpu: str, stage: str, **given: Any) -> None:
    _warn_of_gpu(gpu)
    import_module("netc.cli.test").command(
        stages=tuple(filter(None, stage.split(","))),
        threads=None,
        pin=False,
        target="cpu",
        precision="fp32",
        opt_level="3",
        exact=False,
        tune=False,
        log_format="caffe",
        as_json=False,
        **given,
    )


def _warn_of_gpu(gpu: str) -> None:
    if gpu:
        click.echo(
            "warning: -gpu is ignored: running on the CPU; netc train --target cuda trains on a GPU", err=True
        )


@click.group("caffe", short_help="The original's program: caffe train, caffe test.")
def caffe() -> None:
    """Take the arguments of the original's program `caffe`, and log as it does."""


caffe.add_command(
    made(
        "train",
        "Train the net of a solver.",
        "Train the net of a solver; `netc train` has more options.",
        _caffe_train,
        (
            _originals("solver", required=True, metavar="FILE", help="The solver."),
            _originals("snapshot", metavar="FILE", help="Go on with a run."),
            _originals("weights", default="", metavar="FILE,...", help="Trained weights to start from."),
            *_STATE,
            _originals(
                "sigint_effect", type=click.Choice(EFFECTS), default="stop", help="What SIGINT does: stop."
            ),
            _originals(
                "sighup_effect",
                type=click.Choice(EFFECTS),
                default="snapshot",
                help="What SIGHUP does: snapshot.",
            ),
            *_unused("train", "model", "phase", "iterations"),
        ),
    )
)
caffe.add_command(
    made(
        "test",
        "Measure a net on its own data.",
        _TEST_HELP,
        _caffe_test,
        (
            _originals("model", required=True, metavar="FILE", help="The net."),
            _originals("weights", required=True, metavar="FILE", help="Trained weights."),
            _originals("iterations", type=click.IntRange(1), default=50, help="Batches to run: 50."),
            *_STATE,
            *_unused("test", "solver", "phase", "snapshot", "sigint_effect", "sighup_effect"),
        ),
    )
)

PLAIN_COMMANDS = (TRAIN, TEST, PARSE_LOG, PLOT)
TRAIN_COMMANDS = (*PLAIN_COMMANDS, caffe)
