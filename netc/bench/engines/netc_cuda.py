"""netc on a GPU: forward passes on arrays that lie there, iterations of training on batches that come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import netc
from netc.backends.cuda.target import ARCHITECTURES
from netc.bench.engines.job import MOMENTUM, RATE, WEIGHT_DECAY, Array, Job, TimedCall, labels
from netc.frontend.net_file import load_net
from netc.passes.update_params import UpdateRule
from netc.runtime.api import filled_params
from netc.runtime.compiler import import_message
from netc.runtime.cuda_device import load_cupy
from netc.runtime.options import CompileOptions
from netc.runtime.training_step import TrainingStep


class _Events:
    """A call between two events of CuPy's current stream, with which it is in order."""

    def __init__(self, cupy: Any, run: Callable[[], Any], result: Callable[[Any], Array]) -> None:
        self._cupy, self._run, self._result = cupy, run, result

    def __call__(self) -> Array:
        return self._result(self._run())

    def milliseconds(self) -> float:
        """By the GPU's clock."""
        begin, end = (self._cupy.cuda.Event() for _ in range(2))
        begin.record()
        self._run()
        end.record()
        end.synchronize()
        return float(self._cupy.cuda.get_elapsed_time(begin, end))


def build(job: Job, x: Array) -> TimedCall:
    """A forward pass in tf32; input and output stay on the GPU."""
    cupy = load_cupy()
    module = netc.compile(
        job.prototxt, job.caffemodel, target=_target(cupy), input_shapes={job.input: x.shape}
    )
    given = {job.input: cupy.asarray(x)}

    def run() -> Mapping[str, Any]:
        return module.run_on_device(**given)

    def result(outputs: Mapping[str, Any]) -> Array:
        found: Array = [*outputs.values()][-1].get()
        return found

    return _Events(cupy, run, result)


def train(job: Job, x: Array) -> TimedCall:
    """An iteration: the batch comes from the host, the loss goes back there."""
    cupy = load_cupy()
    options = CompileOptions(
        target=_target(cupy), phase="TRAIN", input_shapes=((job.input, x.shape),), threads=job.threads
    )
    net = import_message(load_net(job.prototxt, phase="TRAIN"), options)
    params, _ = filled_params(net, job.caffemodel)
    rule = UpdateRule("SGD", momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    step = TrainingStep(net, options, params, rule)
    batch = {job.input: x, "label": labels(x)}
    return _Events(cupy, lambda: step.run([batch], RATE, 0)[0]["loss"], lambda loss: loss)


def _target(cupy: Any) -> str:
    """The GPU that is there, where netc knows it by name."""
    name = f"sm_{cupy.cuda.Device().compute_capability}"
    return f"cuda:{name}" if name in ARCHITECTURES else "cuda"
