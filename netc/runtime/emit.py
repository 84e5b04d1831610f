"""The text of a net at any stage of its way to machine code."""

from __future__ import annotations

from netc.backends.cuda.target import is_cuda
from netc.backends.llvm.backend import lower_module, name_kernels
from netc.backends.llvm.emit import emit_kernel
from netc.backends.llvm.engine import emit_assembly
from netc.backends.llvm.target import parse_target
from netc.frontend.imported_net import ImportedNet
from netc.ir.core import Module
from netc.ir.diagnostics import NetcError
from netc.ir.printer import print_module
from netc.runtime.cuda_emit import emit_cuda, named_for_cuda
from netc.runtime.lower_net import OnStage, llvm_level, lower_net
from netc.runtime.options import NUMPY_TARGET, CompileOptions

IR_STAGES = ("tensor", "buffer")
CPU_STAGES = ("loop", "llvm", "asm")
CUDA_STAGES = ("cuda", "ptx", "cubin", "sass-info")
STAGES = (*IR_STAGES, *CPU_STAGES, *CUDA_STAGES)


def module_at(
    net: ImportedNet,
    options: CompileOptions,
    stage: str,
    *,
    on_stage: OnStage | None = None,
) -> Module:
    """The IR of a net at the stage ``import``, ``tensor``, ``buffer`` or ``loop``."""
    if stage == "import":
        return net.module
    if options.target == NUMPY_TARGET:
        raise NetcError("the target numpy runs the imported net as it is; it has no other stages")
    lowered = lower_net(net.module, options, on_stage=on_stage)
    if stage == "tensor":
        return lowered.tensor
    if is_cuda(options.target):
        return named_for_cuda(lowered.buffer, options)
    named = name_kernels(lowered.buffer)
    return named if stage == "buffer" else lower_module(named, parse_target(options.target))


def emit(
    net: ImportedNet,
    options: CompileOptions,
    stage: str,
    *,
    on_stage: OnStage | None = None,
) -> str | bytes:
    """What is at one of :data:`STAGES`: IR, LLVM IR, assembler, CUDA C++, PTX; bytes for a cubin."""
    wanted = is_cuda(options.target)
    if stage not in (*IR_STAGES, *(CUDA_STAGES if wanted else CPU_STAGES)):
        raise NetcError(
            f"the target {options.target} has no stage '{stage}'",
            remedy=f"write --target {'cpu' if wanted else 'cuda:sm_90'}",
        )
    if stage in CUDA_STAGES:
        return emit_cuda(module_at(net, options, "buffer", on_stage=on_stage), options, stage)
    if stage not in ("llvm", "asm"):
        return print_module(module_at(net, options, stage, on_stage=on_stage))
    target = parse_target(options.target)
    kernels = module_at(net, options, "loop", on_stage=on_stage).funcs
    texts = [emit_kernel(func, fma=target.fma, dots=target.dots) for func in kernels]
    if stage == "asm":
        texts = [emit_assembly(text, target, llvm_level(options)) for text in texts]
    return "\n".join(texts)
