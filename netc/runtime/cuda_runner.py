"""Runs a net compiled for a GPU at any size that it takes; parameters and states have copies there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from netc.ir.arena import arena_bytes, unshared_bytes
from netc.ir.core import Module
from netc.passes.pipeline import place_buffers
from netc.runtime.compiler import Compiled
from netc.runtime.cuda_build import CudaBuild
from netc.runtime.cuda_device import CupyDevice, Device, Region
from netc.runtime.cuda_program import CudaProgram, scratch_bytes
from netc.runtime.device_copies import DeviceCopies
from netc.runtime.lasting import LastingArray
from netc.runtime.memory import Array, Memory
from netc.runtime.params import ParamStore, PreparedCache, PreparedParams
from netc.runtime.pass_settings import as_opt_level
from netc.runtime.shapes import Binding, tensor_of

Following = Callable[[], Mapping[str, Array] | None]
"""Gives inputs of the next run, of the same sizes, if they are known already."""
MAX_PROGRAMS = 4  # sizes whose memory is kept; the least recently used goes first


def open_cupy(build: CudaBuild, beside: Device | None) -> Device:
    """The GPU that CuPy finds."""
    assert beside is None or isinstance(beside, CupyDevice)
    return CupyDevice(build.images, None if beside is None else beside.stream)


class CudaRunner:
    """A :class:`~netc.runtime.runner.Runner` on a GPU, which is opened by the first run.

    Before a run, parameters and states that have changed on the host go to the device. The states, which
    kernels write, stay there until somebody looks at them (:mod:`netc.runtime.lasting`). Runners with the
    same ``copies`` share them.
    """

    def __init__(
        self,
        compiled: Compiled,
        params: ParamStore,
        cache: PreparedCache,
        states: Mapping[str, LastingArray],
        copies: DeviceCopies | None = None,
    ) -> None:
        assert compiled.cuda is not None
        self.compiled = compiled
        self.build = compiled.cuda
        self.params = params
        self.states = states
        self._copies = copies or DeviceCopies()
        self._device: Device | None = None
        self._cache = cache
        self._prepared: PreparedParams | None = None
        self._persistent: dict[str, Region] = {}
        self._sent: dict[str, int] = {}  # the revisions that the device has
        # those of which a result is the next content
        self._written = [state for name, state in states.items() if name in compiled.main.result_names]
        self._programs: OrderedDict[Binding, CudaProgram] = OrderedDict()

    def run(
        self, binding: Binding, arrays: Mapping[str, Array], following: Following | None = None
    ) -> dict[str, Array]:
        """All results for these inputs, while the ``following`` ones are copied."""
        program = self.program(binding)

        def stage() -> None:
            inputs = following() if following is not None else None
            if inputs is not None:
                program.stage(inputs)

        try:
            return program.run(arrays, stage)
        finally:
            self._keep_states()

    def run_on_device(self, binding: Binding, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """All results as arrays of the device, for inputs that lie there."""
        return self.program(binding).run_on_device(arrays)

    def forward(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The results that do not depend on late inputs."""
        program = self.program(binding)
        try:
            return program.run_forward(arrays)
        finally:
            self._keep_states()

    def backward(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All results for these late inputs."""
        return self._programs[binding].run_backward(arrays)

    def prepare(self) -> None:
        """Nothing: the machine that compiled may have no GPU."""

    def program(self, binding: Binding) -> CudaProgram:
        """The program for these sizes, its parameters up to date."""
        device = self._device = self._device or self._copies.open(self.build, open_cupy)
        self._send_persistent(device)
        found = self._programs.get(binding)
        if found is None:
            while len(self._programs) >= MAX_PROGRAMS:
                self._programs.popitem(last=False)
            found = self._programs[binding] = CudaProgram(
                self._bound(self.build.code_for(device.image).module, binding),
                self.compiled.main.result_names,
                self.build.code_for(device.image),
                dict(binding),
                device,
                self._persistent,
                self.compiled.late.values(),
            )
        self._programs.move_to_end(binding)
        return found

    def memory(self, binding: Binding) -> Memory:
        """What a run at these sizes takes of the device."""
        module = self._bound(self.build.module, binding)
        main = module.func("main")
        sizes = [tensor_of(v.type).storage_bytes for v in (*main.inputs, *main.outputs)]
        return Memory(
            activations=arena_bytes(module),
            scratch=scratch_bytes(self.build.main_code, dict(binding)),
            unshared=unshared_bytes(module),
            params=self.params.nbytes,
            prepared=0,
            inputs_outputs=sum(size for size in sizes if isinstance(size, int)),
        )

    def _bound(self, module: Module, binding: Binding) -> Module:
        if not binding:
            return module
        level = as_opt_level(self.compiled.options.opt_level)
        return place_buffers(module, dict(binding), opt_level=level)

    def _send_persistent(self, device: Device) -> None:
        if self._prepared is None:
            prepare = self.compiled.tensor.func("prepare")
            self._prepared = self._cache.get(prepare) or PreparedParams(prepare, self.params)
            self._cache[prepare] = self._prepared
        self._prepared.update()
        for name, array in self._prepared.storages.items():
            revision = self._prepared.revisions[name]
            if self._sent.get(name) == revision:
                continue
            region = self._persistent.get(name)
            if region is None:
                memory = device.allocate(array.nbytes, f"parameter {name}")
                region = self._persistent[name] = Region(memory, 0, array.nbytes)
            device.upload(region, array)
            self._sent[name] = revision
        for name, state in self.states.items():
            self._persistent[name] = self._copies.send(state.home, name)

    def _keep_states(self) -> None:
        """What kernels have written is newer than what the host has, also where the run was interrupted."""
        for state in self._written:
            self._copies.written(state.home)
