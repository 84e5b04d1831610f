"""The class ``Net`` of Caffe's Python interface."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from netc.frontend.message import Message
from netc.frontend.net_file import load_net
from netc.frontend.python_layers.layers import PythonLayers
from netc.frontend.save_net import save_net
from netc.ir.diagnostics import NetcError
from netc.pycaffe.batches import forward_backward_in_batches, forward_in_batches
from netc.pycaffe.blob import Blob, ParamBlob, Storage, nothing
from netc.pycaffe.engine import Engine
from netc.pycaffe.given_arrays import write_inputs, write_output_diffs
from netc.pycaffe.gradients import Gradients
from netc.pycaffe.layer import Layer
from netc.pycaffe.layer_callbacks import LayerCallbacks, OnLayer
from netc.pycaffe.mode import TEST, TRAIN, target
from netc.pycaffe.net_params import NetParams
from netc.pycaffe.net_parts import NetParts
from netc.pycaffe.parameters import ParamSlot
from netc.pycaffe.segment import is_source
from netc.pycaffe.source_layers import MemoryData, make_source
from netc.runtime.compiler import import_message, unread_blobs
from netc.runtime.memory import Array
from netc.runtime.options import CompileOptions, Phase, as_input_shapes
from netc.runtime.precision import DEFAULT_PRECISION, Precision
from netc.runtime.ranges import read_ranges

Path = str | os.PathLike[str]
HDF5_SUFFIXES = (".h5", ".hdf5")
PHASES: Mapping[int, Phase] = {TRAIN: "TRAIN", TEST: "TEST"}


class Net(NetParts):
    """A net with the memory of all its blobs: ``Net("deploy.prototxt", caffe.TEST, weights="w.caffemodel")``.

    ``phase`` is ``TRAIN`` or ``TEST``; with ``level`` and ``stages`` it selects layers. The older order of
    arguments, ``Net("deploy.prototxt", "w.caffemodel", caffe.TEST)``, works too. ``input_shapes``, which the
    original does not have, states shapes of inputs by name: for data layers, and where the file has none.
    ``allow_python_layers`` runs the code that the net's Python layers name, which the original always does.
    ``precision`` is what products are computed in; ``int8`` needs ``ranges``, a file of ``netc calibrate``.
    """

    def __init__(
        self,
        network_file: Path,
        phase: int | Path,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: Path | None = None,
        *,
        input_shapes: Mapping[str, Sequence[int]] | None = None,
        allow_python_layers: bool = False,
        precision: Precision = DEFAULT_PRECISION,
        ranges: Path | None = None,
    ) -> None:
        if isinstance(phase, str | os.PathLike):
            weights, phase, level = phase, level, 0
        if phase not in PHASES:
            raise NetcError(f"the phase is TRAIN ({TRAIN}) or TEST ({TEST}), got {phase!r}")
        options = CompileOptions(
            target=target(),
            phase=PHASES[phase],
            level=level,
            stages=tuple(stages or ()),
            input_shapes=as_input_shapes(input_shapes),
            python_layers=PythonLayers(allowed=allow_python_layers),
            precision=precision,
            ranges=None if ranges is None else read_ranges(ranges),
        )
        message = load_net(network_file, phase=options.phase, level=level, stages=options.stages)
        self._phase = options.phase
        self._set_up(message, options, weights)

    def _set_up(self, message: Message, options: CompileOptions, weights: Path | None) -> None:
        """Make the blobs, the parameters and the layers of a net whose layers were selected already."""
        self._message = message
        net = import_message(self._message, options)
        self._layer_messages = self._message.messages("layer")
        self._layer_names = [layer.text("name") for layer in self._layer_messages]
        storages: OrderedDict[str, Storage] = OrderedDict()
        for layer in net.layers:
            for top, shape in zip(layer.tops, layer.top_shapes, strict=True):
                static = tuple(d for d in shape if isinstance(d, int))
                storages.setdefault(top, Storage(static)).resize(static)
        loss_weights = {term.value.name: term.weight for term in net.losses}
        for name, storage in storages.items():
            storage.loss_weight = loss_weights.get(net.blobs[name].name, 0.0)
        self._outputs = sorted(unread_blobs(net.layers))
        options = replace(options, input_shapes=())  # the blobs have them now
        brought = _only_sources(self._layer_messages)
        # what lasts from pass to pass (random numbers, hidden states) would move on in a repetition
        lasting = options.phase == "TRAIN" or bool(net.states)
        self._engine = Engine(self._message, options, storages, brought, self._outputs, keep_all=lasting)
        whole = self._engine.segment(0, len(self._layer_messages) - 1)
        self._gradients = Gradients(self._engine, storages)
        self._parameters = NetParams(whole, options, weights)
        self._engine.set_params(self._parameters.slots)
        self._sources = {
            i: source
            for i, layer in enumerate(self._layer_messages)
            if is_source(layer) and (source := make_source(layer, storages)) is not None
        }
        self._storages = storages
        self._callbacks = LayerCallbacks()
        self._went_by_layer = False
        self._blobs = OrderedDict(
            (name, Blob(storage, self._before_read(name), self._before_diff()))
            for name, storage in storages.items()
        )
        self.layers = self._make_layers()
        self._params = OrderedDict(
            (name, layer.blobs)
            for name, layer in zip(self._layer_names, self.layers, strict=True)
            if layer.blobs
        )

    # ---- forward

    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Array]:
        """Compute the layers from ``start`` to ``end`` (all of them), both included.

        Keyword arguments are arrays for all inputs; without them the content of the input blobs counts. The
        result are the data of the outputs (with ``end``: of its tops) and of ``blobs``: views, which the next
        pass writes into. Layers from ``start`` on read the blobs as they are, edited or not.
        """
        first = 0 if start is None else self._position(start)
        last = len(self.layers) - 1 if end is None else self._position(end)
        names = self._outputs if end is None else self._names("top")[end]
        wanted = dict.fromkeys([*names, *(blobs or ())])
        self._check_blobs(wanted)
        if kwargs:
            write_inputs(kwargs, self.inputs, self._blobs)
        self._forward(first, last, wanted)
        return {name: self._blobs[name].data for name in wanted}

    def forward_all(self, blobs: Iterable[str] | None = None, **kwargs: Any) -> dict[str, Array]:
        """Run the net over any number of rows, a batch at a time; the results have a row for each of them."""
        return forward_in_batches(self, tuple(blobs or ()), kwargs)

    def reshape(self) -> None:
        """Give all blobs the shapes that follow from those of the inputs; ``forward`` does it by itself."""
        self._engine.reshape(0, len(self.layers) - 1)

    def set_input_arrays(self, data: Array, labels: Array) -> None:
        """The data set of a net whose first layer is MemoryData: each pass takes the next batch of it."""
        source = self._sources.get(0)
        if not isinstance(source, MemoryData):
            raise NetcError(
                "set_input_arrays is for nets whose first layer is MemoryData",
                remedy="write into net.blobs[name].data, or pass arrays to forward",
            )
        source.set_arrays(np.asarray(data), np.asarray(labels))

    # ---- parameters

    def copy_from(self, path: Path) -> None:
        """Take the parameters of the layers that the file of weights has, by name; others stay."""
        self._engine.before_edit()
        self._parameters.load(path)

    def share_with(self, other: Net) -> None:
        """Use the parameters of another net from now on, in the layers of the same name."""
        self._engine.keep_all()
        other._engine.keep_all()
        for name, blobs in self._params.items():
            theirs = other._params.get(name, blobs)
            if [b.shape for b in theirs] != [b.shape for b in blobs]:
                raise NetcError("the other net's parameters have other shapes", layer=name)
            for mine, their in zip(blobs, theirs, strict=True):
                mine.slot.move(their.slot)
        self._gradients.forget()
        self._engine.set_params(self._parameters.slots)

    def save(self, path: Path) -> None:
        """Write the layers with their settings and parameters as a ``.caffemodel``.

        With the suffix ``.h5`` or ``.safetensors`` the parameters are written in that format.
        """
        blobs = [[blob.slot.array.reshape(blob.shape) for blob in layer.blobs] for layer in self.layers]
        save_net(path, self._message, self._phase, blobs)

    def save_hdf5(self, path: Path) -> None:
        """Write the parameters as HDF5: the suffix of the file must be ``.h5`` or ``.hdf5``."""
        _check_hdf5(path)
        self.save(path)

    def load_hdf5(self, path: Path) -> None:
        """The same as ``copy_from``, which knows the format of a file by its content."""
        self.copy_from(path)

    # ---- backward

    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Array]:
        """Compute the gradients of the layers from ``start``, the last, back to ``end``, the first, included.

        They begin with the ``diff`` of the blobs that no layer among them reads: keyword arguments are those
        of all outputs; a loss has its weight. Every blob of these layers gets its ``diff``; those of
        parameters add up until :meth:`clear_param_diffs`. The result are the ``diff`` of the inputs (with
        ``end``: of its bottoms) and of ``diffs``.
        """
        last = len(self.layers) - 1 if start is None else self._position(start)
        first = 0 if end is None else self._position(end)
        if first > last:
            raise NetcError(f"the way back leads from a later layer to an earlier; got {start} and {end}")
        names = self.inputs if end is None else self._names("bottom")[end]
        wanted = dict.fromkeys([*names, *(diffs or ())])
        self._check_blobs(wanted)
        if kwargs:
            write_output_diffs(kwargs, self._outputs, self._blobs)
        self._backward(first, last)
        return {name: self._blobs[name].diff for name in wanted}

    def forward_backward_all(
        self, blobs: Iterable[str] | None = None, diffs: Iterable[str] | None = None, **kwargs: Any
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Forward and back over any number of rows, a batch at a time; the blobs and the gradients.

        Keyword arguments are arrays for all inputs, and gradients for all outputs or none.
        """
        return forward_backward_in_batches(self, tuple(blobs or ()), tuple(diffs or ()), kwargs)

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zeros."""
        for blobs in self._params.values():
            for blob in blobs:
                blob.diff[...] = 0

    # ---- callbacks

    def before_forward(self, run: OnLayer) -> None:
        """Call a function with each layer's position before it is computed.

        With a callback of any kind a net goes layer by layer, forward and back, which takes longer.
        """
        self._add_callback("before_forward", run)

    def after_forward(self, run: OnLayer) -> None:
        """Call a function with each layer's position when it has been computed."""
        self._add_callback("after_forward", run)

    def before_backward(self, run: OnLayer) -> None:
        """Call a function with each layer's position before the way back over it."""
        self._add_callback("before_backward", run)

    def after_backward(self, run: OnLayer) -> None:
        """Call a function with each layer's position after the way back over it."""
        self._add_callback("after_backward", run)

    # ---- inside

    def _add_callback(self, when: str, run: OnLayer) -> None:
        self._callbacks.add(when, run)
        self._engine.keep_layers(len(self.layers))
        self._gradients.keep_layers(len(self.layers))

    def _before_read(self, blob: str) -> Callable[[], None]:
        """What is called before somebody looks at a blob; blobs outlive their net."""
        return partial(self._engine.before_read, blob)

    def _before_diff(self) -> Callable[[], None]:
        """What is called before somebody looks at a gradient."""
        return nothing

    def _forward(self, first: int, last: int, wanted: Iterable[str] = ()) -> None:
        def run(first: int, last: int) -> None:
            for position, source in self._sources.items():
                if first <= position <= last:
                    source.fill()
            self._engine.forward(first, last, wanted)

        self._went_by_layer = bool(self._callbacks)
        if self._callbacks:
            self._callbacks.forward(first, last, lambda position: run(position, position))
        else:
            run(first, last)

    def _backward(self, first: int, last: int) -> None:
        if self._callbacks:
            self._backward_by_layer(first, last)
            return
        sources = [is_source(layer) for layer in self._layer_messages]
        while first < last and sources[first]:
            first += 1
        if all(sources[:first]):
            first = 0  # as a forward pass over all layers is counted
        self._gradients.backward(first, last, self._add_diff)

    def _backward_by_layer(self, first: int, last: int) -> None:
        if not self._went_by_layer:
            raise NetcError("callbacks were added since the last forward pass", remedy="call forward again")

        def run(position: int) -> None:
            self._gradients.backward(position, position, self._add_diff)

        self._callbacks.backward(first, last, run, self._layer_messages, self._storages)

    def _add_diff(self, slot: ParamSlot, gradient: Array) -> None:
        """Add to the gradient of a parameter, in all layers that share it."""
        for blob in (blob for blobs in self._params.values() for blob in blobs):
            if blob.slot.store is slot.store and blob.slot.name == slot.name:
                blob.add_diff(gradient)

    def _make_layers(self) -> list[Layer]:
        blobs: dict[int, list[ParamBlob]] = {}
        for (position, _), (slot, shape) in sorted(self._parameters.slots.items(), key=lambda each: each[0]):
            blobs.setdefault(position, []).append(
                ParamBlob(slot, shape, self._engine.before_edit, self._before_diff())
            )
        return [Layer(m.text("type"), blobs.get(i, ())) for i, m in enumerate(self._layer_messages)]


def _check_hdf5(path: Path) -> None:
    if not os.fspath(path).lower().endswith(HDF5_SUFFIXES):
        raise NetcError(f"{os.fspath(path)}: HDF5 files have the suffix {' or '.join(HDF5_SUFFIXES)}")


def _only_sources(layers: Sequence[Message]) -> set[str]:
    """The blobs that data come in by, and no layer works on in place."""
    brought = {top for layer in layers if is_source(layer) for top in layer.texts("top")}
    return brought - {top for layer in layers if not is_source(layer) for top in layer.texts("top")}
