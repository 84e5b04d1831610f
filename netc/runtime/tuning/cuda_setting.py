"""What a choice measured on a GPU holds for: the GPU, the units that it computes with, the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netc.backends.cuda.backend import alignments, kernel_key
from netc.backends.cuda.kernel import launch_symbols
from netc.backends.cuda.lower.table import other_schedules
from netc.backends.cuda.nvrtc import nvrtc_version
from netc.backends.cuda.target import Architecture, CudaTarget, Precision, Units
from netc.backends.llvm.compile_pool import code_digest
from netc.ir.core import Module, Op
from netc.ir.diagnostics import NetcError
from netc.runtime.cuda_device import choose_image, load_cupy

CODE = ("ir", "passes", "backends/cuda", "runtime/tuning")  # of the package: what a measurement depends on


@dataclass(frozen=True, slots=True)
class CudaSetting:
    """``gpu`` is its name and memory; ``aligned`` says which buffers begin at multiples of 16 bytes."""

    gpu: str
    architecture: Architecture
    precision: Precision
    aligned: Mapping[str, bool]

    @property
    def units(self) -> Units:
        """What machine code for the GPU computes matrix products with."""
        return self.architecture.units(self.precision)

    @property
    def key(self) -> str:
        """All that a measurement depends on besides what is measured; netc's own code is part of it."""
        parts = (code_digest(CODE), "cuda", self.gpu, self.architecture.name, self.units, nvrtc_version())
        return "\n".join(map(str, parts))

    def question(self, launch: Op) -> str:
        """A launch in full."""
        return kernel_key(launch, self.units.precision, self.aligned_operands(launch))

    def aligned_operands(self, launch: Op) -> tuple[bool, ...]:
        """For each operand, whether its memory begins at a multiple of 16 bytes."""
        return tuple(self.aligned[v.name] for v in launch.operands)

    def other_schedules(self, launch: Op) -> list[str]:
        """What a launch may do instead of the model's choice; nothing where its sizes are not known."""
        if launch_symbols(launch):
            return []
        units, aligned = self.units, self.aligned_operands(launch)
        return other_schedules(launch, units.precision, aligned, warpgroups=units.warpgroups)


def cuda_setting(module: Module, target: CudaTarget) -> CudaSetting:
    """The setting of a buffer-level module on this machine's GPU; NetcError where there is none."""
    try:
        cupy: Any = load_cupy()
    except NetcError as error:
        raise NetcError(
            f"measuring schedules for {target.name.partition(':')[0]} needs the GPU: {error.message}",
            remedy=error.remedy or "leave out tune: a model chooses then",
        ) from None
    device = cupy.cuda.Device()
    image = choose_image(device.compute_capability, [a.name for a in target.architectures])
    (architecture,) = (a for a in target.architectures if a.name == image)
    found = cupy.cuda.runtime.getDeviceProperties(device.id)
    gpu = f"{found['name'].decode()} {found['totalGlobalMem']}"
    return CudaSetting(gpu, architecture, target.precision, alignments(module))
