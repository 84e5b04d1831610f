"""The net that a solver trains: the compiled step with its data, its parameters and what lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netc.frontend.message import Message
from netc.passes.update_params import UpdateRule
from netc.runtime.api import filled_params
from netc.runtime.compiler import OnKernel, import_message, with_shapes
from netc.runtime.memory import Array
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamStore
from netc.runtime.solver.feed import Feed
from netc.runtime.solver.losses import Objective
from netc.runtime.training_step import TrainingStep

Weights = Mapping[str, Sequence[Any]]


class TrainNet:
    """A net with a compiled training step. ``store`` holds its parameters, ``results`` the last batch's."""

    def __init__(
        self,
        message: Message,
        options: CompileOptions,
        rule: UpdateRule,
        *,
        weights: Weights | None,
        seed: int,
        root: Path,
        on_kernel: OnKernel | None = None,
    ) -> None:
        self.message = message
        self.feed = Feed(message, phase=options.phase, seed=seed, root=root)
        self.options = with_shapes(options, self.feed.shapes)
        self.objective = Objective(import_message(message, self.options))
        self.net = self.objective.net
        self.store: ParamStore
        self.store, warnings = filled_params(self.net, weights, seed)
        self.warnings = self.net.warnings + warnings
        self.step = TrainingStep(self.net, self.options, self.store, rule, on_kernel=on_kernel)
        self.results: dict[str, Array] = {}
        seed_states(self.step.states, seed)
        self._rule = rule
        self._inputs = {value.name: value for value in self.net.inputs}

    @property
    def name(self) -> str:
        """The net's name."""
        return self.net.module.name

    @property
    def params(self) -> dict[str, list[Array]]:
        """Layer name -> its parameters. Edit the arrays in place: the next iteration sees it."""
        return self.store.by_layer()

    def iterate(self, rate: float, iteration: int) -> float:
        """One update, on the next batches; the loss."""
        batches = [self.feed.next(self._inputs) for _ in range(self._rule.iter_size)]
        found = self.step.run(batches, rate, iteration)
        self.results = found[-1]
        total = np.float32(0)
        for results in found:
            total += np.float32(self.objective.loss(results))
        return float(total / np.float32(self._rule.iter_size))

    def evaluate(self) -> float:
        """The loss on the next batch; nothing is learned, and nothing that lasts changes."""
        lasting = [*self.store.arrays.values(), *self.step.states.values()]
        lasting += [array for arrays in self.step.history.values() for array in arrays]
        before = [array.copy() for array in lasting]
        batch = self.feed.next(self._inputs)
        try:
            self.results = self.step.run([batch] * self._rule.iter_size, 0.0, 0)[0]
        finally:
            for array, content in zip(lasting, before, strict=True):
                array[...] = content
        return self.objective.loss(self.results)


def seed_states(states: Mapping[str, Array], seed: int) -> None:
    """Begin the random numbers among the states: (seed, step)."""
    for array in states.values():
        if array.dtype == np.int64:
            array[...] = (seed, 0)
