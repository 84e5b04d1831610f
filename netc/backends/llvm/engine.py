"""From LLVM IR text to an object file, and from object files to addresses in this process.

Both steps are hermetic: a kernel may call only the few C functions of `IMPORTS`, and a missing symbol, a
text that does not parse or a damaged object is an error with a message, never an abort.

llvmlite guards each of its calls with one process-wide lock. Parsing, running passes and emitting code
touch only the context, module and code generator that they are given, so these calls are made here without
that lock, and threads compile side by side (`compile_pool`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from netc.backends.llvm.binding import Context, Module, TargetMachine, ffi, llvm
from netc.backends.llvm.target import Target
from netc.ir.diagnostics import InternalError, NetcError

OPT_LEVELS = (0, 1, 2, 3)
DEFAULT_OPT_LEVEL = 1

# What LLVM itself may call in generated code: block moves, and operations that plain SSE2 lacks. All are
# exactly rounded, so results do not depend on the C library.
IMPORTS = (
    "memcpy", "memmove", "memset", "bzero", "memset_pattern16",
    "fmaf", "fma", "floorf", "ceilf", "truncf", "rintf", "nearbyintf", "roundf", "roundevenf",
    "floor", "ceil", "trunc", "rint", "nearbyint", "round", "roundeven",
)  # fmt: skip

_LIBRARY_NAME = "netc"
_C_LIBRARIES: Mapping[str, tuple[str | None, ...]] = {"win32": ("msvcrt",), "linux": (None, "libm.so.6")}


def compile_to_object(llvm_text: str, target: Target, opt_level: int = DEFAULT_OPT_LEVEL) -> bytes:
    """The object file of a module's text.

    Levels: 0 generates code without optimising it; 1 generates good code from the text as it stands, for
    texts that are already unrolled and vectorised; 2 simplifies each function first (common subexpressions,
    loop invariants), which doubles the time; 3 runs the whole O3 pipeline. No level vectorises or unrolls.
    """
    with llvm.create_context() as context, _optimized(llvm_text, target, opt_level, context) as module:
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
    with llvm.create_context() as context, contextlib.ExitStack() as parsed:
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
    with llvm.create_context() as context, _optimized(llvm_text, target, opt_level, context) as module:
        return _emit(module, target, opt_level, as_object=False).decode()


class Library:
    """Object files loaded into this process.

    The keys of ``objects`` are symbols, each defined by its object; a symbol may be defined only once. All
    addresses hold until `close`, or until the library is collected: whoever keeps one keeps the library.
    """

    def __init__(self, objects: Mapping[str, bytes], target: Target) -> None:
        target.check_runs_here()
        self._addresses: dict[str, int] = {}
        self._trackers: list[Any] = []
        # suppress_errors: LLVM would print what the exception says
        self._jit = llvm.create_lljit_compiler(
            target.machine(DEFAULT_OPT_LEVEL),
            use_jit_link=os.name != "nt",  # JITLink does not do all of COFF yet
            suppress_errors=True,
        )
        builder = llvm.JITLibraryBuilder()
        for symbol, data in objects.items():
            builder.add_object_img(data)
            builder.export_symbol(symbol)
        for symbol, address in _imports().items():
            builder.import_symbol(symbol, address)
        try:
            linked = builder.link(self._jit, _LIBRARY_NAME)
        except RuntimeError as error:
            self._jit.close()
            raise InternalError(
                f"cannot load the compiled kernels: {error}",
                detail=f"besides its own symbols a kernel may call only {', '.join(IMPORTS)}",
            ) from None
        self._trackers.append(linked)
        self._addresses = {symbol: int(linked[symbol]) for symbol in objects}
        # a library in a reference cycle is torn down in any order, and LLVM crashes where the compiler goes
        # before its trackers: the finalizer holds both, and ends them in order
        self._finalizer = weakref.finalize(self, _unload, self._trackers, self._jit)
        self._finalizer.atexit = False

    def address(self, name: str) -> int:
        """The address of a symbol of one of the objects; `KeyError` where none defines it."""
        if self._jit.closed:
            raise ValueError("the library is closed")
        if name not in self._addresses:
            try:
                found = self._jit.lookup(_LIBRARY_NAME, name)
            except RuntimeError:
                raise KeyError(name) from None
            self._trackers.append(found)
            self._addresses[name] = int(found[name])
        return self._addresses[name]

    def close(self) -> None:
        """Unload the code. Nothing may run it, now or later."""
        self._finalizer()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _unload(trackers: list[Any], jit: Any) -> None:
    for tracker in reversed(trackers):
        tracker.close()
    trackers.clear()
    jit.close()


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
    with ffi.OutputString() as message:
        pointer = _unlocked("LLVMPY_ParseAssembly")(context, text.encode(), message)
        if message:
            raise InternalError("the generated LLVM IR does not parse", detail=str(message).strip())
        module = llvm.ModuleRef(pointer, context)
    with ffi.OutputString() as message:
        if _unlocked("LLVMPY_VerifyModule")(module, message):
            module.close()
            raise InternalError("the generated LLVM IR is not valid", detail=str(message).strip())
    return module


def _run_passes(module: Module, machine: TargetMachine, opt_level: int) -> None:
    with llvm.create_pipeline_tuning_options(speed_level=opt_level) as options:
        options.loop_vectorization = False
        options.slp_vectorization = False
        options.loop_unrolling = False
        options.loop_interleaving = False
        with llvm.create_pass_builder(machine, options) as builder:
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
    with target.machine(code_level) as machine, ffi.OutputString() as message:
        emit = _unlocked("LLVMPY_TargetMachineEmitToMemory")
        buffer = emit(machine, module, int(as_object), message)
        if not buffer:
            raise InternalError(f"LLVM generates no code for {target.name}", detail=str(message).strip())
        try:
            return ctypes.string_at(
                ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer)
            )
        finally:
            ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.cache
def _unlocked(name: str) -> Any:
    """llvmlite's C function of this name, to be called without llvmlite's lock.

    A second `CDLL` over the same handle has function objects of its own; types are those of the first.
    """
    locked = getattr(ffi.lib, name)
    function = getattr(ctypes.CDLL(ffi.lib._name, handle=ffi.lib._handle), name)
    function.argtypes, function.restype = locked.argtypes, locked.restype
    return function


@functools.cache
def _imports() -> Mapping[str, int]:
    libraries = []
    for path in _C_LIBRARIES.get(sys.platform, (None,)):
        with contextlib.suppress(OSError):  # libm is part of libc in some of them
            libraries.append(ctypes.CDLL(path))
    found: dict[str, int] = {}
    for name in IMPORTS:
        for library in libraries:
            function = getattr(library, name, None)
            if function is not None:
                found[name] = ctypes.cast(function, ctypes.c_void_p).value or 0
                break
    return found
