"""Runs a net compiled for a GPU at any size that it takes; parameters and states have copies there."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netc.ir.arena import arena_bytes, unshared_bytes
from netc.ir.core import Module
from netc.passes.pipeline import place_buffers
from netc.runtime.compiler import Compiled
from netc.runtime.cuda_build import CudaBuild
from netc.runtime.cuda_device import CupyDevice, Device, Region
from netc.runtime.cuda_program import CudaProgram, scratch_bytes
from netc.runtime.memory import Array, Memory
from netc.runtime.params import ParamStore, PreparedCache, PreparedParams
from netc.runtime.pass_settings import as_opt_level
from netc.runtime.shapes import Binding, tensor_of

MAX_PROGRAMS = 4  # sizes whose memory is kept; the least recently used goes first

OpenDevice = Callable[[CudaBuild], Device]


def open_cupy(build: CudaBuild) -> Device:
    """The GPU that CuPy finds."""
    return CupyDevice(build.images)


class CudaRunner:
    """A :class:`~netc.runtime.runner.Runner` on a GPU, which is opened by the first run.

    Before a run, parameters and states that have changed on the host go to the device; after it, the states,
    which kernels write, come back.
    """

    def __init__(
        self,
        compiled: Compiled,
        params: ParamStore,
        cache: PreparedCache,
        states: Mapping[str, Array],
        open_device: OpenDevice | None = None,
    ) -> None:
        assert compiled.cuda is not None
        self.compiled = compiled
        self.build = compiled.cuda
        self.params = params
        self.states = states
        self._open = open_device or open_cupy
        self._device: Device | None = None
        self._cache = cache
        self._prepared: PreparedParams | None = None
        self._persistent: dict[str, Region] = {}
        self._seen: dict[str, int] = {}  # what the device's copies hold, as digests
        self._programs: OrderedDict[Binding, CudaProgram] = OrderedDict()

    def run(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All results for these inputs."""
        results = self.program(binding).run(arrays)
        self._fetch_states()
        return results

    def run_on_device(self, binding: Binding, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """All results as arrays of the device, for inputs that lie there."""
        return self.program(binding).run_on_device(arrays)

    def forward(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The results that do not depend on late inputs."""
        results = self.program(binding).run_forward(arrays)
        self._fetch_states()
        return results

    def backward(self, binding: Binding, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All results for these late inputs."""
        return self._programs[binding].run_backward(arrays)

    def prepare(self) -> None:
        """Nothing: the machine that compiled may have no GPU."""

    def program(self, binding: Binding) -> CudaProgram:
        """The program for these sizes, its parameters up to date."""
        device = self._device = self._device or self._open(self.build)
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
        for name, array in {**self._prepared.storages, **self.states}.items():
            digest = _digest(array)
            if self._seen.get(name) == digest:
                continue
            region = self._persistent.get(name)
            if region is None:
                memory = device.allocate(array.nbytes, f"parameter {name}")
                region = self._persistent[name] = Region(memory, 0, array.nbytes)
            device.upload(region, array)
            self._seen[name] = digest

    def _fetch_states(self) -> None:
        """What kernels have written: the states of which a result is the next content."""
        assert self._device is not None
        written = set(self.compiled.main.result_names)
        for name, array in self.states.items():
            if name in written:
                self._device.download(self._persistent[name], array)
                self._seen[name] = _digest(array)


def _digest(array: Array) -> int:
    return zlib.crc32(array.reshape(-1).view(np.uint8).data)
