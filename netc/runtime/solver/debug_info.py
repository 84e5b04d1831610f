"""``debug_info``: the mean absolute value of every blob, gradient and parameter, as the original logs them.

Of layers that work in place the original shows what each of them made; here all show the blob's last content.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netc.runtime.memory import Array
from netc.runtime.solver.detailed_step import Details
from netc.runtime.solver.train_net import TrainNet


def debug_lines(train: TrainNet, details: Details) -> Iterator[str]:
    """The lines of an iteration: forward, backward, update."""
    params = train.store.arrays
    for layer in train.net.layers:
        for top in layer.tops:
            if top in details.blobs:
                yield f"    [Forward] Layer {layer.name}, top blob {top} data: {_mean(details.blobs[top])}"
        for info in layer.params:
            if info.learnable:
                mean = _mean(params[info.value.name])
                yield f"    [Forward] Layer {layer.name}, param blob {info.index} data: {mean}"
    for layer in reversed(train.net.layers):
        for bottom in layer.bottoms:
            if bottom in details.gradients:
                mean = _mean(details.gradients[bottom])
                yield f"    [Backward] Layer {layer.name}, bottom blob {bottom} diff: {mean}"
    for layer in train.net.layers:
        for info in layer.params:
            step = details.steps.get(info.value.name)
            if step is not None:
                data = _mean(params[info.value.name])
                yield f"    [Update] Layer {layer.name}, param {info.index} data: {data}; diff: {_mean(step)}"


def _mean(array: Array) -> str:
    return f"{float(np.mean(np.abs(array))) if array.size else 0.0:g}"
