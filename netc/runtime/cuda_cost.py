"""What a net would cost on a GPU, kernel by kernel, from its code alone: nothing is compiled or run.

The time of a kernel is that of its arithmetic at the chip's peak or that of its memory at the chip's
bandwidth, whichever is more, and what starting each of its functions takes. Real kernels take longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from netc.backends.cuda.backend import REFERENCE_KERNEL, CudaCode, lower_module
from netc.backends.cuda.target import Architecture, Precision
from netc.frontend.imported_net import ImportedNet
from netc.ir.core import Op
from netc.ir.diagnostics import NetcError
from netc.ir.dim import evaluate
from netc.ir.winograd_matrices import winograd
from netc.runtime.lower_net import lower_net
from netc.runtime.options import CompileOptions
from netc.runtime.pass_settings import cuda_target
from netc.runtime.profile import KernelTime, kernel_time, layer_places
from netc.runtime.shapes import symbol_names

FUNCTION_SECONDS = 2e-6  # for a function of a graph to begin and end: an assumption, not a measurement


@dataclass(frozen=True, slots=True)
class KernelCost:
    """``what`` the launch is, with its predicted time; ``functions`` of it, none where the host runs it.

    ``limit`` is ``arithmetic``, ``memory`` or ``start``: what most of the time is.
    """

    what: KernelTime
    functions: int
    limit: str


@dataclass(frozen=True, slots=True)
class NetCost:
    """All launches of a net on the latest architecture of a target."""

    architecture: Architecture
    precision: Precision
    kernels: tuple[KernelCost, ...]

    @property
    def seconds(self) -> float:
        """The predicted time of all kernels."""
        return sum(k.what.seconds for k in self.kernels)

    @property
    def functions(self) -> int:
        """How many functions are started in a run."""
        return sum(k.functions for k in self.kernels)


def net_cost(net: ImportedNet, options: CompileOptions) -> NetCost:
    """The cost of a net at the size that the options give it."""
    free = symbol_names(net.inputs)
    if free:
        raise NetcError(
            f"the cost depends on {', '.join(free)}",
            remedy="give the inputs numbers for shapes: --input-shape NAME=1,3,224,224",
        )
    target = cuda_target(options)
    architecture = target.architectures[-1]
    units = architecture.units(target.precision)
    precision = units.precision
    lowered = lower_net(net.module, options)
    code = lower_module(lowered.buffer, precision, warpgroups=units.warpgroups)
    layers = layer_places(net)
    kernels = []
    for op in code.module.func("main").ops:
        if op.name == "buffer.launch":
            functions, limit, seconds = _predict(op, code, architecture, precision)
            kernels.append(KernelCost(kernel_time(op, op.attrs.kernel, layers, seconds), functions, limit))
    return NetCost(architecture, precision, tuple(kernels))


def _share_computed(op: Op) -> float:
    """How much of the products of a convolution are computed: Winograd's needs fewer than are counted."""
    assert op.body is not None
    anchor = op.body.ops[0] if op.body.ops else op
    if anchor.name != "nn.winograd_conv":
        return 1.0
    tile, taps = anchor.attrs.tile, anchor.attrs.taps
    return float(winograd(tile, taps).extent / (tile * taps)) ** 2


def _predict(op: Op, code: CudaCode, chip: Architecture, precision: Precision) -> tuple[int, str, float]:
    """Functions, what limits them, seconds."""
    if op.attrs.kernel == REFERENCE_KERNEL:
        return 0, "host", 0.0
    kernel = code.kernels[op.attrs.kernel]
    what = kernel_time(op, kernel.name, {}, 0.0)
    by_library = kernel.library is not None
    of_products = kernel.lowering in ("product", "winograd")
    on_tensor_cores = by_library or (of_products and "mma_" in kernel.text)
    functions = len(kernel.stages) + by_library
    arithmetic = what.flops * _share_computed(op) / chip.peak(precision if on_tensor_cores else "fp32")
    # partial sums are written and read
    memory = (what.bytes + 2 * evaluate(kernel.scratch_bytes, {})) / chip.bandwidth
    start = FUNCTION_SECONDS * functions
    times = {"arithmetic": arithmetic, "memory": memory, "start": start}
    return functions, max(times, key=lambda name: times[name]), max(arithmetic, memory) + start
