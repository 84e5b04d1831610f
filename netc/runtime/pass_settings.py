"""What the passes are told for a target: the optimisation level, and the blocks of its layouts."""

from __future__ import annotations

from netc.backends.cuda.target import CudaTarget, is_cuda, parse_cuda_target
from netc.backends.llvm.target import parse_target
from netc.passes.pipeline import OptLevel
from netc.runtime.options import CompileOptions

ROW_MAJOR_LEVEL: OptLevel = 2  # the highest without blocked layouts, which the CUDA backend does not take


def cuda_target(options: CompileOptions) -> CudaTarget:
    """The target of options that ask for CUDA."""
    assert options.precision != "int8"
    return parse_cuda_target(options.target, options.precision)


def pass_settings(options: CompileOptions) -> tuple[OptLevel, int]:
    """The level and the block that the pipeline takes."""
    level = as_opt_level(options.opt_level)
    if is_cuda(options.target):
        return min(level, ROW_MAJOR_LEVEL), 1
    return level, parse_target(options.target).lanes


def as_opt_level(level: int) -> OptLevel:
    """The level as the pipeline takes it."""
    levels: tuple[OptLevel, ...] = (0, 1, 2, 3)
    return levels[level]
