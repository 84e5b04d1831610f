"""Goes back over layers of a net, from the gradients in their tops to those of blobs and parameters.

A program computes the layers again from the blobs that they read, and then their gradients. So a forward pass
need not keep anything, and a net that never goes back pays nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from netc.frontend.imported_net import ImportedNet
from netc.frontend.message import Message
from netc.ir.core import Module, Value
from netc.ir.diagnostics import NetcError
from netc.passes.differentiate import differentiate, gradient_name
from netc.pycaffe.blob import Storage
from netc.pycaffe.engine import Engine
from netc.pycaffe.parameters import ParamSlot, ParamView, Shape
from netc.pycaffe.segment import Segment
from netc.runtime.compiler import compile_imported, import_message, with_shapes
from netc.runtime.memory import Array
from netc.runtime.params import PreparedCache, param_entries
from netc.runtime.precision import check_differentiable
from netc.runtime.runner import Runner, make_runner
from netc.runtime.shapes import tensor_of
from netc.runtime.training import trained_params

MAX_PROGRAMS = 4  # ways back that stay compiled; the least recently used goes first


@dataclass(frozen=True)
class _Program:
    """A compiled way back. ``seeds``, ``blobs`` and ``slots`` say which values belong to which names.

    ``shapes`` are those of the inputs: of a blob whose number of rows a run decides, with room for the most.
    """

    net: ImportedNet
    runner: Runner
    seeds: Mapping[str, str]
    shapes: Mapping[str, Shape]
    blobs: Mapping[str, str]
    slots: Mapping[str, ParamSlot]


class Gradients:
    """The ways back through a net whose blobs are ``storages``."""

    def __init__(self, engine: Engine, storages: Mapping[str, Storage]) -> None:
        self._engine = engine
        self._storages = storages
        self._programs: OrderedDict[tuple[object, ...], _Program] = OrderedDict()
        self._most_programs = MAX_PROGRAMS

    def keep_layers(self, count: int) -> None:
        """Ways back go over one of so many layers at a time: keep each of them compiled."""
        self._most_programs = max(self._most_programs, count)

    def forget(self) -> None:
        """The parameters lie elsewhere now."""
        self._programs.clear()

    def backward(self, first: int, last: int, add: Callable[[ParamSlot, Array], None]) -> None:
        """Write the gradient of every blob of the layers, and ``add`` those of their parameters.

        It begins with the gradients that lie in the tops that no layer among them reads.
        """
        segment = self._engine.segment(first, last)
        if segment.is_empty:
            return
        inputs = self._engine.inputs_again(segment)
        names = _Names(segment)
        known = [blob for blob in names.first if blob in self._storages]  # layers may leave out a top
        seeds = {
            b: self._storages[b].diff.copy()
            for b in known
            if b in names.ends and self._storages[b].diff.any()
        }
        program = self._program(segment, names, inputs, tuple(seeds))
        arrays = {**inputs, **self._engine.states_again(program.net, segment)}
        for blob, name in program.seeds.items():
            arrays[name] = _padded(seeds[blob], program.shapes[name])
        results = program.runner.run((), arrays)
        for blob in known:
            found = results.get(program.blobs[blob])
            if found is not None:
                diff = self._storages[blob].diff
                diff[...] = found[tuple(map(slice, diff.shape))]
            elif blob not in seeds:
                self._storages[blob].diff.fill(0)
        for value, slot in program.slots.items():
            add(slot, results[gradient_name(value)])

    def _program(
        self, segment: Segment, names: _Names, inputs: Mapping[str, Array], seeds: tuple[str, ...]
    ) -> _Program:
        shapes = {name: array.shape for name, array in inputs.items()}
        key = (segment.first, segment.last, seeds, *shapes.items())
        found = self._programs.get(key)
        if found is None:
            found = self._compile(segment, names, shapes, seeds)
            while len(self._programs) >= self._most_programs:
                self._programs.popitem(last=False)
            self._programs[key] = found
        self._programs.move_to_end(key)
        return found

    def _compile(
        self, segment: Segment, names: _Names, shapes: dict[str, Shape], seeds: tuple[str, ...]
    ) -> _Program:
        options = with_shapes(self._engine.options, shapes)
        check_differentiable(options)
        net = import_message(names.message, options)
        slots = self._engine.slots_of(segment, net)
        starts: dict[str, float | None] = {
            term.value.name: term.weight
            for term in net.losses
            if term.value not in net.blobs.values()  # of a top without a name
        }
        starts.update({net.blobs[names.last[blob]].name: None for blob in seeds})
        trained = [param.name for param in trained_params(net)]
        values = {blob: net.blobs[version] for blob, version in names.first.items() if version in net.blobs}
        floats = dict.fromkeys(v.name for v in values.values() if _is_float(v))
        module = differentiate(net.module, seeds=starts, wrt=trained, optional=tuple(floats))
        module = _gradients_only(module, len(net.module.func("main").results), seeds)
        store = ParamView(param_entries(net), {name: slot for name, (slot, _) in slots.items()})
        compiled = compile_imported(net, options, module=module)
        given = {value.name: tensor_of(value.type).static_shape for value in compiled.main.inputs}
        late = {blob: gradient_name(net.blobs[names.last[blob]].name) for blob in seeds}
        return _Program(
            net,
            make_runner(compiled, store, PreparedCache()),
            {blob: name for blob, name in late.items() if name in given},
            given,
            {blob: gradient_name(values[blob].name) if blob in values else "" for blob in names.first},
            {name: slots[name][0] for name in trained},
        )


class _Names:
    """The layers of a segment, each content of a blob under a name of its own: ``message``.

    ``first`` and ``last`` are the names of each blob's first and last content. A gradient is that of the
    first, as layers in place write it over the others; it begins at the last. ``ends`` are the blobs that no
    layer reads in the end.
    """

    def __init__(self, segment: Segment) -> None:
        self.message: Message = segment.message.copy()
        layers = self.message.messages("layer")
        taken = {top for layer in layers for top in layer.texts("top")}
        self.first: dict[str, str] = {}
        self.last: dict[str, str] = {}
        ends: set[str] = set()
        self.message.clear("layer")
        for layer, position in zip(layers, segment.positions, strict=True):
            renamed = layer.copy()
            bottoms, tops = list(layer.texts("bottom")), list(layer.texts("top"))
            renamed.clear("bottom")
            renamed.clear("top")
            for bottom in bottoms:
                renamed.add("bottom", self.last[bottom])
                ends.discard(bottom)
            for top in tops:
                name, count = top, 1
                while top in self.last and name in taken:
                    name, count = f"{top}.{count}", count + 1
                taken.add(name)
                renamed.add("top", name)
                self.last[top] = name
                self.first.setdefault(top, name)
                if position is not None:
                    ends.add(top)
            self.message.add("layer", renamed, layer.location)
        self.ends = frozenset(ends)


def _gradients_only(module: Module, forward: int, seeds: tuple[str, ...]) -> Module:
    """Without the results of the forward pass, which come first."""
    main = module.func("main")
    if seeds and len(main.results) == forward:
        raise NetcError(f"no gradient comes from {', '.join(seeds)} to a blob or a parameter before it")
    return module.with_func(
        replace(main, results=main.results[forward:], result_names=main.result_names[forward:])
    )


def _padded(array: Array, shape: Shape) -> Array:
    """Filled up with zeros to a shape."""
    if array.shape == shape:
        return array
    return np.pad(array, [(0, room - extent) for extent, room in zip(array.shape, shape, strict=True)])


def _is_float(value: Value) -> bool:
    return tensor_of(value.type).dtype.startswith("f")
