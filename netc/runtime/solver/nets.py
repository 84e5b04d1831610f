"""The nets of a solver: the one that learns, and those that test it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from netc.frontend.python_layers.layers import PythonLayers
from netc.frontend.solver_file import SolverFile, SolverNet
from netc.runtime.compiler import OnKernel
from netc.runtime.memory import Memory, show_bytes
from netc.runtime.options import CompileOptions
from netc.runtime.solver.feed import Feed, GiveInputs
from netc.runtime.solver.test_net import TestNet
from netc.runtime.solver.train_net import TrainNet, Weights
from netc.runtime.solver.update_rule import update_rule


class SolverNets:
    """``train`` learns; each of ``tests`` measures it over its number of ``test_batches``.

    ``notes`` are texts for the user.
    """

    def __init__(
        self,
        file: SolverFile,
        options: CompileOptions,
        *,
        weights: Weights | None,
        seed: int,
        root: Path,
        memory_limit: int | None,
        inputs: GiveInputs | None,
        on_kernel: OnKernel | None,
        allow_python_layers: bool,
    ) -> None:
        def settings(net: SolverNet) -> dict[str, Any]:
            phase: Literal["TRAIN", "TEST"] = "TRAIN" if net.phase == "TRAIN" else "TEST"
            python_layers = PythonLayers(allowed=allow_python_layers)
            return {
                "options": replace(options, phase=phase, python_layers=python_layers),
                "weights": weights,
                "seed": seed,
                "root": root,
                "on_kernel": on_kernel,
            }

        rule = update_rule(file.param)
        self.train = TrainNet(
            file.train.message, rule=rule, memory_limit=memory_limit, **settings(file.train)
        )
        self.tests = [TestNet(net.message, trained=self.train, **settings(net)) for net in file.tests]
        self.test_batches = [net.iterations for net in file.tests]
        self.notes = [*self.train.warnings, f"note: {_show_memory(self.train.step.memory)}"]
        if self.train.step.recomputation is not None:
            self.notes.append(f"note: {self.train.step.recomputation}")
        if inputs is not None:
            for feed in self._feeds:
                feed.give(inputs)

    def reseed(self, seed: int) -> None:
        """Draw the order of the data, and what is random in their preparation, anew."""
        for feed in self._feeds:
            feed.reseed(seed)

    def close(self) -> None:
        """End the threads that read data; a later batch starts new ones."""
        for feed in self._feeds:
            feed.close()

    @property
    def _feeds(self) -> list[Feed]:
        return [self.train.feed, *(net.feed for net in self.tests)]


def _show_memory(memory: Memory) -> str:
    """The most that a step takes, in a line."""
    lasting = show_bytes(memory.params + memory.prepared)
    return (
        f"a training step takes {show_bytes(memory.total)}: {lasting} for parameters, their history and "
        f"other states, {show_bytes(memory.activations + memory.scratch)} for activations at their peak, "
        f"{show_bytes(memory.inputs_outputs)} for inputs and outputs"
    )
