"""Writes a net with its parameters in the format of another program: ONNX."""

from __future__ import annotations

import os

from netc import __version__
from netc.backends.numpy_reference import run_func
from netc.backends.onnx.model import to_onnx
from netc.frontend.atomic_file import atomic_file
from netc.frontend.imported_net import ImportedNet
from netc.frontend.weights import load_weights
from netc.ir.diagnostics import NetcError
from netc.passes.pipeline import OptLevel, tensor_pipeline
from netc.runtime.api import NetSource, WeightSource, read_message
from netc.runtime.compiler import import_message
from netc.runtime.load_params import bind_weights
from netc.runtime.options import CompileOptions

_LEVEL: OptLevel = 1  # BatchNorm goes into the convolutions; layouts and fused kernels mean nothing elsewhere


def export_onnx(
    net: NetSource, weights: WeightSource, path: str | os.PathLike[str], options: CompileOptions
) -> tuple[str, ...]:
    """Write the net as an ONNX file; the result are warnings about its weights.

    The pipeline's level is always 1, whatever ``options`` says. Input sizes may be symbols as long as no
    pooling needs to know them.
    """
    imported = import_message(read_message(net, options), options)
    _check_states(imported)
    module = imported.module
    shapes = dict(options.input_shapes) if options.fully_convolutional else None
    for stage in tensor_pipeline(_LEVEL, block=1, fully_convolutional=shapes):
        if stage.name != "fuse":
            module = stage.run(module)
    given = (
        weights if weights is None or not isinstance(weights, str | os.PathLike) else load_weights(weights)
    )
    arrays, report = bind_weights(imported, given)
    prepare = module.func("prepare")
    params = run_func(prepare, {param.name: arrays[param.name] for param in prepare.params})
    data = to_onnx(module.func("main"), params, module.name, __version__)
    with atomic_file(path) as file:
        file.write(data)
    return (*imported.warnings, *report.warnings)


def _check_states(net: ImportedNet) -> None:
    """Hidden states become inputs and outputs of the model; parameters that a run changes cannot."""
    changed = {state.value.name for state in net.states} - {state.value.name for state in net.carried}
    for info in net.params:
        if info.value.name in changed:
            raise NetcError(
                "a run changes the parameters of this layer, which is for training and not for an ONNX file",
                location=info.location,
                layer=info.layer,
                remedy="export the net in phase TEST",
            )
