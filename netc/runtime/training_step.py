"""One compiled iteration of training: forward, backward and update in place."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from netc.frontend.imported_net import ImportedNet
from netc.ir.core import Module, Value
from netc.ir.diagnostics import NetcError
from netc.ir.opdef import numpy_dtype
from netc.passes.accumulate_gradients import sum_name
from netc.passes.update_params import RATE, UpdateRule, history_name
from netc.runtime.compiler import Compiled, OnKernel, compile_imported
from netc.runtime.cuda_runner import CudaRunner, Following
from netc.runtime.device_copies import DeviceCopies
from netc.runtime.lasting import LastingArray
from netc.runtime.lower_net import OnStage
from netc.runtime.memory import Array, Memory, aligned_zeros
from netc.runtime.memory_limit import Recomputation, fit_memory
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamStore, PreparedCache
from netc.runtime.runner import Runner, make_runner
from netc.runtime.shapes import as_arrays, bind_shapes, show_shape, shown_shape, tensor_of
from netc.runtime.training import forward_results, step_module, trained_params, update_module

BeforeUpdate = Callable[[Sequence[Mapping[str, Array]]], object]
"""Gets the results of each batch when all gradients are there."""


class TrainingStep:
    """A net compiled for training by a solver's rule.

    ``params`` are the parameters, which :meth:`run` changes in place: edits by others are seen by the next
    run. What lasts besides is :attr:`history` and :attr:`states`: hidden states, (seed, step) of the random
    numbers. With ``memory_limit``, in bytes, activations are computed again in the backward pass as far as is
    needed to fit; ``recomputation`` says what that comes to. A step that is made ``like`` another shares its
    parameters, history and states, for the same net and rule: either may do the next iteration. Gradients and
    update are one program, unless gradients of several batches are added up; with a ``separate_update`` they
    never are. Not safe for several threads at once.
    """

    def __init__(
        self,
        net: ImportedNet,
        options: CompileOptions,
        params: ParamStore,
        rule: UpdateRule,
        *,
        blob_gradients: Iterable[str] = (),
        keep_steps: bool = False,
        separate_update: bool = False,
        memory_limit: int | None = None,
        like: TrainingStep | None = None,
        on_stage: OnStage | None = None,
        on_kernel: OnKernel | None = None,
    ) -> None:
        self.net = net
        self.params = params
        self.rule = rule
        values = {blob: net.blobs[blob].name for blob in blob_gradients}
        step = step_module(
            net,
            rule,
            blob_gradients=tuple(values.values()),
            keep_steps=keep_steps,
            separate_update=separate_update,
        )
        trained = trained_params(net)
        self._history: dict[str, list[LastingArray]] = {}
        self._states: dict[str, LastingArray] = {}
        self._sums: dict[str, LastingArray] = {}
        self._copies = DeviceCopies()
        arrays = {p.name: params.last(p.name).memory for p in trained}
        if like is not None:
            self._history, self._states, self._copies = like._history, like._states, like._copies
        else:
            for name, array in arrays.items():
                self._history[name] = [_like(array, "history") for _ in range(rule.histories)]
            self._states.update({s.value.name: _initial(s.value) for s in net.carried})
        if rule.iter_size > 1 or separate_update:
            shared = {} if like is None else like._sums
            self._sums = shared or {n: _like(a, "gradient") for n, a in arrays.items()}
        self._memory = self._state_memory()
        cache = PreparedCache()

        def compiled(module: Module, **how: Any) -> tuple[Compiled, Runner]:
            found = compile_imported(
                net, options, module=module, on_stage=on_stage, on_kernel=on_kernel, **how
            )
            return found, make_runner(found, params, cache, self._memory, self._copies)

        self._update: Runner | None = None
        if self._sums:
            _, self._update = compiled(update_module(net, rule, keep_steps=keep_steps))
        self.recomputation: Recomputation | None = None
        segments, forward = 1, forward_results(net)
        fixed = sum(array.memory.nbytes for array in self._memory.values())
        while True:
            if memory_limit is not None:
                self.recomputation = fit_memory(step, options, forward, limit=memory_limit, fixed=fixed)
                segments = self.recomputation.segments
            self.compiled, self._runner = compiled(step, forward=forward, segments=segments)
            if memory_limit is None or self.memory.total <= memory_limit:
                break
            fixed += self.memory.total - memory_limit  # what only the compiled kernels tell that they need

    @property
    def history(self) -> dict[str, list[Array]]:
        """The solver's arrays by parameter value name, in its order; to be changed until the next run."""
        return {name: [array.look() for array in arrays] for name, arrays in self._history.items()}

    @property
    def states(self) -> dict[str, Array]:
        """What else lasts from run to run, by argument name; to be changed until the next run."""
        return {name: array.look() for name, array in self._states.items()}

    @property
    def gradients(self) -> dict[str, Array]:
        """The sums of the gradients by parameter value name, where they are not gone with the update."""
        return {name: array.look() for name, array in self._sums.items()}

    @property
    def has_gradients(self) -> bool:
        """Whether there are :attr:`gradients`."""
        return bool(self._sums)

    @property
    def memory(self) -> Memory:
        """Bytes that an iteration takes; all that lasts (histories, sums, states) counts as parameters."""
        parts = [runner.memory(()) for runner in (self._runner, self._update) if runner is not None]
        return Memory(
            activations=sum(part.activations for part in parts),
            scratch=max(part.scratch for part in parts),
            unshared=sum(part.unshared for part in parts),
            params=sum(array.memory.nbytes for array in self._memory.values()),
            prepared=sum(part.prepared for part in parts),
            inputs_outputs=sum(part.inputs_outputs for part in parts),
        )

    def run(
        self,
        batches: Sequence[Mapping[str, Any]],
        rate: float,
        iteration: int,
        before_update: BeforeUpdate | None = None,
        following: Following | None = None,
    ) -> list[dict[str, Array]]:
        """One iteration, on ``iter_size`` batches: input name -> array; the results of each.

        ``following`` gives the first batch of the next iteration, if it is there: a GPU copies it during this
        one. It must not change until it is run.

        ``rate`` is the learning rate. ``iteration`` counts from 0; only Adam's correction depends on it.
        ``before_update``, for a step whose update is separate, gets the results when :attr:`gradients` are
        complete; what it makes of them is what the update takes.
        """
        if len(batches) != self.rule.iter_size:
            raise NetcError(f"an iteration takes {self.rule.iter_size} batches, got {len(batches)}")
        scaled = {RATE: np.asarray(self._corrected(rate, iteration), np.float32)}
        if self._update is None:  # one batch, or nothing to learn
            given = scaled if self._history else {}
            results = [self._run(batch, given, following) for batch in batches]
            if before_update is not None:
                before_update(results)
            return results
        for total in self._sums.values():
            total.clear()
        results = []
        for batch, after in itertools.zip_longest(batches, batches[1:]):
            results.append(self._run(batch, {}, following if after is None else partial(_same, after)))
        if before_update is not None:
            before_update(results)
        results[-1].update(self._update.run((), scaled))
        return results

    def _run(
        self, batch: Mapping[str, Any], more: Mapping[str, Array], following: Following | None
    ) -> dict[str, Array]:
        inputs = tuple(v for v in self.compiled.inputs if v.name != RATE)
        arrays = as_arrays(batch, inputs)
        if bind_shapes(arrays, inputs) != ():
            given = ", ".join(f"{n} {show_shape(a.shape)}" for n, a in arrays.items())
            want = ", ".join(f"{v.name} {show_shape(shown_shape(v))}" for v in inputs)
            raise NetcError(f"the net trains on {want}; got {given}")
        if isinstance(self._runner, CudaRunner):
            return self._runner.run((), {**arrays, **more}, following)
        return self._runner.run((), {**arrays, **more})

    def _corrected(self, rate: float, iteration: int) -> float:
        if self.rule.kind != "Adam":
            return rate
        t = iteration + 1
        bias = 1.0 - self.rule.momentum**t
        return rate * float(np.sqrt(1.0 - self.rule.momentum2**t)) / bias

    def _state_memory(self) -> dict[str, LastingArray]:
        """Every state by the name of its argument."""
        sums = {sum_name(name): array for name, array in self._sums.items()}
        memory = {**self.params.lasting, **self._states, **sums}
        for name, arrays in self._history.items():
            memory.update({history_name(name, i): array for i, array in enumerate(arrays)})
        return memory


def _same(batch: Mapping[str, Any]) -> Mapping[str, Any]:
    return batch


def _like(array: Array, what: str) -> LastingArray:
    return LastingArray(aligned_zeros(array.shape, array.dtype, what=f"the {what} of a parameter"))


def _initial(value: Value) -> LastingArray:
    type_ = tensor_of(value.type)
    zeros = aligned_zeros(type_.static_shape, numpy_dtype(type_.dtype), what=f"the state '{value.name}'")
    return LastingArray(zeros)
