"""The nets of a solver: its parameters, its data, and blobs that show what the last step did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.pycaffe.blob import Storage
from netc.pycaffe.layer_callbacks import OnLayer
from netc.pycaffe.net import Net
from netc.pycaffe.parameters import ParamSlot
from netc.pycaffe.segment import is_source
from netc.runtime.data.open_source import SOURCES
from netc.runtime.memory import Array
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamStore
from netc.runtime.solver.detailed_step import Details
from netc.runtime.solver.feed import Feed
from netc.runtime.solver.solver import Solver
from netc.runtime.solver.test_net import TestNet
from netc.runtime.solver.train_net import TrainNet


class FeedSource:
    """Fills the tops of all data layers with the next batch."""

    def __init__(self, feed: Feed, storages: Mapping[str, Storage]) -> None:
        self._feed = feed
        self._storages = storages

    def fill(self) -> None:
        """Write the batch."""
        wanted = {name: None for name in self._feed.shapes if name in self._storages}
        for name, array in self._feed.next(wanted).items():
            self._storages[name].write(array)


class SolverNet(Net):
    """A net of a solver. Its parameters are the solver's, ``forward`` takes the next batch of its data."""

    def __init__(self, net: TrainNet | TestNet, options: CompileOptions) -> None:
        shapes = tuple(sorted(net.feed.shapes.items()))
        self._set_up(net.message, replace(options, input_shapes=shapes), None)
        self._store: ParamStore = net.store
        values = {(info.owner, info.index): info.value.name for info in net.net.params}
        for key, (slot, _) in self._parameters.slots.items():
            slot.move(ParamSlot(net.store, values[key]))
        self._engine.set_params(self._parameters.slots)
        self._feed = net.feed
        self._take_data(net.feed)
        net.feed.give(self._given)

    def set_input_arrays(self, data: Array, labels: Array) -> None:
        """The data set of the net's MemoryData layers: each pass and each step takes the next batch of it."""
        if not self._feed.set_arrays(np.asarray(data), np.asarray(labels)):
            raise NetcError("set_input_arrays is for nets with a MemoryData layer")

    def _add_callback(self, when: str, run: OnLayer) -> None:
        del run
        raise NetcError(
            f"{when} cannot be called in the net of a solver, whose step is one program",
            remedy="solver.add_callback(on_start, on_gradients_ready) is called within every step",
        )

    def parameters_changed(self) -> None:
        """What kernels read of the parameters has to be made anew."""
        for name in self._store.versions:
            self._store.versions[name] += 1

    def _forward(self, first: int, last: int, wanted: object = ()) -> None:
        self.parameters_changed()
        super()._forward(first, last, wanted)  # type: ignore[arg-type]

    def _backward(self, first: int, last: int) -> None:
        self.parameters_changed()
        super()._backward(first, last)

    def _take_data(self, feed: Feed) -> None:
        for position, layer in enumerate(self._layer_messages):
            if layer.text("type") in SOURCES:
                self._sources[position] = FeedSource(feed, self._storages)
                return

    def _given(self) -> dict[str, Array]:
        """What the caller wrote into the blobs that he fills, or layers that draw their data."""
        by_caller = (m for m in self._layer_messages if is_source(m) and m.text("type") not in SOURCES)
        tops = (top for layer in by_caller for top in layer.texts("top") if top in self._storages)
        return {top: self._storages[top].data.copy() for top in tops}


class TrainingNet(SolverNet):
    """The net that a solver trains. After a step its blobs and their ``diff`` are those of its last batch.

    ``diff`` of a parameter is what the update took from it. All that is computed when somebody looks for the
    first time, by repeating the last iteration; from then on in every iteration, which takes longer.
    """

    def __init__(self, solver: Solver, options: CompileOptions) -> None:
        self._solver = solver
        self._behind = False
        super().__init__(solver.net, options)
        # a Python layer may do something else when the iteration is repeated
        solver.detailed = bool(solver.net.net.code)
        solver.remember = not solver.detailed

    def stepped(self) -> None:
        """Show the outputs of the step; the other blobs follow when somebody looks."""
        self._engine.forget_pass()
        self._behind = True
        for name in self._outputs:
            array = self._solver.net.results.get(name)
            if array is not None:
                self._storages[name].write(array)
        if self._solver.detailed:
            self._catch_up()

    def watch_gradients(self) -> None:
        """Have the gradients of parameters in the very memory that an update reads."""
        self._solver.detailed = True
        sums = self._solver.net.gradient_sums
        for blob in (blob for blobs in self._params.values() for blob in blobs):
            if blob.slot.name in sums:
                blob.share_diff(sums[blob.slot.name])

    def gradients_ready(self) -> None:
        """Show everything of an iteration but its update, which is to come."""
        self._behind = False
        if self._solver.net.details is not None:
            self._show(self._solver.net.details)

    def _forward(self, first: int, last: int, wanted: object = ()) -> None:
        self._catch_up_if_part(first)
        super()._forward(first, last, wanted)

    def _backward(self, first: int, last: int) -> None:
        if self._behind:
            self._catch_up()
        super()._backward(first, last)

    def _catch_up_if_part(self, first: int) -> None:
        """A pass that begins in the middle of the net reads blobs of the step."""
        if self._behind and first > 0:
            self._catch_up()
        self._behind = False

    def _before_read(self, blob: str) -> Callable[[], None]:
        before = super()._before_read(blob)

        def catch_up() -> None:
            if self._behind and blob not in self._outputs:
                self._catch_up()
            before()

        return catch_up

    def _before_diff(self) -> Callable[[], None]:
        def catch_up() -> None:
            if self._behind:
                self._catch_up()

        return catch_up

    def _catch_up(self) -> None:
        self._behind = False
        self._solver.detailed = True
        details = self._solver.net.look_closer()
        if details is not None:
            self._show(details)

    def _show(self, details: Details) -> None:
        for name, array in details.blobs.items():
            if name in self._storages:
                self._storages[name].write(array)
        for name, array in details.gradients.items():
            self._storages[name].diff[...] = array
        for blobs in self._params.values():
            for blob in blobs:
                step = details.steps.get(blob.slot.name)
                if step is not None:
                    blob.write_diff(step)
