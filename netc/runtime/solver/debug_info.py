"""``debug_info``: how large every blob, gradient and parameter is on average, as the original logs it.

Of layers that work in place the original shows what each of them made; here all show the blob's last content.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from netc.runtime.memory import Array
from netc.runtime.solver.detailed_step import Details
from netc.runtime.solver.train_net import TrainNet


def pass_lines(train: TrainNet, details: Details) -> Iterator[str]:
    """The lines of an iteration before its update: forward, backward."""
    params, sums = train.store.arrays, train.gradient_sums
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
        for info in layer.params:
            if info.value.name in sums:
                mean = _mean(sums[info.value.name])
                yield f"    [Backward] Layer {layer.name}, param blob {info.index} diff: {mean}"
    data = [params[name] for name in {p.value.name: None for p in train.net.params if p.learnable}]
    (data_l1, data_l2), (diff_l1, diff_l2) = _norms(data), _norms(sums.values())
    yield (
        f"    [Backward] All net params (data, diff): L1 norm = ({data_l1:g}, {diff_l1:g}); "
        f"L2 norm = ({data_l2:g}, {diff_l2:g})"
    )


def update_lines(train: TrainNet, details: Details) -> Iterator[str]:
    """The lines of an update that was made."""
    params = train.store.arrays
    for layer in train.net.layers:
        for info in layer.params:
            step = details.steps.get(info.value.name)
            if step is not None:
                data = _mean(params[info.value.name])
                yield f"    [Update] Layer {layer.name}, param {info.index} data: {data}; diff: {_mean(step)}"


def _norms(arrays: Iterable[Array]) -> tuple[float, float]:
    """The sum of the absolute values of all elements, and the root of that of their squares."""
    flat = [array.reshape(-1) for array in arrays]
    l1 = sum(float(np.sum(np.abs(array), dtype=np.float64)) for array in flat)
    return l1, math.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in flat))


def _mean(array: Array) -> str:
    return f"{float(np.mean(np.abs(array))) if array.size else 0.0:g}"
