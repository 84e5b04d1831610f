"""Makes the commands of click; what does the work of one is imported when it is called: help is quick."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

Callback = Callable[..., None]
Parameter = Callable[[Callback], Callback]
"""What ``click.option`` and ``click.argument`` return."""

ALLOW_PYTHON_LAYERS: Parameter = click.option(
    "--allow-python-layers", is_flag=True, help="Run the code that Python layers name; for nets you trust."
)

TUNE: Parameter = click.option(
    "--tune", is_flag=True, help="Measure schedules here (minutes at first), and remember the quickest."
)
EXACT: Parameter = click.option(
    "--exact", is_flag=True, help="Use no algorithm that rounds more, as Winograd's does."
)
PIN: Parameter = click.option("--pin", is_flag=True, help="Bind each thread to a core while it computes.")
TARGET: Parameter = click.option(
    "--target",
    default="cpu",
    show_default=True,
    help="cpu, cpu:avx2, cpu:avx512, cpu:aarch64-linux, cuda, cuda:sm_90 (several with commas), or numpy.",
)
PRECISION: Parameter = click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16", "fp16"]),
    default="tf32",
    show_default=True,
    help="What a GPU's tensor cores round factors to.",
)

_NET: tuple[Parameter, ...] = (
    click.argument("model", type=click.Path()),
    click.option("-w", "--weights", metavar="FILE", help="Trained weights (.caffemodel)."),
    TARGET,
    PRECISION,
    click.option(
        "-O", "opt_level", type=click.Choice(["0", "1", "2", "3"]), default="3", help="Optimisation level: 3."
    ),
    click.option(
        "--input-shape",
        multiple=True,
        metavar="NAME=DIM,...",
        help="Shape of an input; a name such as N stands for any size.",
    ),
    click.option(
        "--phase",
        type=click.Choice(["TEST", "TRAIN"], case_sensitive=False),
        metavar="[TEST|TRAIN]",
        default="TEST",
        show_default=True,
        help="Selects layers.",
    ),
    click.option("--level", type=int, default=0, help="Selects layers: the level."),
    click.option("--stage", "stages", multiple=True, metavar="NAME", help="Selects layers: a stage."),
    click.option(
        "--fully-convolutional", is_flag=True, help="Make inner products convolutions, for larger inputs."
    ),
    EXACT,
    TUNE,
    click.option("--threads", type=int, metavar="N", help="Threads to run on: all cores."),
    click.option("--keep", multiple=True, metavar="BLOB", help="Keep an intermediate blob."),
    ALLOW_PYTHON_LAYERS,
)


JSON: Parameter = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def command(name: str, summary: str, text: str, module: str, *parameters: Parameter) -> click.Command:
    """A command whose work a function ``command`` in ``module`` does, which gets the parameters."""

    def callback(**given: Any) -> None:
        import_module(module).command(**given)

    return made(name, summary, text, callback, parameters)


def net_command(name: str, summary: str, text: str, module: str, *parameters: Parameter) -> click.Command:
    """A command on a net: the function gets the request that says which, and the other parameters."""

    def callback(**given: Any) -> None:
        request = import_module("netc.cli.request").take_request(given)
        import_module(module).command(request, **given)

    return made(name, summary, text, callback, (*_NET, *parameters))


def made(
    name: str, summary: str, text: str, callback: Callback, parameters: tuple[Parameter, ...]
) -> click.Command:
    """A command that calls a function with its parameters."""
    for decorate in reversed(parameters):
        callback = decorate(callback)
    return click.command(name, short_help=summary, help=text)(callback)
