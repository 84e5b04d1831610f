"""An iteration that tells everything: every blob, every gradient, and what each parameter lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from netc.frontend.imported_net import ImportedNet
from netc.frontend.message import Message
from netc.passes.differentiate import STOP, gradient_name
from netc.passes.update_params import step_name
from netc.runtime.compiler import import_message
from netc.runtime.memory import Array
from netc.runtime.options import CompileOptions
from netc.runtime.shapes import tensor_of
from netc.runtime.solver.losses import Objective
from netc.runtime.training import trained_params
from netc.runtime.training_step import TrainingStep


@dataclass(frozen=True, slots=True)
class Details:
    """Of the last batch of an iteration: blobs and their gradients by name; of layers in place the last.

    ``steps`` is what each parameter, by the name of its value, lost by the update.
    """

    blobs: Mapping[str, Array]
    gradients: Mapping[str, Array]
    steps: Mapping[str, Array]


class DetailedStep:
    """Does the same as another step, on the same memory; slower, as nothing can be left out."""

    def __init__(self, message: Message, options: CompileOptions, like: TrainingStep) -> None:
        plain = like.net
        inputs = {value.name for value in plain.module.func("main").args}
        made = tuple(name for name, value in plain.blobs.items() if value.name not in inputs)
        kept = replace(options, keep=made)
        self._net = Objective(import_message(message, kept)).net
        self._gradients = _with_gradient(self._net)
        self._step = TrainingStep(
            self._net,
            kept,
            like.params,
            like.rule,
            blob_gradients=self._gradients,
            keep_steps=True,
            separate_update=like.has_gradients,
            like=like,
        )

    def run(
        self,
        batches: Sequence[Mapping[str, Array]],
        rate: float,
        iteration: int,
        before_update: Callable[[Details], object] | None = None,
    ) -> tuple[list[dict[str, Array]], Details]:
        """One iteration; the results of each batch, and the details of the last.

        ``before_update``, where the update is separate, gets the details but for the steps.
        """

        def ready(found: Sequence[Mapping[str, Array]]) -> None:
            if before_update is not None:
                before_update(self._details(batches[-1], found[-1]))

        found = self._step.run(batches, rate, iteration, None if before_update is None else ready)
        return found, self._details(batches[-1], found[-1])

    def _details(self, batch: Mapping[str, Array], results: Mapping[str, Array]) -> Details:
        values = {name: value.name for name, value in self._net.blobs.items()}
        blobs = {name: results[name] for name in values if name in results}
        blobs.update({name: batch[value] for name, value in values.items() if value in batch})
        gradients = {name: results[gradient_name(values[name])] for name in self._gradients}
        names = self._step.params.versions
        steps = {name: results[step_name(name)] for name in names if step_name(name) in results}
        return Details(blobs, gradients, steps)


def _with_gradient(net: ImportedNet) -> tuple[str, ...]:
    """The blobs that a gradient flows through: what depends on a trained parameter, and is no integer."""
    trained = {param.name for param in trained_params(net)}
    moved = set(trained)
    for op in net.module.func("main").ops:
        if op.name != STOP and any(value.name in moved for value in op.operands):
            moved.update(result.name for result in op.results)
    return tuple(
        name
        for name, value in net.blobs.items()
        if value.name in moved - trained and tensor_of(value.type).dtype.startswith("f")
    )
