"""Times launches on the GPU, in turns, between events of its own clock.

Every run reads another copy of the weights, so that they come from memory as in a net whose weights are more
than the GPU caches. Events stand between the functions of a launch; in a graph these begin a little earlier.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from netc.backends.cuda.backend import CudaCode, kernel_name
from netc.backends.cuda.compile_pool import Images, compile_for_one
from netc.backends.cuda.lower.table import lower_launch
from netc.backends.launch_body import weight_operand
from netc.backends.llvm.object_cache import ObjectCache, default_cache_dir
from netc.backends.llvm.target import available_cores
from netc.ir.arena import span_bytes
from netc.ir.core import Module, Op, Value
from netc.ir.dim import evaluate
from netc.ir.opdef import numpy_dtype
from netc.ir.types import BufferType
from netc.runtime.cuda_calls import kernel_calls
from netc.runtime.cuda_device import CupyDevice, Device, Region
from netc.runtime.tuning.cuda_setting import CudaSetting

TURNS = 20
HOPELESS = 1.5  # times the quickest of the first turns: measured no further
FIRST_TURNS = 3
COLD_BYTES = 128 << 20  # of weights are to pass by before one is read again: more than a GPU's cache
MOST_COPIES = 16
WHAT = "the memory in which kernels are timed"

OpenDevice = Callable[[Images], Device]


class DeviceTimer:
    """Seconds that static launches take on a GPU."""

    def __init__(self, open_device: OpenDevice = CupyDevice) -> None:
        self._open = open_device

    def __call__(self, launches: Sequence[Op], setting: CudaSetting) -> list[float]:
        """The time of each launch: the lower quartile of its turns, which disturbances only lengthen."""
        units = setting.units
        kernels = {}
        named = []
        for op in launches:
            aligned = setting.aligned_operands(op)
            name = kernel_name(op, units.precision, aligned)
            kernels[name] = lower_launch(name, op, units.precision, aligned, warpgroups=units.warpgroups)
            named.append(name)
        code = CudaCode(Module("timed", "buffer", ()), kernels)
        cache = ObjectCache(default_cache_dir())
        images = compile_for_one(code, setting.architecture, cache, available_cores())
        device = self._open(images)
        memory = _Operands(device, launches)
        scratch_bytes = max(evaluate(kernel.scratch_bytes, {}) for kernel in kernels.values())
        scratch = Region(device.allocate(scratch_bytes, WHAT), 0, scratch_bytes)
        recordings = [
            [
                device.record(kernel_calls(kernels[name], memory.regions(op, copy), scratch, {}))
                for copy in range(memory.copies)
            ]
            for name, op in zip(named, launches, strict=True)
        ]

        copies = itertools.cycle(range(memory.copies))

        def turn(launch: int) -> float:
            return sum(recordings[launch][next(copies)].run_timed())

        samples: list[list[float]] = [[] for _ in launches]
        for number in range(FIRST_TURNS + 1):
            for i, found in enumerate(samples):
                seconds = turn(i)
                if number:  # the first one loads code
                    found.append(seconds)
        least = min(map(min, samples))
        left = [i for i, found in enumerate(samples) if i == 0 or min(found) <= least * HOPELESS]
        for _ in range(FIRST_TURNS, TURNS):
            for i in left:
                samples[i].append(turn(i))
        return [statistics.quantiles(found, n=4, method="inclusive")[0] for found in samples]


class _Operands:
    """Memory for the operands of launches that differ in schedules alone; several copies of the weights."""

    def __init__(self, device: Device, launches: Sequence[Op]) -> None:
        launch = launches[0]
        self._weights = weights = weight_operand(launch)
        sizes = [span_bytes(value.type) for value in launch.operands]
        self.copies = 1 if weights is None else max(1, min(MOST_COPIES, COLD_BYTES // sizes[weights]))
        self._shared: dict[str, Region] = {}
        for value, size in zip(launch.operands, sizes, strict=True):
            if value.name not in self._shared:
                self._shared[value.name] = _filled(device, value, size)
        self._copies: list[Region] = []
        if weights is not None:
            value = launch.operands[weights]
            self._copies = [_filled(device, value, sizes[weights]) for _ in range(self.copies)]

    def regions(self, launch: Op, copy: int) -> list[Region]:
        """Where the operands of one of the launches lie, with one of the copies."""
        found = [self._shared[value.name] for value in launch.operands]
        if self._weights is not None:
            found[self._weights] = self._copies[copy]
        return found


def _filled(device: Device, value: Value, size: int) -> Region:
    """Memory with numbers in it: zeros cost a GPU less power, and so may be quicker."""
    region = Region(device.allocate(size, WHAT), 0, size)
    assert isinstance(value.type, BufferType)
    dtype = numpy_dtype(value.type.tensor.dtype)
    numbers = np.random.default_rng(0).random(size // dtype.itemsize, np.float32)
    device.upload(region, numbers.astype(dtype))
    return region
