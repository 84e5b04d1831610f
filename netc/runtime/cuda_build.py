"""What a compilation for GPUs makes: kernels as text for each kind of units, and their machine code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netc.backends.cuda.backend import CudaCode, lower_for
from netc.backends.cuda.compile_pool import Images, compile_kernels
from netc.backends.cuda.target import CudaTarget, Units
from netc.backends.llvm.object_cache import ObjectCache, default_cache_dir
from netc.backends.llvm.target import available_cores
from netc.ir.core import Module
from netc.runtime.options import CompileOptions
from netc.runtime.pass_settings import cuda_target


@dataclass(frozen=True)
class CudaBuild:
    """``code`` by units; ``images`` by architecture, see :mod:`netc.backends.cuda.compile_pool`."""

    target: CudaTarget
    code: Mapping[Units, CudaCode]
    images: Images

    @property
    def main_code(self) -> CudaCode:
        """The code of the latest architecture."""
        return self.code[self.target.architectures[-1].units(self.target.precision)]

    def code_for(self, image: str) -> CudaCode:
        """The code whose kernels an image, ``sm_NN`` or ``compute_NN``, holds."""
        wanted = image.replace("compute_", "sm_")
        (architecture,) = (a for a in self.target.architectures if a.name == wanted)
        is_ptx = image.startswith("compute_")
        units = architecture.portable_units if is_ptx else architecture.units
        return self.code[units(self.target.precision)]

    @property
    def module(self) -> Module:
        """The buffer module of the latest architecture: its launches name :attr:`main_code`'s kernels."""
        return self.main_code.module


def build_cuda(
    buffer: Module, options: CompileOptions, on_kernel: Callable[[int, int], None] | None = None
) -> CudaBuild:
    """Lower and compile a buffer-level module; NetcError where NVRTC is missing."""
    target = cuda_target(options)
    code = lower_for(buffer, target)
    cache = ObjectCache(default_cache_dir())
    images = compile_kernels(code, target, cache, available_cores(), on_kernel)
    return CudaBuild(target, code, images)
