"""A device that runs kernels in the emulator; the runtime around them is the one for GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
from emulator import Emulator

from netc.backends.cuda.kernel import LibraryProduct
from netc.runtime import cuda_build, cuda_runner
from netc.runtime.cuda_build import CudaBuild
from netc.runtime.cuda_device import Call, LibraryCall, Recording, Region

DTYPES = {"float": np.float32, "int": np.int32, "long long": np.int64, "unsigned char": np.uint8}


class EmulatedDevice:
    """Its memory is the host's. ``calls`` are the functions run so far, ``transfers`` the copies by size."""

    def __init__(self, build: CudaBuild, checks: bool = True) -> None:
        self.image = build.target.architectures[-1].name
        self.calls: list[str] = []
        self.transfers: list[tuple[str, int]] = []
        self.staged: list[Any] = []
        text = build.code_for(self.image).text
        self.emulator = Emulator(text, arch=int(self.image.removeprefix("sm_")), checks=checks)

    def allocate(self, nbytes: int, what: str) -> Any:
        del what
        raw = np.zeros(nbytes + 256, np.uint8)
        start = -raw.ctypes.data % 256
        return raw[start : start + nbytes]

    def upload(self, region: Region, array: Any) -> None:
        self.transfers.append(("up", region.nbytes))
        self._part(region)[:] = array.reshape(-1).view(np.uint8)

    def clear(self, region: Region) -> None:
        self._part(region)[:] = 0

    def stage(self, inputs: Any) -> None:
        self.staged = [array for _, array in inputs]

    def feed(self, inputs: Any) -> None:
        for region, array in inputs:
            self.upload(region, array)

    def download(self, region: Region, array: Any) -> None:
        self.transfers.append(("down", region.nbytes))
        array.reshape(-1).view(np.uint8)[:] = self._part(region)

    def record(self, calls: Sequence[Call | LibraryCall]) -> Recording:
        return _Calls(self, calls)

    def _part(self, region: Region) -> Any:
        return region.memory[region.offset : region.offset + region.nbytes]

    def run(self, call: Call | LibraryCall) -> None:
        if isinstance(call, LibraryCall):
            self.calls.append("cublas")
            flat = (self._part(r).view(np.float32) for r in (call.a, call.b, call.result))
            multiply(call.product, *flat)
            return
        self.calls.append(call.function)
        kinds = [p.type for p in self.emulator.kernels[call.function].parameters if p.pointer]
        arrays = [self._part(r).view(DTYPES[k]) for r, k in zip(call.pointers, kinds, strict=True)]
        self.emulator.launch(
            call.function,
            grid=call.grid,
            block=(call.threads, 1, 1),
            args=[*arrays, *call.integers],
            shared_bytes=call.shared_bytes,
        )


def multiply(product: LibraryProduct, a: Any, b: Any, result: Any) -> None:
    """A product of a library, on flat arrays."""
    left = np.lib.stride_tricks.as_strided(a, (product.m, product.k), [4 * s for s in product.a_strides])
    right = np.lib.stride_tricks.as_strided(b, (product.n, product.k), [4 * s for s in product.b_strides])
    result[: product.m * product.n] = (left @ right.T).reshape(-1)


class _Calls:
    def __init__(self, device: EmulatedDevice, calls: Sequence[Call | LibraryCall]) -> None:
        self.device, self.calls = device, calls

    def run(self) -> None:
        for call in self.calls:
            self.device.run(call)

    def run_timed(self) -> list[float]:
        self.run()
        return [1e-6] * len(self.calls)


@contextmanager
def emulated_gpu(checks: bool = True) -> Iterator[list[EmulatedDevice]]:
    """What is compiled for CUDA meanwhile needs no NVRTC, and runs in the emulator; yields the devices opened."""
    devices: list[EmulatedDevice] = []

    def opened(build: CudaBuild, beside: Any) -> EmulatedDevice:
        devices.append(EmulatedDevice(build, checks))
        return devices[-1]

    with (
        mock.patch.object(cuda_runner, "open_cupy", opened),
        mock.patch.object(cuda_build, "compile_kernels", return_value={}),
    ):
        yield devices
