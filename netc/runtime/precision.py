"""The precisions that a caller may ask for, and what each target makes of them.

=========  ==========================================  ============================================
precision  processors                                  GPUs
=========  ==========================================  ============================================
``tf32``   float32, as ``fp32``: the default           factors of products rounded to tf32
``fp32``   float32                                     float32
``bf16``   factors and activations in bf16             factors of products rounded to bf16
``fp16``   refused                                     factors of products rounded to fp16
``int8``   8-bit integers, by ranges of activations    refused
=========  ==========================================  ============================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from netc.backends.cuda.target import DEFAULT_PRECISION, is_cuda
from netc.backends.cuda.target import Precision as CudaPrecision
from netc.ir.diagnostics import NetcError

if TYPE_CHECKING:
    from netc.runtime.options import CompileOptions

Precision = Literal[CudaPrecision, "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
NARROW = ("bf16", "int8")
NARROW_LEVEL = 3  # the narrow kernels read blocked layouts

__all__ = [
    "DEFAULT_PRECISION",
    "NARROW",
    "PRECISIONS",
    "Precision",
    "check_differentiable",
    "check_precision",
]


def check_precision(options: CompileOptions) -> None:
    """NetcError where the target, or another option, does not go with the precision."""
    precision = options.precision
    if precision not in PRECISIONS:
        raise NetcError(f"the precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
    if options.ranges is not None and precision != "int8":
        raise NetcError(f"ranges are for the precision int8, and {precision} is asked for")
    if is_cuda(options.target):
        if precision == "int8":
            raise NetcError(
                f"the target {options.target} has no kernels for int8", remedy="use bf16, or the target cpu"
            )
        return
    if precision == "fp16":
        raise NetcError("processors have no kernels for fp16", remedy="use bf16, or a target cuda")
    if precision in NARROW:
        _check_narrow(options)


def check_differentiable(options: CompileOptions) -> None:
    """NetcError where a net would have to go backward in narrow numbers."""
    if options.precision in NARROW and not is_cuda(options.target):
        raise NetcError(
            f"the precision {options.precision} is for running a net: processors go backward in float32",
            remedy="leave out the precision",
        )


def _check_narrow(options: CompileOptions) -> None:
    precision = options.precision
    if not options.target.strip().lower().startswith("cpu"):
        raise NetcError(
            f"the target {options.target} is the reference, which computes in float32",
            remedy="leave out the precision",
        )
    if options.phase == "TRAIN":
        raise NetcError(
            f"the precision {precision} is for running a trained net: on processors training, and so the "
            "phase TRAIN, is in float32",
            remedy="leave out the precision, or use the phase TEST",
        )
    if options.exact:
        raise NetcError(f"exact forbids what rounds more than float32 does, and {precision} rounds more")
    if options.opt_level != NARROW_LEVEL:
        raise NetcError(
            f"the precision {precision} needs the optimisation level {NARROW_LEVEL}, got {options.opt_level}"
        )
    if precision == "int8" and options.ranges is None:
        raise NetcError(
            "the precision int8 needs the ranges of the net's activations",
            remedy="'netc calibrate' measures them on sample inputs; give the file that it writes (--ranges)",
        )
