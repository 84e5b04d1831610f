"""A net that is tested, alone or while another is trained: means of its outputs over batches of its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from netc.frontend.message import Message
from netc.runtime.compiler import OnKernel, compile_imported, import_message, with_shapes
from netc.runtime.load_params import bind_weights
from netc.runtime.memory import Array
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamStore, own_params, param_entries
from netc.runtime.solver.feed import Feed
from netc.runtime.solver.losses import Objective
from netc.runtime.solver.reports import Outputs
from netc.runtime.solver.train_net import TrainNet, Weights

OnBatch = Callable[[int, float, Outputs], bool]
"""The number of a batch, its loss and its outputs; False ends the test."""


class TestNet:
    """A net with its data. Layers that the trained net has too use that net's parameters themselves."""

    def __init__(
        self,
        message: Message,
        options: CompileOptions,
        *,
        weights: Weights | None,
        seed: int,
        root: Path,
        trained: TrainNet | None = None,
        on_kernel: OnKernel | None = None,
    ) -> None:
        self.message = message
        self.feed = Feed(message, phase=options.phase, seed=seed, root=root)
        self.options = options = with_shapes(options, self.feed.shapes)
        self._objective = Objective(import_message(message, options))
        self.net = net = self._objective.net
        self.store, warnings = _params(
            net_params=weights or {}, trained=trained, objective=self._objective, seed=seed
        )
        compiled = compile_imported(net, options, on_kernel=on_kernel)
        self.module = Module(message, compiled, self.store, warnings)
        self.module.seed(seed)
        self._inputs = {value.name: value for value in net.inputs}

    @property
    def name(self) -> str:
        """The net's name."""
        return self.module.name

    @property
    def params(self) -> dict[str, list[Array]]:
        """Layer name -> its parameters: those of the trained net where it has the layer."""
        return self.module.params

    def forward(self) -> dict[str, Array]:
        """The outputs for the next batch."""
        self.parameters_changed()
        return self.module.run(**self.feed.next(self._inputs))

    def test(self, batches: int, on_batch: OnBatch | None = None) -> tuple[float, Outputs] | None:
        """The mean loss and the mean outputs over some batches; None if ``on_batch`` ended it."""
        self.parameters_changed()
        loss = np.float32(0)
        sums: dict[str, Array] = {}
        weights: Mapping[str, float] = {}
        for index in range(batches):
            self.module.run(**self.feed.next(self._inputs))
            results = {name: self.module.blob(name) for name in self.module.compiled.blobs}
            outputs = self._objective.outputs(results)
            own = self._objective.loss(results)
            loss += np.float32(own)
            weights = outputs.weights
            for name, array in outputs.arrays.items():
                sums[name] = sums[name] + array if name in sums else array.astype(np.float32)
            if on_batch is not None and not on_batch(index, own, outputs):
                return None
        means = {name: np.asarray(total / np.float32(batches)) for name, total in sums.items()}
        return float(loss / np.float32(batches)) if batches else 0.0, Outputs(means, weights)

    def parameters_changed(self) -> None:
        """What kernels read of the parameters has to be made anew: training has changed them in place."""
        for name in self.store.versions:
            self.store.versions[name] += 1


def _params(
    *, net_params: Weights, trained: TrainNet | None, objective: Objective, seed: int
) -> tuple[ParamStore, tuple[str, ...]]:
    """The parameters of a test net: arrays of the trained net, then weights, then fillers."""
    net = objective.net
    theirs = {} if trained is None else {layer: list(arrays) for layer, arrays in _by_layer(trained).items()}
    arrays, report = bind_weights(net, {**net_params, **theirs}, seed)
    shared = {info.value.name for info in net.params if info.layer in theirs and info.learnable}
    own = own_params({name: array for name, array in arrays.items() if name not in shared})
    warnings = report.warnings if trained is None else ()
    # what a layer takes may be part of what it owns: arrays are known by their memory
    known = {} if trained is None else {p.memory.ctypes.data: p for p in trained.store.lasting.values()}
    lasting = {name: known[arrays[name].ctypes.data].shaped(arrays[name].shape) for name in shared}
    return ParamStore(param_entries(net), own, lasting), warnings


def _by_layer(trained: TrainNet) -> dict[str, list[Array]]:
    """The trained net's parameters themselves, each in the shape that its layer gives it."""
    owners: dict[str, int] = {}
    found: dict[str, list[Array]] = {}
    for info in trained.net.params:
        if info.learnable and owners.setdefault(info.layer, info.owner) == info.owner:
            array = trained.store.last(info.value.name).memory.reshape(info.shape)
            found.setdefault(info.layer, []).append(array)
    return found
