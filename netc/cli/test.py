"""``netc test``: the means of a net's outputs over batches of its own data, as ``caffe test``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netc.backends.cuda.target import Precision
from netc.cli.output import progress, put, put_json, say, say_warnings
from netc.cli.tuning import tuning
from netc.frontend.net_file import load_net
from netc.frontend.python_layers.layers import PythonLayers
from netc.ir.diagnostics import NetcError
from netc.runtime.options import CompileOptions
from netc.runtime.solver.caffe_log import CaffeLog, number
from netc.runtime.solver.initial_weights import load_initial_weights, weight_paths
from netc.runtime.solver.reports import Outputs
from netc.runtime.solver.test_net import TestNet
from netc.runtime.tuning.tuner import Tuner


def command(
    model: str,
    weights: str,
    iterations: int,
    threads: int | None,
    pin: bool,
    target: str,
    precision: Precision,
    opt_level: str,
    exact: bool,
    tune: bool,
    level: int,
    stages: Sequence[str],
    log_format: str | None,
    as_json: bool,
    allow_python_layers: bool,
) -> None:
    """``netc test``."""
    options = CompileOptions(
        target=target,
        precision=precision,
        opt_level=int(opt_level),
        exact=exact,
        threads=threads,
        pin_threads=pin,
        tuner=Tuner() if tune else None,
        level=level,
        stages=tuple(stages),
        python_layers=PythonLayers(allowed=allow_python_layers),
    )
    message = load_net(model, phase="TEST", level=level, stages=stages)
    loaded = load_initial_weights(weight_paths(weights))
    if loaded is None:
        raise NetcError("--weights names no file", remedy="give the trained weights to test")
    with tuning(options.tuner), progress("compiling kernels") as on_kernel:
        net = TestNet(message, options, weights=loaded, seed=0, root=Path(), on_kernel=on_kernel)
    say_warnings(net.module.warnings)
    log = CaffeLog(say) if log_format == "caffe" else None
    if log is not None:
        log.line(f"Running for {iterations} iterations.", "caffe.cpp", 281)

    def on_batch(index: int, loss: float, outputs: Outputs) -> bool:
        del loss
        if log is not None:
            for name, value, _ in outputs.values():
                log.line(f"Batch {index}, {name} = {number(value)}", "caffe.cpp", 304)
        if update is not None:
            update(index + 1, iterations)
        return True

    with progress("testing") as update:
        found = net.test(iterations, on_batch)
    net.feed.close()
    assert found is not None
    loss, outputs = found
    if as_json:
        put_json({"loss": loss, "outputs": {name: a.tolist() for name, a in outputs.arrays.items()}})
        return
    lines = [f"Loss: {number(loss)}", *map(_line, outputs.values())]
    for line in lines:
        put(line) if log is None else log.line(line, "caffe.cpp", 309)


def _line(output: tuple[str, float, float]) -> str:
    name, value, weight = output
    counted = f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""
    return f"{name} = {number(value)}{counted}"
