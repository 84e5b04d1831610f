"""Runs a compiled net at any size that it takes; what a size needs is made at its first run and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from netc.backends.llvm.library import Library
from netc.backends.llvm.lower.kernel import launch_symbols
from netc.backends.llvm.lower.table import scratch_bytes
from netc.backends.llvm.spmd import executor_for
from netc.backends.llvm.target import available_cores
from netc.ir.arena import arena_bytes, argument_bytes, unshared_bytes
from netc.ir.core import Func, Module
from netc.ir.rewrite import bind_symbols
from netc.ir.types import TensorType
from netc.passes.pipeline import place_buffers
from netc.runtime.compiler import Compiled
from netc.runtime.lasting import LastingArray
from netc.runtime.memory import Array, Memory, check_available
from netc.runtime.params import ParamStore, PreparedCache, PreparedParams
from netc.runtime.pass_settings import as_opt_level
from netc.runtime.program import KernelProgram
from netc.runtime.reference import ReferenceProgram
from netc.runtime.shapes import Binding, tensor_of

if TYPE_CHECKING:
    from netc.runtime.device_copies import DeviceCopies

MAX_PROGRAMS = 4  # sizes whose memory is kept; the least recently used goes first


class Runner(Protocol):
    """A compiled net that can be run."""

    def run(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All results for these inputs, at the sizes of the binding."""

    def forward(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The results that do not depend on late inputs."""

    def backward(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All results for these late inputs, after :meth:`forward`."""

    def prepare(self) -> None:
        """Do what does not depend on sizes and needs no other machine."""

    def memory(self, binding: Binding) -> Memory:
        """What a run at these sizes takes."""


def make_runner(
    compiled: Compiled,
    params: ParamStore,
    cache: PreparedCache,
    states: Mapping[str, LastingArray] | None = None,
    copies: DeviceCopies | None = None,
) -> Runner:
    """The runner for the target of a compiled net; ``states`` are its states by name.

    Runners with the same ``copies`` hand states over on the device that the target may be for.
    """
    if compiled.cuda is not None:
        from netc.runtime.cuda_runner import CudaRunner

        return CudaRunner(compiled, params, cache, states or {}, copies)
    if compiled.buffer is None:
        return ReferenceRunner(compiled, params, states or {})
    return KernelRunner(compiled, params, cache, states or {})


class KernelRunner:
    """Runs machine code."""

    def __init__(
        self, compiled: Compiled, params: ParamStore, cache: PreparedCache, states: Mapping[str, LastingArray]
    ) -> None:
        assert compiled.buffer is not None
        self.states = states
        self.compiled = compiled
        self.buffer = compiled.buffer
        self.params = params
        self.threads = compiled.options.threads or available_cores()
        self._library: Library | None = None
        self._kernel_symbols = {
            op.attrs.kernel: launch_symbols(op)
            for op in self.buffer.func("main").ops
            if op.name == "buffer.launch"
        }
        assert compiled.machine is not None
        # of the launches as they were compiled: a bound one would be cut otherwise
        self._scratch = {
            op.attrs.kernel: scratch_bytes(op, compiled.machine) * self.threads
            for op in self.buffer.func("main").ops
            if op.name == "buffer.launch"
        }
        self._cache = cache
        self._prepared: PreparedParams | None = None
        self._programs: OrderedDict[Binding, KernelProgram] = OrderedDict()

    def run(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All results for these inputs."""
        return self.program(binding).run(arrays)

    def forward(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The results that do not depend on late inputs."""
        return self.program(binding).run_forward(arrays)

    def backward(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All results for these late inputs."""
        return self._programs[binding].run_backward(arrays)

    def prepare(self) -> None:
        """Pack the parameters."""
        self._up_to_date()

    def program(self, binding: Binding) -> KernelProgram:
        """The program for these sizes, its parameters up to date."""
        prepared = self._up_to_date()
        found = self._programs.get(binding)
        if found is None:
            while len(self._programs) >= MAX_PROGRAMS:
                self._programs.popitem(last=False)
            check_available(self.memory(binding).total, "a run of the net")
            found = KernelProgram(
                self._bound(binding),
                self.compiled.main.result_names,
                self._kernel_symbols,
                self._scratch,
                dict(binding),
                self._loaded(),
                {**prepared.storages, **{name: state.look() for name, state in self.states.items()}},
                executor_for(self.threads, pinned=self.compiled.options.pin_threads),
                self.compiled.late.values(),
            )
            self._programs[binding] = found
        self._programs.move_to_end(binding)
        return found

    def memory(self, binding: Binding) -> Memory:
        """What a run at these sizes takes."""
        module = self._bound(binding)
        main = module.func("main")
        return Memory(
            activations=arena_bytes(module),
            scratch=max(self._scratch.values(), default=0),
            unshared=unshared_bytes(module),
            params=self.params.nbytes,
            prepared=_prepared_bytes(self.compiled.tensor.func("prepare"), in_file=self.params.in_file),
            inputs_outputs=argument_bytes(main),
        )

    def _bound(self, binding: Binding) -> Module:
        if not binding:
            return self.buffer
        return place_buffers(
            self.buffer, dict(binding), opt_level=as_opt_level(self.compiled.options.opt_level)
        )

    def _loaded(self) -> Library:
        """The machine code; loaded by the first run, as code for other machines can be compiled here too."""
        if self._library is None:
            assert self.compiled.objects is not None
            assert self.compiled.machine is not None
            self._library = Library(self.compiled.objects, self.compiled.machine)
        return self._library

    def _up_to_date(self) -> PreparedParams:
        if self._prepared is None:
            prepare = self.compiled.tensor.func("prepare")
            self._prepared = self._cache.get(prepare) or PreparedParams(prepare, self.params)
            self._cache[prepare] = self._prepared
        self._prepared.update()
        return self._prepared


class ReferenceRunner:
    """Runs the reference rules of the ops: the target ``numpy``."""

    def __init__(self, compiled: Compiled, params: ParamStore, states: Mapping[str, LastingArray]) -> None:
        self.compiled = compiled
        self.params = params
        self.states = states
        self._programs: OrderedDict[Binding, ReferenceProgram] = OrderedDict()

    def run(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All results for these inputs."""
        return self._program(binding).run(arrays)

    def forward(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The results that do not depend on late inputs."""
        return self._program(binding).run_forward(arrays)

    def backward(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The results that do, for these late inputs."""
        return self._program(binding).run_backward(arrays)

    def prepare(self) -> None:
        """Nothing: the reference reads the parameters themselves."""

    def _program(self, binding: Binding) -> ReferenceProgram:
        found = self._programs.get(binding)
        if found is None:
            while len(self._programs) >= MAX_PROGRAMS:
                self._programs.popitem(last=False)
            check_available(self.memory(binding).inputs_outputs, "the net's input")
            found = self._programs[binding] = ReferenceProgram(
                self._bound(binding), self.params, self.states, self.compiled.late.values()
            )
        self._programs.move_to_end(binding)
        return found

    def memory(self, binding: Binding) -> Memory:
        """What a run at these sizes takes: the reference shares no memory."""
        main = self._bound(binding)
        values = sum(_storage_bytes(tensor_of(r.type)) for op in main.ops for r in op.results)
        return Memory(values, 0, values, self.params.nbytes, 0, argument_bytes(main))

    def _bound(self, binding: Binding) -> Func:
        module = bind_symbols(self.compiled.tensor, dict(binding)) if binding else self.compiled.tensor
        return module.func("main")


def _prepared_bytes(prepare: Func, *, in_file: bool) -> int:
    """Memory of prepared parameters that are not the parameters themselves, where these are in memory."""
    args = {a.name for a in prepare.args if not in_file}
    types = {v.name: tensor_of(v.type) for v in prepare.results if v.name not in args}
    return sum(map(_storage_bytes, types.values()))


def _storage_bytes(type_: TensorType) -> int:
    size = type_.storage_bytes
    assert isinstance(size, int)
    return size
