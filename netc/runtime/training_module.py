"""A compiled net that can be run forward and backward."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.ir.dim import evaluate
from netc.passes.differentiate import GRADIENT, gradient_name
from netc.runtime.compiler import Compiled, OnKernel, compile_imported, import_message
from netc.runtime.counted_rows import filled_up
from netc.runtime.lower_net import OnStage
from netc.runtime.memory import Array
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamStore
from netc.runtime.precision import check_differentiable
from netc.runtime.runner import Runner, make_runner
from netc.runtime.shapes import Binding, as_array, show_shape, tensor_of
from netc.runtime.training import differentiable_module, forward_results, loss_weights


class TrainingModule(Module):
    """A module with gradients. Made by :func:`netc.compile` with ``training=True``.

    :meth:`backward` follows :meth:`forward`. Parameters with lr_mult 0 have no gradient. The arrays of
    :attr:`params` that have one are what kernels read: an edit costs nothing and is seen by the next run.
    """

    def __init__(
        self, message: Message, compiled: Compiled, params: ParamStore, warnings: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, compiled, params, warnings)
        self._gradients: dict[str, Array] = {}
        self._early: dict[str, Array] = {}  # gradients that depend on no gradient: zeros, mostly
        self._backward_of: tuple[Compiled, Runner, Binding] | None = None

    def run(self, /, **inputs: Any) -> dict[str, Array]:
        """The net's outputs for its inputs; what :meth:`backward` needs is kept."""
        with self._lock:
            specialised, binding, arrays = self._specialise(inputs)
            results = specialised.runner.forward(binding, arrays)
            self._backward_of = specialised.compiled, specialised.runner, binding
            main = specialised.compiled.main
            direct = zip(main.result_names, main.results, strict=True)
            results.update({name: arrays[v.name] for name, v in direct if v.name in arrays})
            self._early = {n: a for n, a in results.items() if n.endswith(GRADIENT)}
            return self._take_over(specialised, binding, results)

    forward = run

    def backward(self, /, **output_gradients: Any) -> dict[str, Array]:
        """The gradient for each input of the net, after :meth:`forward`.

        ``output_gradients`` are arrays in the shapes of the outputs, by name. What is not given is the loss
        weight for an objective, and 0 for any other output. The gradients of the parameters are then
        :attr:`param_grads`.
        """
        with self._lock:
            if self._backward_of is None:
                raise NetcError("backward goes back over a forward pass, once", remedy="call forward first")
            compiled, runner, binding = self._backward_of
            seeds = _seeds(compiled, output_gradients, binding)
            self._backward_of = None  # the gradients lie where what they were computed from was
            self._gradients = self._early | runner.backward(binding, seeds)
            grads = ((v.name, self._gradients.get(gradient_name(v.name))) for v in compiled.inputs)
            return {name: gradient for name, gradient in grads if gradient is not None}

    @property
    def param_grads(self) -> dict[str, list[Array | None]]:
        """Layer name -> the gradients of its parameters by the last :meth:`backward`; None where none is due.

        Layers that share a parameter share its gradient, the sum over all of them.
        """
        with self._lock:
            if not self._gradients:
                raise NetcError("there are no gradients yet", remedy="call forward, then backward")
            found: dict[str, list[Array | None]] = {}
            for info in self.compiled.net.params:
                if info.learnable:
                    gradient = self._gradients.get(gradient_name(info.value.name))
                    own = None if gradient is None else gradient.reshape(info.shape)
                    found.setdefault(info.layer, []).append(own)
            return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Not for this kind of module."""
        del path
        raise NetcError(
            "a module compiled for training is not saved",
            remedy="write its parameters with netc.write_weights, or compile it without training=True",
        )

    def _compile(self, options: CompileOptions) -> Compiled:
        return compile_differentiable(self._message, options)

    def _make_runner(self, compiled: Compiled) -> Runner:
        return make_runner(compiled, self._params, self._prepared, self._params.lasting)


def compile_differentiable(
    message: Message,
    options: CompileOptions,
    *,
    on_stage: OnStage | None = None,
    on_kernel: OnKernel | None = None,
) -> Compiled:
    """Compile a net whose layers were selected already, with its backward pass."""
    check_differentiable(options)
    net = import_message(message, options)
    module, late = differentiable_module(net)
    return compile_imported(
        net,
        options,
        module=module,
        late=late,
        forward=forward_results(net, carried=False),
        on_stage=on_stage,
        on_kernel=on_kernel,
    )


def _seeds(compiled: Compiled, given: Mapping[str, Any], binding: Binding) -> dict[str, Array]:
    """The late inputs of a backward pass."""
    for name in given:
        if name not in compiled.late:
            raise NetcError(
                f"no gradient can be given for '{name}'",
                remedy=f"the net goes back from {', '.join(compiled.late) or 'no output'}",
            )
    sizes = dict(binding)
    types = {v.name: tensor_of(v.type) for v in compiled.main.inputs}
    weights = loss_weights(compiled.net)
    found: dict[str, Array] = {}
    for blob, late in compiled.late.items():
        shape = tuple(evaluate(d, sizes) for d in types[late].shape)
        if blob not in given:
            continue
        gradient = as_array(blob, given[blob])
        rows = compiled.net.counted.get(blob)
        if rows is not None:
            gradient = filled_up(gradient, rows.axis, shape)
        if gradient.shape != shape:
            raise NetcError(
                f"the gradient of '{blob}' has the shape {show_shape(gradient.shape)}; "
                f"expected {show_shape(shape)}"
            )
        # blobs that are one value have one gradient, the sum
        found[late] = found[late] + gradient if late in found else gradient
    for blob, late in compiled.late.items():
        if late not in found:
            shape = tuple(evaluate(d, sizes) for d in types[late].shape)
            found[late] = np.full(shape, weights.get(compiled.net.blobs[blob].name, 0.0), np.float32)
    return found
