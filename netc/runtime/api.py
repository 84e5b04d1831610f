"""The functions of the public interface: :func:`netc.compile` and :func:`netc.load`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from netc.frontend.imported_net import ImportedNet
from netc.frontend.message import Message
from netc.frontend.net_file import load_net
from netc.frontend.phases import NetState, filter_net
from netc.frontend.python_layers.layers import PythonLayers
from netc.frontend.weights import load_weights
from netc.ir.diagnostics import NetcError
from netc.ir.dim import SymDim
from netc.runtime.compiler import Compiled, OnKernel, compile_message
from netc.runtime.load_params import bind_weights
from netc.runtime.lower_net import OnStage
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions, Phase, as_input_shapes, as_names
from netc.runtime.params import ParamStore, own_params, param_entries
from netc.runtime.precision import DEFAULT_PRECISION, Precision
from netc.runtime.ranges import ActivationRanges, read_ranges
from netc.runtime.read_artifact import read_artifact
from netc.runtime.states import StateStore
from netc.runtime.training_module import TrainingModule, compile_differentiable

if TYPE_CHECKING:
    from netc.runtime.tuning.tuner import Tuner

NetSource: TypeAlias = "str | os.PathLike[str] | Message"
WeightSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Sequence[Any]] | None"


def compile_net(
    net: NetSource,
    weights: WeightSource = None,
    *,
    target: str = "cpu",
    phase: Phase = "TEST",
    level: int = 0,
    stages: Iterable[str] = (),
    input_shapes: Mapping[str, Sequence[int | str | SymDim]] | None = None,
    opt_level: int = 3,
    threads: int | None = None,
    pin_threads: bool = False,
    keep: Iterable[str] = (),
    fully_convolutional: bool = False,
    exact: bool = False,
    precision: Precision = DEFAULT_PRECISION,
    ranges: ActivationRanges | str | os.PathLike[str] | None = None,
    tune: bool = False,
    training: bool = False,
    allow_python_layers: bool = False,
) -> Module:
    """Compile a Caffe net.

    ``net`` is the path of a prototxt, its text, or a net built in Python. ``weights`` is the path of a
    caffemodel, or a mapping layer name -> list of arrays; layers without weights keep their fillers. For the
    rest see :class:`~netc.runtime.options.CompileOptions`. In ``input_shapes`` a dimension may be a name,
    ``{"data": ("N", 3, "H", "W")}``: then one module serves inputs of any such size. With ``training`` the
    module can go backward: it is a :class:`~netc.runtime.training_module.TrainingModule`.
    ``ranges`` for the precision int8 are what :func:`netc.calibrate` found, or its file.
    ``tune`` measures schedules on this machine, for minutes at first, and remembers the quickest.
    ``allow_python_layers`` runs the code that the net's Python layers name: only for nets that you trust.
    """
    options = CompileOptions(
        target=target,
        phase=phase,
        level=level,
        stages=as_names("stages", stages),
        input_shapes=as_input_shapes(input_shapes),
        opt_level=opt_level,
        threads=threads,
        pin_threads=pin_threads,
        keep=as_names("keep", keep),
        fully_convolutional=fully_convolutional,
        exact=exact,
        precision=precision,
        ranges=read_ranges(ranges) if isinstance(ranges, str | os.PathLike) else ranges,
        tuner=_tuner() if tune else None,
        python_layers=PythonLayers(allowed=allow_python_layers),
    )
    if training:
        return build_training(net, weights, options)
    return build(net, weights, options)


def build(
    net: NetSource,
    weights: WeightSource,
    options: CompileOptions,
    *,
    on_stage: OnStage | None = None,
    on_kernel: OnKernel | None = None,
) -> Module:
    """:func:`compile_net` with its options in one, and calls while it works."""
    message = read_message(net, options)
    compiled = compile_message(message, options, on_stage=on_stage, on_kernel=on_kernel)
    return with_weights(message, compiled, weights)


def build_training(
    net: NetSource, weights: WeightSource, options: CompileOptions, *, on_kernel: OnKernel | None = None
) -> TrainingModule:
    """:func:`compile_net` with ``training``, its options in one, and calls while it works."""
    message = read_message(net, options)
    compiled = compile_differentiable(message, options, on_kernel=on_kernel)
    params, warnings = filled_params(compiled.net, weights)
    return TrainingModule(message, compiled, params, warnings)


def read_message(net: NetSource, options: CompileOptions) -> Message:
    """The layers of a net that the options select."""
    if isinstance(net, Message):
        return filter_net(net, NetState(options.phase, options.level, frozenset(options.stages)))
    if not isinstance(net, str | os.PathLike):
        raise NetcError(f"a net is a path, the text of a prototxt, or a Message; got {_kind(net)}")
    return load_net(net, phase=options.phase, level=options.level, stages=options.stages)


def with_weights(message: Message, compiled: Compiled, weights: WeightSource) -> Module:
    """The module of a compiled net, its parameters filled."""
    params, warnings = filled_params(compiled.net, weights)
    return Module(message, compiled, params, warnings)


def filled_params(
    net: ImportedNet, weights: WeightSource, seed: int = 0
) -> tuple[ParamStore, tuple[str, ...]]:
    """The parameters of a net from weights and fillers, and what the weights lack."""
    arrays, report = bind_weights(net, _weight_arrays(weights), seed)
    return ParamStore(param_entries(net), own_params(arrays)), report.warnings


def _weight_arrays(weights: WeightSource) -> Mapping[str, Sequence[Any]] | None:
    if weights is None or isinstance(weights, Mapping):
        return weights
    if not isinstance(weights, str | os.PathLike):
        raise NetcError(f"weights are a path, or map layer names to lists of arrays; got {_kind(weights)}")
    return load_weights(weights)


def _kind(value: object) -> str:
    return type(value).__name__


def load(path: str | os.PathLike[str], *, threads: int | None = None, pin_threads: bool = False) -> Module:
    """A module from a file that :meth:`Module.save` or ``netc compile`` wrote.

    Such files contain machine code: load only those from a source that you trust. On another kind of
    machine the net is compiled again. ``threads`` replaces the number that it was compiled with;
    ``pin_threads`` is as for :func:`compile_net`.
    """
    found = read_artifact(path)
    compiled = found.compiled
    options = replace(compiled.options, pin_threads=pin_threads)
    compiled = replace(compiled, options=options if threads is None else replace(options, threads=threads))
    params = ParamStore(param_entries(compiled.net), found.params)
    states = StateStore(found.seed)
    states.restore(found.states)
    module = Module(found.message, compiled, params, states=states)
    module.prepare()
    return module


def _tuner() -> Tuner:
    from netc.runtime.tuning.tuner import Tuner

    return Tuner()
