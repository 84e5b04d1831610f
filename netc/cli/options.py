"""The options that say how a net is read and compiled; commands that take a net share them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click
from click.core import ParameterSource

from netc.cli.output import progress
from netc.ir.diagnostics import NetcError
from netc.runtime.api import build, load
from netc.runtime.artifact import is_artifact
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions, Phase, Shape, parse_input_shape

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class NetRequest:
    """A net and how to compile it. ``given`` names the options that were written on the command line."""

    model: str
    weights: str | None
    options: CompileOptions
    given: frozenset[str]

    @property
    def is_compiled(self) -> bool:
        """Whether the model is a file that ``netc compile`` wrote."""
        return is_artifact(self.model)

    def with_shapes(self, shapes: dict[str, Shape]) -> NetRequest:
        """The request with shapes for inputs that have none on the command line."""
        stated = {**shapes, **dict(self.options.input_shapes)}
        return replace(self, options=replace(self.options, input_shapes=tuple(stated.items())))

    def module(self) -> Module:
        """The module: loaded if the model is compiled, else compiled now."""
        if self.is_compiled:
            self._check_nothing_to_compile()
            return load(self.model, threads=self.options.threads)
        with progress("compiling kernels") as on_kernel:
            return build(self.model, self.weights, self.options, on_kernel=on_kernel)

    def _check_nothing_to_compile(self) -> None:
        useless = sorted(self.given - {"threads"})
        if useless:
            flag = "-O" if useless[0] == "opt_level" else "--" + useless[0].replace("_", "-")
            raise NetcError(f"{self.model} is compiled already, so {flag} has no effect on it")


def net_options(command: Command) -> Command:
    """Give a command the argument MODEL and these options; it gets them as one ``request``."""

    @functools.wraps(command)
    def wrapper(
        model: str,
        weights: str | None,
        target: str,
        opt_level: str,
        input_shape: tuple[str, ...],
        phase: Phase,
        level: int,
        stages: tuple[str, ...],
        fully_convolutional: bool,
        threads: int | None,
        keep: tuple[str, ...],
        **others: Any,
    ) -> None:
        options = CompileOptions(
            target=target,
            phase=phase,
            level=level,
            stages=stages,
            input_shapes=tuple(map(parse_input_shape, input_shape)),
            opt_level=int(opt_level),
            threads=threads,
            keep=keep,
            fully_convolutional=fully_convolutional,
        )
        command(request=NetRequest(model, weights, options, _given()), **others)

    decorated: Command = wrapper
    for decorate in reversed(_DECORATORS):
        decorated = decorate(decorated)
    return decorated


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_DECORATORS: tuple[Callable[[Command], Command], ...] = (
    click.argument("model", type=click.Path()),
    click.option("-w", "--weights", metavar="FILE", help="Trained weights (.caffemodel)."),
    click.option("--target", default="cpu", show_default=True, help="cpu, cpu:avx2, cpu:avx512, or numpy."),
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
    click.option("--threads", type=int, metavar="N", help="Threads to run on: all cores."),
    click.option("--keep", multiple=True, metavar="BLOB", help="Keep an intermediate blob."),
)
_NET_OPTIONS = (
    "weights", "target", "opt_level", "input_shape", "phase", "level", "stages", "fully_convolutional",
    "threads", "keep",
)  # fmt: skip


def _given() -> frozenset[str]:
    context = click.get_current_context()
    return frozenset(
        name for name in _NET_OPTIONS if context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    )
