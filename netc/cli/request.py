"""What a command works on: a net, and the options that say how it is read and compiled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import click
from click.core import ParameterSource

from netc.cli.output import progress
from netc.cli.tuning import tuning
from netc.frontend.python_layers.layers import PythonLayers
from netc.ir.diagnostics import NetcError
from netc.runtime.api import build, build_training, load
from netc.runtime.artifact import is_artifact
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions, Shape, parse_input_shape
from netc.runtime.training_module import TrainingModule
from netc.runtime.tuning.tuner import Tuner

# of the parameters that every command has, those with no meaning for a net that is compiled already
_COMPILING = (
    "weights", "target", "opt_level", "input_shape", "phase", "level", "stages", "fully_convolutional",
    "exact", "tune", "keep", "precision", "allow_python_layers",
)  # fmt: skip


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
            return load(self.model, threads=self.options.threads, pin_threads=self.options.pin_threads)
        with tuning(self.options.tuner), progress("compiling kernels") as on_kernel:
            return build(self.model, self.weights, self.options, on_kernel=on_kernel)

    def training_module(self) -> TrainingModule:
        """The module with its backward pass, compiled now."""
        if self.is_compiled:
            raise NetcError(
                f"{self.model} was compiled without a backward pass", remedy="give the definition of the net"
            )
        with tuning(self.options.tuner), progress("compiling kernels") as on_kernel:
            return build_training(self.model, self.weights, self.options, on_kernel=on_kernel)

    def _check_nothing_to_compile(self) -> None:
        useless = sorted(self.given)
        if useless:
            flag = "-O" if useless[0] == "opt_level" else "--" + useless[0].replace("_", "-")
            raise NetcError(f"{self.model} is compiled already, so {flag} has no effect on it")


def take_request(given: dict[str, Any]) -> NetRequest:
    """The request in a command's parameters, which are taken out of them."""
    context = click.get_current_context()
    written = frozenset(
        name for name in _COMPILING if context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    )
    options = CompileOptions(
        target=given.pop("target"),
        phase=given.pop("phase"),
        level=given.pop("level"),
        stages=given.pop("stages"),
        input_shapes=tuple(map(parse_input_shape, given.pop("input_shape"))),
        opt_level=int(given.pop("opt_level")),
        threads=given.pop("threads"),
        pin_threads=given.pop("pin", False),
        keep=given.pop("keep"),
        fully_convolutional=given.pop("fully_convolutional"),
        precision=given.pop("precision"),
        exact=given.pop("exact"),
        tuner=Tuner() if given.pop("tune") else None,
        python_layers=PythonLayers(allowed=given.pop("allow_python_layers")),
    )
    return NetRequest(given.pop("model"), given.pop("weights"), options, written)
