"""The net that a solver trains: the compiled step with its data, its parameters and what lasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from netc.frontend.message import Message
from netc.passes.update_params import GRADIENT_NORM, UpdateRule
from netc.runtime.api import filled_params
from netc.runtime.compiler import OnKernel, import_message, with_shapes
from netc.runtime.memory import Array
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamStore
from netc.runtime.solver.detailed_step import DetailedStep, Details
from netc.runtime.solver.feed import Feed
from netc.runtime.solver.losses import Objective
from netc.runtime.solver.reports import Clipping
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
        memory_limit: int | None = None,
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
        self.step = TrainingStep(
            self.net, self.options, self.store, rule, memory_limit=memory_limit, on_kernel=on_kernel
        )
        self.results: dict[str, Array] = {}
        self.details: Details | None = None
        self._seed = seed
        seed_states(self.step.states, seed)
        self._separate: TrainingStep | None = None
        self._detailed: tuple[TrainingStep, DetailedStep] | None = None
        self._memory_limit = memory_limit
        self._last: _Iteration | None = None
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

    @property
    def gradients(self) -> dict[str, list[Array | None]]:
        """Layer name -> the gradients of its parameters, summed over the batches of an iteration.

        None for what does not learn. They are complete when :meth:`iterate` calls ``on_gradients``.
        """
        sums = self.gradient_sums
        found: dict[str, list[Array | None]] = {}
        for info in self.net.params:
            if info.learnable:
                total = sums.get(info.value.name)
                own = None if total is None else total.reshape(info.shape)
                found.setdefault(info.layer, []).append(own)
        return found

    @property
    def gradient_sums(self) -> Mapping[str, Array]:
        """The memory of :attr:`gradients` by the names of the parameters' values."""
        return self._separate_step().gradients

    def prepare_gradients(self) -> None:
        """Make now what shows gradients before the update; a limit of memory may leave no room for it."""
        self._separate_step()

    def iterate(
        self,
        rate: float,
        iteration: int,
        *,
        detailed: bool = False,
        remember: bool = False,
        on_gradients: Callable[[], object] | None = None,
    ) -> float:
        """One update, on the next batches; the loss.

        ``detailed`` computes :attr:`details` too, which takes longer; with ``remember``, :meth:`look_closer`
        can do that afterwards. ``on_gradients`` is called between :attr:`gradients` and update, which are
        two programs then; the update takes what it makes of them.
        """
        batches = [self.feed.next(self._inputs) for _ in range(self._rule.iter_size)]
        self.details = None
        self._last = _Iteration(rate, iteration, batches, self._content()) if remember else None
        step = self.step if on_gradients is None else self._separate_step()
        if detailed:

            def show(details: Details) -> None:
                self.details = details
                if on_gradients is not None:
                    on_gradients()

            ready = None if on_gradients is None else show
            found, self.details = self._detailed_step(step).run(batches, rate, iteration, ready)
        else:
            call = on_gradients
            found = step.run(
                batches,
                rate,
                iteration,
                None if call is None else lambda _: call(),
                partial(self.feed.peek, self._inputs),
            )
        self.results = found[-1]
        total = np.float32(0)
        for results in found:
            total += np.float32(self.objective.loss(results))
        return float(total / np.float32(self._rule.iter_size))

    @property
    def clipping(self) -> Clipping | None:
        """How the gradients of the last iteration were scaled down; None if they were not."""
        limit, norm = self._rule.clip_gradients, self.results.get(GRADIENT_NORM)
        if limit is None or norm is None or not norm > np.float32(limit):
            return None
        return Clipping(float(norm), limit)

    def seek(self, batches: int) -> None:
        """Go on with the data, and the random numbers, that follow so many batches."""
        self.feed.seek(batches)
        seed_states(self.step.states, self._seed, batches)

    def evaluate(self) -> float:
        """The loss on the next batch; nothing is learned, and nothing that lasts changes."""
        before = self._content()
        batch = self.feed.next(self._inputs)
        try:
            self.results = self.step.run([batch] * self._rule.iter_size, 0.0, 0)[0]
        finally:
            self._set_content(before)
        return self.objective.loss(self.results)

    def look_closer(self) -> Details | None:
        """The details of the last iteration: repeated if need be; None if it cannot be."""
        if self.details is None and self._last is not None:
            last, now = self._last, self._content()
            self._set_content(last.before)
            try:
                _, self.details = self._detailed_step(self.step).run(last.batches, last.rate, last.iteration)
            finally:
                self._set_content(now)
        return self.details

    def _separate_step(self) -> TrainingStep:
        """A step whose gradients are there before the update."""
        if self.step.has_gradients:
            return self.step
        if self._separate is None:
            self._separate = TrainingStep(
                self.net,
                self.options,
                self.store,
                self._rule,
                separate_update=True,
                memory_limit=self._memory_limit,
                like=self.step,
            )
        return self._separate

    def _detailed_step(self, like: TrainingStep) -> DetailedStep:
        if self._detailed is None or self._detailed[0] is not like:
            self._detailed = like, DetailedStep(self.message, self.options, like)
        return self._detailed[1]

    def _lasting(self) -> list[Array]:
        """Everything that an iteration changes."""
        histories = (array for arrays in self.step.history.values() for array in arrays)
        return [*self.store.arrays.values(), *self.step.states.values(), *histories]

    def _content(self) -> list[Array]:
        return [array.copy() for array in self._lasting()]

    def _set_content(self, content: Sequence[Array]) -> None:
        for array, copy in zip(self._lasting(), content, strict=True):
            array[...] = copy


@dataclass(frozen=True, slots=True)
class _Iteration:
    """What it takes to repeat an iteration: ``before`` is what lasted when it began."""

    rate: float
    iteration: int
    batches: Sequence[Mapping[str, Array]]
    before: Sequence[Array]


def seed_states(states: Mapping[str, Array], seed: int, step: int = 0) -> None:
    """Begin the random numbers among the states, (seed, step), at a step."""
    for array in states.values():
        if array.dtype == np.int64:
            array[...] = (seed, step)
