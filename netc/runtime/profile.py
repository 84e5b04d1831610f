"""How long each kernel of a module takes, and what it does in that time."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netc.backends.llvm.machine_peak import Peaks
from netc.frontend.imported_net import ImportedNet, LayerInfo
from netc.ir.core import Op, Value
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location
from netc.ir.ops.buffer import LaunchAttrs
from netc.runtime.cuda_runner import CudaRunner
from netc.runtime.launch_cost import launch_bytes, launch_flops
from netc.runtime.memory import Array
from netc.runtime.program import Launch
from netc.runtime.runner import KernelRunner, Runner
from netc.runtime.shapes import Binding, show_shape, tensor_of

_NUMBERS = re.compile(r"(\.\d+)+\Z")


@dataclass(frozen=True, slots=True)
class KernelTime:
    """A launch, or those of a kernel for all parts of a batch.

    ``bytes`` counts every operand once a launch, as if nothing stayed in the caches.
    ``layers`` are the layers whose ops it does, ``value`` the name of what it writes. ``backward`` says that
    it belongs to the backward pass of a module for training.
    """

    kernel: str
    layers: tuple[str, ...]
    value: str
    ops: tuple[str, ...]
    shape: str
    seconds: float
    flops: int
    bytes: int
    backward: bool = False

    @property
    def gflops_per_s(self) -> float:
        """1e9 operations per second."""
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gbytes_per_s(self) -> float:
        """1e9 bytes per second."""
        return self.bytes / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def flops_per_byte(self) -> float:
        """The arithmetic intensity."""
        return self.flops / self.bytes if self.bytes else 0.0

    def is_bound_by_memory(self, peaks: Peaks) -> bool:
        """Whether the machine would need longer for the bytes than for the operations."""
        return self.bytes / peaks.gbytes_per_s > self.flops / peaks.gflops

    def floor_seconds(self, peaks: Peaks) -> float:
        """The time the machine would need at its peaks: operations or bytes, whichever takes longer."""
        return max(self.flops / peaks.gflops, self.bytes / peaks.gbytes_per_s) / 1e9

    def fraction_of_peak(self, peaks: Peaks) -> float:
        """The time the machine would need at its peaks, as a part of the time taken.

        More than 1 is possible: data may come from a cache, and fast algorithms do fewer operations than
        are counted.
        """
        return self.floor_seconds(peaks) / self.seconds if self.seconds else 0.0


def profile(
    runner: Runner, binding: Binding, arrays: Mapping[str, Array], *, repeats: int, warm_up: int = 2
) -> list[KernelTime]:
    """The median time of every kernel over ``repeats`` runs, those of a backward pass included.

    The launches of a kernel for all parts of a batch are taken together.
    ``arrays`` are the inputs, and the late ones that a backward pass begins with.
    """
    if not isinstance(runner, KernelRunner | CudaRunner):
        raise NetcError("the target numpy has no kernels to time", remedy="use the target cpu")
    program = runner.program(binding)
    program.fill(arrays)
    for _ in range(warm_up):
        program.run_timed()
    samples = [program.run_timed() for _ in range(repeats)]
    layers = layer_places(runner.compiled.net)
    together: dict[tuple[object, ...], list[Launch]] = {}
    for launch in program.launches:
        backward = launch.index >= program.forward_launches
        blobs = tuple(blob_of(value) for value in _written(launch.op))
        together.setdefault((launch.kernel, backward, blobs, *_places(launch.op)), []).append(launch)
    return [
        kernel_time(
            launches[0].op,
            launches[0].kernel,
            layers,
            statistics.median(sum(times[launch.index] for launch in launches) for times in samples),
            backward=launches[0].index >= program.forward_launches,
            parts=len(launches),
        )
        for launches in together.values()
    ]


LayerPlaces = Mapping[Location, Sequence[LayerInfo]]
"""The layers by where they stand: in a function of a net's source that is called often, several."""


def layer_places(net: ImportedNet) -> LayerPlaces:
    """The layers of a net by where they stand."""
    found: dict[Location, list[LayerInfo]] = {}
    for layer in net.layers:
        if layer.location is not None:
            found.setdefault(layer.location, []).append(layer)
    return found


def blob_of(value: Value) -> str:
    """The blob that a value was named after: the name without the numbers that tell it from others."""
    return _NUMBERS.sub("", value.name)


def kernel_time(
    op: Op,
    kernel: str,
    layers: LayerPlaces,
    seconds: float,
    *,
    backward: bool = False,
    parts: int = 1,
) -> KernelTime:
    """What a static launch does, ``parts`` times, and the time it takes."""
    assert isinstance(op.attrs, LaunchAttrs)
    assert op.body is not None
    written = _written(op)
    names = tuple(each.name for each in op.body.ops) or ("copy",)
    shapes = ", ".join(show_shape(tensor_of(v.type).shape) for v in written)
    if parts > 1:
        shapes = f"{parts} times {shapes}"
    return KernelTime(
        kernel,
        tuple(dict.fromkeys(name for each in op.body.ops or (op,) for name in _layers_of(each, layers))),
        ", ".join(v.name for v in written),
        names,
        shapes,
        seconds,
        launch_flops(op) * parts,
        launch_bytes(op) * parts,
        backward,
    )


def _written(op: Op) -> Sequence[Value]:
    assert isinstance(op.attrs, LaunchAttrs)
    return op.operands[-op.attrs.writes :]


def _places(op: Op) -> list[Location | None]:
    assert op.body is not None
    return [each.location for each in op.body.ops] or [op.location]


def _layers_of(op: Op, layers: LayerPlaces) -> list[str]:
    """The layers that an op comes from: where several stand in its place, those that make its blob."""
    found = layers.get(op.location, ()) if op.location is not None else ()
    if len(found) > 1:
        blobs = {blob_of(value) for value in op.results or _written(op)}
        found = [layer for layer in found if blobs.intersection(layer.tops)] or found[-1:]
    return [layer.name for layer in found]
