"""The public :class:`Module`: a compiled net with its parameters, ready to run."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NoReturn
from weakref import WeakSet

import numpy as np

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.runtime.artifact import Artifact, write_artifact
from netc.runtime.compiler import Compiled, compile_message, with_shapes
from netc.runtime.counted_rows import counted_rows_only
from netc.runtime.file_outputs import write_files
from netc.runtime.memory import Array, Memory
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamStore, PreparedCache, param_entries
from netc.runtime.runner import Runner, make_runner
from netc.runtime.shapes import Binding, as_arrays, bind_shapes, show_shape, shown_shape, symbol_names
from netc.runtime.states import StateStore

MAX_SPECIALISED = 4  # input shapes besides the compiled ones whose code is kept

ShownShape = tuple[int | str, ...]


class Module:
    """A compiled net. Made by :func:`netc.compile` and :func:`netc.load`.

    Calls from several threads wait for each other.
    """

    def __init__(
        self,
        message: Message,
        compiled: Compiled,
        params: ParamStore,
        warnings: tuple[str, ...] = (),
        states: StateStore | None = None,
    ) -> None:
        self._message = message
        self._params = params
        self._prepared: PreparedCache = PreparedCache()
        self._base = _Specialised(compiled, self._make_runner(compiled))
        self._others: OrderedDict[tuple[tuple[str, tuple[int, ...]], ...], _Specialised] = OrderedDict()
        self._results: dict[str, Array] = {}
        self._last: tuple[_Specialised, Binding] | None = None
        self._warnings = warnings
        self._states = StateStore() if states is None else states
        self._lock = threading.RLock()
        _modules.add(self)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{n}: {show_shape(s)}" for n, s in self.inputs.items())
        return f"<netc.Module {self.name}({inputs}) for {self.compiled.options.target}>"

    def __reduce__(self) -> NoReturn:
        """Machine code at fixed addresses and threads cannot be copied."""
        raise TypeError("a netc.Module cannot be pickled or copied: save() it, and netc.load() the file")

    def renew_lock(self) -> None:
        """In a forked child: whoever held the lock lives in the parent only; what it computed is not read."""
        self._lock = threading.RLock()

    def prepare(self) -> None:
        """Bring the parameters into the layouts of the kernels now, not at the first run."""
        with self._lock:
            self._base.runner.prepare()

    @property
    def name(self) -> str:
        """The net's name."""
        return self.compiled.tensor.name

    @property
    def compiled(self) -> Compiled:
        """The code, for the input shapes that the module was compiled for."""
        return self._base.compiled

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was ignored in the net's definition, and what its weights lack."""
        return self.compiled.net.warnings + self._warnings

    @property
    def inputs(self) -> dict[str, ShownShape]:
        """Input name -> shape; a dimension that may be anything is the name of its symbol."""
        return {v.name: shown_shape(v) for v in self.compiled.inputs}

    @property
    def outputs(self) -> dict[str, ShownShape]:
        """Output name -> shape, for the input shapes that the module was compiled for.

        Where a run decides how many rows there are (detections), the shape has room for the most possible.
        """
        return {name: shown_shape(self.compiled.results[name]) for name in self.compiled.outputs}

    @property
    def params(self) -> dict[str, list[Array]]:
        """Layer name -> its parameters, as Caffe orders them. Edit the arrays in place: the next run sees it.

        While you hold one of the arrays, each run first looks for changes, which costs one pass over them
        (about 5 GB/s), and prepares the parameters anew if there are any.
        """
        with self._lock:
            return self._params.by_layer()

    @property
    def memory(self) -> Memory:
        """Bytes that the last run took; before the first one, what a run at the compiled shapes takes."""
        with self._lock:
            if self._last is not None:
                specialised, binding = self._last
                return specialised.runner.memory(binding)
            free = symbol_names(self.compiled.inputs)
            if free:
                raise NetcError(
                    f"how much memory a run takes depends on {', '.join(free)}",
                    remedy="ask again after a run, or use memory_at",
                )
            return self._base.runner.memory(())

    def memory_at(self, **sizes: int) -> Memory:
        """Bytes that a run takes where the module's symbols have these values."""
        free = symbol_names(self.compiled.inputs)
        if sorted(sizes) != sorted(free):
            raise NetcError(
                f"memory_at takes values for {', '.join(free) or 'no symbols'}, "
                f"got {', '.join(sizes) or 'none'}"
            )
        with self._lock:
            return self._base.runner.memory(tuple(sorted(sizes.items())))

    def run(self, /, **inputs: Any) -> dict[str, Array]:
        """The net's outputs for its inputs, all of which must be given: arrays of any numeric type.

        For shapes other than the compiled ones the net is compiled anew; the last few are remembered.
        """
        with self._lock:
            specialised, binding, arrays = self._specialise(inputs)
            return self._take_over(specialised, binding, specialised.runner.run(binding, arrays))

    forward = run

    def run_on_device(self, /, **inputs: Any) -> dict[str, Any]:
        """:meth:`run` for arrays that lie on the GPU (CuPy's, PyTorch's, …): CuPy arrays out.

        Nothing passes through the host. It works in the order of CuPy's current stream. Only for a GPU, and
        for nets without states and without outputs whose rows a run counts.
        """
        with self._lock:
            net = self.compiled.net
            if self.compiled.cuda is None or net.states or net.carried or net.counted:
                raise NetcError(
                    "run_on_device is for nets compiled for a GPU, without states and counted rows",
                    remedy="use run, which takes and gives NumPy arrays",
                )
            from netc.runtime.cuda_runner import CudaRunner

            shapes = {name: np.broadcast_to(np.float32(0), _shape_of(a)) for name, a in inputs.items()}
            specialised, binding, _ = self._specialise(shapes)
            runner = specialised.runner
            assert isinstance(runner, CudaRunner)
            results = runner.run_on_device(binding, inputs)
            return {name: results[name] for name in self.compiled.outputs}

    def _take_over(
        self, specialised: _Specialised, binding: Binding, results: dict[str, Array]
    ) -> dict[str, Array]:
        """Keep what a run left; its outputs."""
        self._last = specialised, binding
        net = specialised.compiled.net
        self._states.update(net, results, self._params)
        results = self._results = counted_rows_only(results, net.counted)
        write_files(net, results)
        return {name: results[name] for name in self.compiled.outputs}

    def seed(self, seed: int) -> None:
        """Begin the random numbers of phase TRAIN anew: equal seeds give equal runs. The first is 0."""
        with self._lock:
            self._states.seed(seed)

    def reset_states(self) -> None:
        """Forget what runs left for the next: hidden states of RNN and LSTM, the step of the random numbers.

        Moving sums of BatchNorm stay: they are parameters.
        """
        with self._lock:
            self._states.reset()

    @property
    def states(self) -> dict[str, Array]:
        """What the last run left for the next besides parameters, to be given to :meth:`restore_states`."""
        with self._lock:
            return self._states.arrays

    def restore_states(self, states: Mapping[str, Array]) -> None:
        """Go on where another run was: hidden states, the step of the random numbers."""
        with self._lock:
            self._states.restore(states)

    def blob(self, name: str) -> Array:
        """A blob as the last run left it: an output, or one that the net was compiled with ``keep`` for."""
        with self._lock:
            found = self._results.get(name)
        if found is not None:
            return found
        if name not in {top for layer in self.compiled.net.layers for top in layer.tops}:
            raise NetcError(f"the net has no blob '{name}'")
        if name in self.compiled.main.result_names:
            raise NetcError(f"the blob '{name}' has no value before the first run")
        raise NetcError(
            f"the blob '{name}' is not kept: its memory is used again by others",
            remedy=f"compile with keep=['{name}']",
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file, for :func:`netc.load`: what runs left for the next one too."""
        with self._lock:
            states = self._states
            kept = (states.first_seed, states.arrays)
            write_artifact(path, Artifact(self._message, self.compiled, self._params.arrays, *kept))

    def specialise(self, **inputs: Any) -> tuple[Runner, Binding, dict[str, Array]]:
        """What a run with these inputs uses: the runner, the values of its symbols, the inputs as arrays."""
        with self._lock:
            specialised, binding, arrays = self._specialise(inputs)
            return specialised.runner, binding, arrays

    def _specialise(self, inputs: dict[str, Any]) -> tuple[_Specialised, Binding, dict[str, Array]]:
        arrays = as_arrays(inputs, self.compiled.inputs)
        binding = bind_shapes(arrays, self.compiled.inputs)
        if binding is not None:
            return self._base, binding, arrays | self._states.inputs(self.compiled.net, binding)
        shapes = tuple((name, array.shape) for name, array in arrays.items())
        found = self._others.get(shapes)
        if found is None:
            found = self._compile_for(dict(shapes))
            while len(self._others) >= MAX_SPECIALISED:
                self._others.popitem(last=False)
            self._others[shapes] = found
        self._others.move_to_end(shapes)
        return found, (), arrays | self._states.inputs(found.compiled.net, ())

    def _compile_for(self, shapes: dict[str, tuple[int, ...]]) -> _Specialised:
        compiled = self._compile(with_shapes(self.compiled.options, shapes))
        for entry, known in zip(param_entries(compiled.net), self._params.entries, strict=True):
            if entry != known:
                layer = known.uses[0][0] if known.uses else known.value
                given = ", ".join(f"{name} {show_shape(shape)}" for name, shape in shapes.items())
                raise NetcError(
                    f"with the input {given} its parameters would be {show_shape(entry.shape)}, "
                    f"and they are {show_shape(known.shape)}",
                    layer=layer,
                    remedy=self._remedy_for_size(layer),
                )
        return _Specialised(compiled, self._make_runner(compiled))

    def _compile(self, options: CompileOptions) -> Compiled:
        return compile_message(self._message, options)

    def _make_runner(self, compiled: Compiled) -> Runner:
        return make_runner(compiled, self._params, self._prepared)

    def _remedy_for_size(self, layer: str) -> str | None:
        """What helps where a layer's parameters depend on the input's size."""
        types = {info.name: info.type for info in self.compiled.net.layers}
        if types.get(layer) != "InnerProduct" or self.compiled.options.fully_convolutional:
            return None
        return "compile with fully_convolutional=True, so that inner products take any size"


def _shape_of(array: Any) -> tuple[int, ...]:
    """The shape that an array of whatever library says it has."""
    shape = getattr(array, "shape", None)
    if shape is None:
        raise NetcError(f"an array on the GPU is expected, got {type(array).__name__}")
    return tuple(int(extent) for extent in shape)


class _Specialised:
    """Code for some input shapes, and what runs it."""

    def __init__(self, compiled: Compiled, runner: Runner) -> None:
        self.compiled = compiled
        self.runner = runner


def _renew_locks() -> None:
    for module in list(_modules):
        module.renew_lock()


_modules: WeakSet[Module] = WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
