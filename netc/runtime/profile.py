"""How long each kernel of a module takes, and what it does in that time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from netc.backends.llvm.machine_peak import Peaks
from netc.frontend.imported_net import ImportedNet
from netc.ir.core import Op, walk
from netc.ir.cost import macs
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location
from netc.ir.ops.buffer import LaunchAttrs
from netc.ir.types import TensorType
from netc.runtime.cuda_runner import CudaRunner
from netc.runtime.memory import Array
from netc.runtime.runner import KernelRunner, Runner
from netc.runtime.shapes import Binding, show_shape, tensor_of

_NO_FLOPS = (
    "fusion",
    "tensor.reshape",
    "tensor.transpose",
    "tensor.concat",
    "tensor.slice",
    "tensor.fill",
    "layout.convert",
)
_SOFTMAX_FLOPS = 5  # for each element: maximum, difference, exp, sum, quotient
_LRN_FLOPS = 4  # for each element besides the window: scale, shift, power, product


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One launch. ``bytes`` counts every operand once, as if nothing stayed in the caches.

    ``layers`` are the layers whose ops it does, ``value`` the name of what it writes.
    """

    kernel: str
    layers: tuple[str, ...]
    value: str
    ops: tuple[str, ...]
    shape: str
    seconds: float
    flops: int
    bytes: int

    @property
    def gflops_per_s(self) -> float:
        """1e9 operations per second."""
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gbytes_per_s(self) -> float:
        """1e9 bytes per second."""
        return self.bytes / self.seconds / 1e9 if self.seconds else 0.0

    def fraction_of_peak(self, peaks: Peaks) -> float:
        """The time the machine would need at its peaks, as a part of the time taken.

        More than 1 is possible: data may come from a cache, and fast algorithms do fewer operations than
        are counted.
        """
        needed = max(self.flops / peaks.gflops, self.bytes / peaks.gbytes_per_s) / 1e9
        return needed / self.seconds if self.seconds else 0.0


def profile(
    runner: Runner, binding: Binding, arrays: Mapping[str, Array], *, repeats: int, warm_up: int = 2
) -> list[KernelTime]:
    """The median time of every launch over ``repeats`` runs."""
    if not isinstance(runner, KernelRunner | CudaRunner):
        raise NetcError("the target numpy has no kernels to time", remedy="use the target cpu")
    program = runner.program(binding)
    program.fill(arrays)
    for _ in range(warm_up):
        program.run_timed()
    samples = [program.run_timed() for _ in range(repeats)]
    layers = layer_places(runner.compiled.net)
    return [
        kernel_time(
            launch.op, launch.kernel, layers, statistics.median(times[launch.index] for times in samples)
        )
        for launch in program.launches
    ]


def layer_places(net: ImportedNet) -> dict[Location, str]:
    """The names of the layers by where they stand."""
    return {layer.location: layer.name for layer in net.layers if layer.location}


def kernel_time(op: Op, kernel: str, layers: Mapping[Location, str], seconds: float) -> KernelTime:
    """What a static launch does, and the time it takes."""
    assert isinstance(op.attrs, LaunchAttrs)
    assert op.body is not None
    written = op.operands[-op.attrs.writes :]
    names = tuple(each.name for each in op.body.ops) or ("copy",)
    places = [each.location for each in op.body.ops] or [op.location]
    shapes = ", ".join(show_shape(tensor_of(v.type).shape) for v in written)
    return KernelTime(
        kernel,
        tuple(dict.fromkeys(layers[place] for place in places if place is not None and place in layers)),
        ", ".join(v.name for v in written),
        names,
        shapes,
        seconds,
        launch_flops(op),
        _bytes(op),
    )


def launch_flops(launch: Op) -> int:
    """Floating-point operations of a static launch, an fma being two."""
    assert launch.body is not None
    return sum(_flops(op) for op in walk(launch.body.ops))


def _flops(op: Op) -> int:
    products = macs(op)
    assert isinstance(products, int)
    if products:
        return 2 * products
    out = _elements(op.result.type)
    if op.name in _NO_FLOPS:
        return 0
    if op.name == "nn.pool":
        return out * int(math.prod(op.attrs.kernel))
    if op.name in ("nn.global_pool", "tensor.reduce"):
        return _elements(op.operands[0].type)
    if op.name == "nn.lrn":
        return out * (2 * int(op.attrs.size) + _LRN_FLOPS)
    return out * (_SOFTMAX_FLOPS if op.name == "nn.softmax" else 1)


def _elements(type_: object) -> int:
    assert isinstance(type_, TensorType)
    return math.prod(type_.static_shape)


def _bytes(launch: Op) -> int:
    total = 0
    for value in launch.operands:
        size = tensor_of(value.type).storage_bytes
        assert isinstance(size, int)
        total += size
    return total
