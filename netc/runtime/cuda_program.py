"""A compiled net at one size on a GPU: its memory there, and the kernels with what they work on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from netc.backends.cuda.backend import REFERENCE_KERNEL, CudaCode
from netc.ir.arena import arena_bytes, span_bytes
from netc.ir.core import Module, Op
from netc.ir.dim import evaluate
from netc.ir.opdef import numpy_dtype
from netc.ir.ops.buffer import AllocAttrs, ViewAttrs
from netc.ir.types import DTYPE_BYTES, BufferType, TensorType
from netc.runtime.cuda_calls import kernel_calls
from netc.runtime.cuda_device import Call, Device, LibraryCall, Recording, Region
from netc.runtime.memory import Array, aligned_zeros
from netc.runtime.program import Launch, dependent, view_elements
from netc.runtime.program_parts import PartsProgram
from netc.runtime.reference_launch import ReferenceLaunch
from netc.runtime.shapes import tensor_of


class CudaProgram(PartsProgram):
    """The buffers of a static module (offsets set) on a device, and its launches ready to run.

    ``code`` holds the kernels that the launches name, ``values`` what their symbols stand for. ``persistent``
    is where prepared parameters and states lie. Where there are ``late`` inputs, the launches from the first
    on that depends on one are the backward pass, and ``forward_launches`` come before it.
    """

    def __init__(
        self,
        module: Module,
        result_names: Sequence[str],
        code: CudaCode,
        values: Mapping[str, int],
        device: Device,
        persistent: Mapping[str, Region],
        late: Collection[str] = (),
    ) -> None:
        self.func = func = module.func("main")
        self.device = device
        states = {value.name for value in func.states}
        self.result_names = tuple(name for name in result_names if name not in states)
        self._values = dict(values)
        arena = device.allocate(arena_bytes(module), "the memory of intermediate blobs")
        self._regions: dict[str, Region] = {}
        for arg, role in zip(func.args, func.roles, strict=True):
            if role in ("param", "state"):
                self._regions[arg.name] = persistent[arg.name]
            else:
                size = _static_bytes(tensor_of(arg.type))
                memory = device.allocate(size, f"the memory for '{arg.name}'")
                self._regions[arg.name] = Region(memory, 0, size)
        self._scratch = self._make_scratch(code)
        launches: list[Launch] = []
        self._calls_of: list[int] = []  # of each launch; the host's take none
        parts: list[list[Call | LibraryCall] | _HostLaunch] = []
        backward, self._late = dependent(func, late)
        self._backward: int | None = None
        forward_launches: int | None = None
        for op in func.ops:
            if op.name != "buffer.launch":
                self._regions[op.result.name] = self._region_of(op, arena)
                continue
            if op is backward:
                self._backward = len(parts)
                forward_launches = len(launches)
                parts.append([])
            regions = [self._regions[v.name] for v in op.operands]
            launches.append(Launch(len(launches), op.attrs.kernel, op))
            if op.attrs.kernel == REFERENCE_KERNEL:
                parts.append(_HostLaunch(device, op, regions))
                self._calls_of.append(0)
                continue
            calls = kernel_calls(code.kernels[op.attrs.kernel], regions, self._scratch, self._values)
            self._calls_of.append(len(calls))
            if not parts or not isinstance(parts[-1], list):
                parts.append([])
            last = parts[-1]
            assert isinstance(last, list)
            last += calls
        self.launches = tuple(launches)
        self.forward_launches = len(launches) if forward_launches is None else forward_launches
        self._parts: list[Recording | _HostLaunch] = [
            device.record(part) if isinstance(part, list) else part for part in parts
        ]

    # --- running ---
    def run_on_device(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs as arrays of the device, for inputs that lie there."""
        given = [(self._regions[v.name], arrays[v.name]) for v in self.func.inputs if v.name in arrays]
        wanted = [(self._regions[v.name], tensor_of(v.type)) for v in self.func.outputs]
        results = self.device.exchange(given, wanted, self.run_parts)
        return dict(zip(self.result_names, results, strict=True))

    def run_timed(self) -> list[float]:
        """Run on the inputs of last time; the seconds that each launch took."""
        calls = [seconds for part in self._parts for seconds in part.run_timed()]
        found = []
        for count in self._calls_of:
            own, calls = calls[: max(1, count)], calls[max(1, count) :]
            found.append(sum(own))
        return found

    def fill(self, arrays: Mapping[str, Array]) -> None:
        """Copy inputs to the device, as float32."""
        self.device.feed(self._given(arrays))

    def stage(self, arrays: Mapping[str, Array]) -> None:
        """Begin to copy inputs that the next run will be given, the same arrays then, unchanged."""
        self.device.stage(self._given(arrays))

    def _given(self, arrays: Mapping[str, Array]) -> list[tuple[Region, Array]]:
        """The inputs among some arrays, in the types of the net's, and where they go."""
        types = {v.name: numpy_dtype(tensor_of(v.type).dtype) for v in self.func.inputs if v.name in arrays}
        return [(self._regions[n], np.ascontiguousarray(arrays[n], dtype)) for n, dtype in types.items()]

    def outputs(self, *, late: bool | None = None) -> dict[str, Array]:
        """The outputs of the last run: all, or those that depend on late inputs or do not."""
        found = {}
        for name, value in zip(self.result_names, self.func.outputs, strict=True):
            if late is None or (value.name in self._late) == late:
                type_ = tensor_of(value.type)
                array = np.empty(type_.static_shape, numpy_dtype(type_.dtype))
                self.device.download(self._regions[value.name], array)
                found[name] = array
        return found

    # --- memory and calls ---
    def _make_scratch(self, code: CudaCode) -> Region:
        """Memory that each launch may use for itself."""
        size = scratch_bytes(code, self._values)
        return Region(self.device.allocate(size, "the memory of partial sums"), 0, size)

    def _region_of(self, op: Op, arena: object) -> Region:
        assert isinstance(op.result.type, BufferType)
        type_, attrs = op.result.type, op.attrs
        if isinstance(attrs, AllocAttrs):
            assert attrs.offset is not None
            return Region(arena, attrs.offset, _static_bytes(type_.tensor))
        base = self._regions[op.operands[0].name]
        if not isinstance(attrs, ViewAttrs):
            return Region(base.memory, base.offset, _static_bytes(type_.tensor))  # buffer.reinterpret
        source = op.operands[0].type
        assert isinstance(source, BufferType)
        before = view_elements(source, attrs) * DTYPE_BYTES[source.tensor.dtype]
        return Region(base.memory, base.offset + before, span_bytes(type_))


class _HostLaunch:
    """A launch without a kernel: its operands go to the host, the reference runs, its results go back."""

    def __init__(self, device: Device, op: Op, regions: Sequence[Region]) -> None:
        self._device = device
        self._regions = list(regions)
        self._arrays = [aligned_zeros((r.nbytes,), np.uint8, what="a copy of a blob") for r in regions]
        self._launch = ReferenceLaunch(op, [int(a.ctypes.data) for a in self._arrays])
        self._writes = len(regions) - op.attrs.writes

    def run(self) -> None:
        """Down, compute, up; what lies between the elements of a view comes along unchanged."""
        for region, array in zip(self._regions, self._arrays, strict=True):
            self._device.download(region, array)
        self._launch.run()
        for region, array in zip(self._regions[self._writes :], self._arrays[self._writes :], strict=True):
            self._device.upload(region, array)

    def run_timed(self) -> list[float]:
        """Run; the time of the host is none of the device's."""
        self.run()
        return [0.0]


def scratch_bytes(code: CudaCode, values: Mapping[str, int]) -> int:
    """What the neediest kernel wants for partial sums."""
    return max((evaluate(kernel.scratch_bytes, values) for kernel in code.kernels.values()), default=0)


def _static_bytes(type_: TensorType) -> int:
    size = type_.storage_bytes
    assert isinstance(size, int)
    return size
