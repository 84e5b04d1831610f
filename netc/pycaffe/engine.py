"""Computes the blobs of a net, exactly as if every one of them were computed in every pass.

Keeping all blobs makes nets up to four times slower, because kernels can then not be fused and every blob
is written out. So a net starts out computing its outputs alone, and remembers the inputs of the last pass.
When somebody asks for another blob, that pass is repeated with all blobs kept, and so is every pass from
then on. Nobody can tell the difference: what would change the result of the repetition (an edit of a
parameter, a pass that begins in the middle of the net) makes the engine keep all blobs beforehand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from netc.frontend.imported_net import ImportedNet
from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.pycaffe.blob import Storage
from netc.pycaffe.mode import next_seed
from netc.pycaffe.parameters import ParamSlot, ParamSlots, ParamView, Shape
from netc.pycaffe.segment import Segment, cut_segment
from netc.runtime.compiler import compile_message, import_message, with_shapes
from netc.runtime.memory import Array
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions
from netc.runtime.params import param_entries
from netc.runtime.shapes import show_shape
from netc.runtime.states import StateStore

MAX_MODULES = 4  # compiled parts that are kept; the least recently used goes first
MAX_SHAPES = 16  # sizes of inputs whose consequences are remembered


@dataclass(frozen=True)
class _Pending:
    """The last pass, if it left out blobs: how to repeat it, and which ones it left out."""

    segment: Segment
    inputs: Mapping[str, Array]
    left_out: frozenset[str]


@dataclass(frozen=True)
class _Before:
    """What the last pass over the layers from ``first`` to ``last`` changed of what it began with."""

    first: int
    last: int
    inputs: Mapping[str, Array]
    states: Mapping[str, Array]


class Engine:
    """Runs parts of a net on the memory of its blobs.

    ``shown`` are the blobs that every pass computes: the net's outputs, to begin with. ``keep_all`` is for
    nets in which a pass cannot be repeated with the same result.
    """

    def __init__(
        self,
        message: Message,
        options: CompileOptions,
        storages: Mapping[str, Storage],
        sources: Iterable[str],
        shown: Iterable[str],
        *,
        keep_all: bool,
    ) -> None:
        self._message = message
        self._storages = storages
        self._sources = frozenset(sources)
        self._shown = frozenset(shown)
        self._slots: ParamSlots = {}
        self._segments: dict[tuple[int, int], Segment] = {}
        self._modules: OrderedDict[tuple[int, int, bool], tuple[frozenset[str], Module]] = OrderedDict()
        self._shapes: OrderedDict[tuple[object, ...], dict[str, Shape]] = OrderedDict()
        self._pending: _Pending | None = None
        self._keep_all = keep_all
        self._states = StateStore(next_seed())
        self._before: list[_Before] = []
        self._most_modules, self._most_shapes = MAX_MODULES, MAX_SHAPES
        self.options = options

    @property
    def keeps_all(self) -> bool:
        """Whether every blob is computed in every pass."""
        return self._keep_all

    def keep_layers(self, count: int) -> None:
        """Passes go over one of so many layers at a time: keep each of them compiled, and all blobs."""
        self.keep_all()
        self._most_modules = max(self._most_modules, count)
        self._most_shapes = max(self._most_shapes, 2 * count)

    def set_params(self, slots: ParamSlots) -> None:
        """Say where the parameters are; compiled parts that looked elsewhere are forgotten."""
        self._slots = slots
        self._modules.clear()

    def segment(self, first: int, last: int) -> Segment:
        """The layers from the first to the last."""
        found = self._segments.get((first, last))
        if found is None:
            shapes = {name: storage.shape for name, storage in self._storages.items()}
            found = self._segments[first, last] = cut_segment(self._message, first, last, shapes)
        return found

    def forward(self, first: int, last: int, wanted: Iterable[str]) -> None:
        """Compute the layers from the first to the last; at least the blobs wanted are kept from now on."""
        self._shown |= frozenset(wanted)
        segment = self.segment(first, last)
        self._reshape(segment)
        if segment.is_empty:
            return
        if not self._may_leave_out(segment):
            self.keep_all()
        inputs = {name: self._storages[name].data for name in segment.inputs}
        made = self._shapes_of(segment)
        overwritten = {name: array.copy() for name, array in inputs.items() if name in made}
        self._before = [b for b in self._before if b.last < first or b.first > last]
        self._before.append(_Before(first, last, overwritten, self._states.arrays))
        module = self._run(segment, inputs)
        results = _results(module, made)
        if not self._keep_all:
            # copied before the results are written: a layer may work in place on an input
            copies = {name: array.copy() for name, array in inputs.items()}
            self._pending = _Pending(segment, copies, frozenset(made) - results.keys())
        for name, array in results.items():
            self._storages[name].write(array)

    def reshape(self, first: int, last: int) -> None:
        """Give all blobs the shapes that follow from those of the inputs; their values are lost."""
        segment = self.segment(first, last)
        self._reshape(segment)
        if self._pending is not None and self._shapes_of(segment) != self._shapes_of(
            self._pending.segment, self._pending.inputs
        ):
            self._pending = None

    def forget_pass(self) -> None:
        """Blobs are no longer those of the last pass: it is not to be repeated."""
        self._pending = None
        self._before = []

    def before_read(self, name: str) -> None:
        """Called before somebody looks at a blob."""
        left_out = self._pending is not None and name in self._pending.left_out
        if left_out or (name not in self._sources and name not in self._shown):
            self.keep_all()

    def before_edit(self) -> None:
        """Called before somebody gets hold of a parameter: the last pass could not be repeated after it."""
        if self._pending is not None:
            self.keep_all()

    def keep_all(self) -> None:
        """Compute what the last pass left out, and leave nothing out from now on."""
        if self._keep_all:
            return
        self._keep_all = True
        self._modules.clear()
        pending, self._pending = self._pending, None
        if pending is None:
            return
        module = self._run(pending.segment, pending.inputs)
        for name in pending.left_out:
            self._storages[name].write(module.blob(name))

    def inputs_again(self, segment: Segment) -> dict[str, Array]:
        """What the layers of a segment read, to compute them again as in the last pass."""
        if segment.first > 0:
            self.keep_all()
        before = self._began(segment)
        known = {} if before is None else before.inputs
        return {name: known.get(name, self._storages[name].data) for name in segment.inputs}

    def states_again(self, net: ImportedNet, segment: Segment) -> dict[str, Array]:
        """The states that the last pass began with."""
        if not net.carried:
            return {}
        before = self._began(segment)
        if before is None:
            raise NetcError(
                "the layers have states or draw random numbers: the way back must end where the last forward "
                "pass began",
                remedy="call forward before backward, and give backward's end to forward as its start",
            )
        states = StateStore(self._states.first_seed)
        states.restore(before.states)
        return states.inputs(net, ())

    def _began(self, segment: Segment) -> _Before | None:
        """The last pass, if it began where a segment does."""
        return next((b for b in self._before if b.first == segment.first), None)

    def _may_leave_out(self, segment: Segment) -> bool:
        """Whether a pass that leaves blobs out could be repeated later with the same result."""
        if self._keep_all or segment.first > 0:
            return False
        if self._pending is not None and self._pending.segment.last > segment.last:
            return False  # blobs beyond this segment are still those of the pass before
        return not any(slot.store.is_lent for slot, _ in self._slots.values())

    def _run(self, segment: Segment, inputs: Mapping[str, Array]) -> Module:
        module = self._module(segment, self._shapes_of(segment, inputs))
        module.run(**inputs)
        return module

    def _module(self, segment: Segment, shapes: Mapping[str, Shape]) -> Module:
        """The compiled segment; it is compiled again where more blobs are to be kept than before."""
        made = frozenset(shapes)
        keep = made if self._keep_all else made & self._shown
        key = (segment.first, segment.last, self._keep_all)
        known, module = self._modules.get(key, (frozenset[str](), None))
        if module is None or not keep <= known:
            options = replace(self.options, keep=tuple(sorted(keep)), input_shapes=())
            compiled = compile_message(segment.message, options)
            slots = self.slots_of(segment, compiled.net)
            view = ParamView(param_entries(compiled.net), {name: slot for name, (slot, _) in slots.items()})
            module = Module(segment.message, compiled, view, states=self._states)
            while len(self._modules) >= self._most_modules:
                self._modules.popitem(last=False)
            self._modules[key] = keep, module
        self._modules.move_to_end(key)
        return module

    def _reshape(self, segment: Segment) -> None:
        for name, shape in self._shapes_of(segment).items():
            self._storages[name].resize(shape)

    def _shapes_of(self, segment: Segment, inputs: Mapping[str, Array] | None = None) -> dict[str, Shape]:
        """The shapes of the blobs that a segment makes, for given inputs or those in the net."""
        if segment.is_empty:
            return {}
        given = {n: self._storages[n].shape if inputs is None else inputs[n].shape for n in segment.inputs}
        key = (segment.first, segment.last, *given.items())
        found = self._shapes.get(key)
        if found is None:
            found = self._infer(segment, given)
            while len(self._shapes) >= self._most_shapes:
                self._shapes.popitem(last=False)
            self._shapes[key] = found
        return found

    def _infer(self, segment: Segment, given: dict[str, Shape]) -> dict[str, Shape]:
        net = import_message(segment.message, with_shapes(self.options, given))
        self.slots_of(segment, net)
        shapes: dict[str, Shape] = {}
        for layer, position in zip(net.layers, segment.positions, strict=True):
            if position is not None:
                tops = zip(layer.tops, layer.top_shapes, strict=True)
                shapes.update({top: tuple(d for d in shape if isinstance(d, int)) for top, shape in tops})
        return shapes

    def slots_of(self, segment: Segment, net: ImportedNet) -> dict[str, tuple[ParamSlot, Shape]]:
        """The parameters of a segment by its own names; NetcError where they would need other shapes."""
        found = {}
        for info in net.params:
            position = segment.positions[info.owner]
            assert position is not None
            slot, shape = self._slots[position, info.index]
            if shape != info.shape:
                raise NetcError(
                    f"for inputs of this size its parameters would be {show_shape(info.shape)}, and they are "
                    f"{show_shape(shape)}",
                    location=info.location,
                    layer=info.layer,
                    remedy="a fully convolutional net takes any size",
                )
            found[info.value.name] = slot, shape
        return found


def _results(module: Module, names: Iterable[str]) -> dict[str, Array]:
    """The blobs among the results of the last run."""
    results = frozenset(module.compiled.main.result_names)
    return {name: module.blob(name) for name in names if name in results}
