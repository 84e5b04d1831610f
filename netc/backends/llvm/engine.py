"""From LLVM IR text to an object file. A text that does not parse is an error with a message, never an abort.

llvmlite guards each of its calls with one process-wide lock. Parsing, running passes and emitting code
touch only the context, module and code generator that they are given, so these calls are made here without
that lock, and threads compile side by side (`compile_pool`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from netc.backends.llvm import binding
from netc.backends.llvm.binding import Context, Module, TargetMachine
from netc.backends.llvm.target import Target
from netc.ir.diagnostics import InternalError, NetcError

OPT_LEVELS = (0, 1, 2, 3)
DEFAULT_OPT_LEVEL = 1


def compile_to_object(llvm_text: str, target: Target, opt_level: int = DEFAULT_OPT_LEVEL) -> bytes:
    """The object file of a module's text.

    Levels: 0 generates code without optimising it; 1 generates good code from the text as it stands, for
    texts that are already unrolled and vectorised; 2 simplifies each function first (common subexpressions,
    loop invariants), which doubles the time; 3 runs the whole O3 pipeline. No level vectorises or unrolls.
    """
    with (
        binding.llvm.create_context() as context,
        _optimized(llvm_text, target, opt_level, context) as module,
    ):
        return _emit(module, target, opt_level, as_object=True)


def link_to_object(
    llvm_texts: Sequence[str],
    exported: Collection[str],
    target: Target,
    opt_level: int = DEFAULT_OPT_LEVEL,
) -> bytes:
    """One object file of several modules' texts, which may call each other; ``exported`` is seen outside.

    The levels are those of :func:`compile_to_object`.
    """
    with binding.llvm.create_context() as context, contextlib.ExitStack() as parsed:
        whole = parsed.enter_context(_optimized(llvm_texts[0], target, opt_level, context))
        for text in llvm_texts[1:]:
            with _optimized(text, target, opt_level, context) as part:
                whole.link_in(part)
        for function in whole.functions:
            if not function.is_declaration and function.name not in exported:
                function.linkage = "internal"
        return _emit(whole, target, opt_level, as_object=True)


def emit_assembly(llvm_text: str, target: Target, opt_level: int = DEFAULT_OPT_LEVEL) -> str:
    """The assembler text of the module."""
    with (
        binding.llvm.create_context() as context,
        _optimized(llvm_text, target, opt_level, context) as module,
    ):
        return _emit(module, target, opt_level, as_object=False).decode()


@contextlib.contextmanager
def _optimized(text: str, target: Target, opt_level: int, context: Context) -> Iterator[Module]:
    """The parsed, verified module after the passes of a level."""
    if opt_level not in OPT_LEVELS:
        raise NetcError(f"unknown optimisation level {opt_level}: expected one of 0, 1, 2, 3")
    with _parse(text, context) as module:
        if opt_level >= 2:
            with target.machine(opt_level) as machine:
                _run_passes(module, machine, opt_level)
        yield module


def _parse(text: str, context: Context) -> Module:
    with binding.ffi.OutputString() as message:
        pointer = _unlocked("LLVMPY_ParseAssembly")(context, text.encode(), message)
        if message:
            raise InternalError("the generated LLVM IR does not parse", detail=str(message).strip())
        module = binding.llvm.ModuleRef(pointer, context)
    with binding.ffi.OutputString() as message:
        if _unlocked("LLVMPY_VerifyModule")(module, message):
            module.close()
            raise InternalError("the generated LLVM IR is not valid", detail=str(message).strip())
    return module


def _run_passes(module: Module, machine: TargetMachine, opt_level: int) -> None:
    with binding.llvm.create_pipeline_tuning_options(speed_level=opt_level) as options:
        options.loop_vectorization = False
        options.slp_vectorization = False
        options.loop_unrolling = False
        options.loop_interleaving = False
        with binding.llvm.create_pass_builder(machine, options) as builder:
            if opt_level >= 3:
                with builder.getModulePassManager() as passes:
                    _unlocked("LLVMPY_RunNewModulePassManager")(passes, module, builder)
            else:
                with builder.getFunctionPassManager() as passes:
                    for function in module.functions:
                        if not function.is_declaration:
                            _unlocked("LLVMPY_RunNewFunctionPassManager")(passes, function, builder)


def _emit(module: Module, target: Target, opt_level: int, *, as_object: bool) -> bytes:
    code_level = min(opt_level, 1) * 2  # LLVM's code generator does the same at 1, 2 and 3, or nearly
    with target.machine(code_level) as machine, binding.ffi.OutputString() as message:
        emit = _unlocked("LLVMPY_TargetMachineEmitToMemory")
        buffer = emit(machine, module, int(as_object), message)
        if not buffer:
            raise InternalError(f"LLVM generates no code for {target.name}", detail=str(message).strip())
        try:
            return ctypes.string_at(
                binding.ffi.lib.LLVMPY_GetBufferStart(buffer), binding.ffi.lib.LLVMPY_GetBufferSize(buffer)
            )
        finally:
            binding.ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.cache
def _unlocked(name: str) -> Any:
    """llvmlite's C function of this name, to be called without llvmlite's lock.

    A second `CDLL` over the same handle has function objects of its own; types are those of the first.
    """
    locked = getattr(binding.ffi.lib, name)
    function = getattr(ctypes.CDLL(binding.ffi.lib._name, handle=binding.ffi.lib._handle), name)
    function.argtypes, function.restype = locked.argtypes, locked.restype
    return function
