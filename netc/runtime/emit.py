"""The text of a net at any stage of its way to machine code."""

from __future__ import annotations

from netc.backends.llvm.backend import lower_module, name_kernels
from netc.backends.llvm.emit import emit_kernel
from netc.backends.llvm.engine import emit_assembly
from netc.backends.llvm.target import parse_target
from netc.frontend.imported_net import ImportedNet
from netc.ir.core import Module
from netc.ir.diagnostics import NetcError
from netc.ir.printer import print_module
from netc.runtime.compiler import OnStage, llvm_level, lower
from netc.runtime.options import NUMPY_TARGET, CompileOptions

STAGES = ("tensor", "buffer", "loop", "llvm", "asm")


def module_at(
    net: ImportedNet, options: CompileOptions, stage: str, *, on_stage: OnStage | None = None
) -> Module:
    """The IR of a net at the stage ``import``, ``tensor``, ``buffer`` or ``loop``."""
    if stage == "import":
        return net.module
    if options.target == NUMPY_TARGET:
        raise NetcError("the target numpy runs the imported net as it is; it has no other stages")
    target = parse_target(options.target)
    lowered = lower(net.module, options, target, on_stage=on_stage)
    if stage == "tensor":
        return lowered.tensor
    named = name_kernels(lowered.buffer)
    return named if stage == "buffer" else lower_module(named, target)


def emit(net: ImportedNet, options: CompileOptions, stage: str, *, on_stage: OnStage | None = None) -> str:
    """The text at one of :data:`STAGES`: IR, LLVM IR, or assembler, kernel by kernel."""
    if stage not in ("llvm", "asm"):
        return print_module(module_at(net, options, stage, on_stage=on_stage))
    target = parse_target(options.target)
    kernels = module_at(net, options, "loop", on_stage=on_stage).funcs
    texts = [emit_kernel(func, fma=target.fma) for func in kernels]
    if stage == "asm":
        texts = [emit_assembly(text, target, llvm_level(options)) for text in texts]
    return "\n".join(texts)
