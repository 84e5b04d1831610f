"""NVRTC, NVIDIA's compiler as a library: CUDA C++ text to PTX or to machine code. Needs no GPU."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from netc.ir.diagnostics import NetcError

_PACKAGES = ("nvidia.cuda_nvrtc.lib", "nvidia.cu13.lib")
_PATTERNS = ("libnvrtc.so.*", "nvrtc64_*.dll")
_SYSTEM = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")
OPTIONS = ("--std=c++17", "--ptxas-options=-v")


@dataclass(frozen=True, slots=True)
class CompiledText:
    """``code`` for an architecture (a cubin, or PTX text), and what the compiler says about it."""

    code: bytes
    log: str


def compile_cuda(
    text: str, architecture: str, *, ptx: bool = False, options: Sequence[str] = ()
) -> CompiledText:
    """Compile text for ``sm_NN``, or to the PTX of ``compute_NN``. NetcError where NVRTC is missing."""
    library = _library()
    name = architecture.replace("sm_", "compute_") if ptx else architecture
    program = ctypes.c_void_p()
    _check(
        library,
        library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None),
    )
    try:
        given = [f"--gpu-architecture={name}", *OPTIONS, *options]
        array = (ctypes.c_char_p * len(given))(*(option.encode() for option in given))
        status = library.nvrtcCompileProgram(program, len(given), array)
        log = _read(library, program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        if status:
            raise NetcError(f"NVRTC refuses the generated code for {name}:\n{log.strip()}")
        return CompiledText(_read(library, program, "PTX" if ptx else "CUBIN"), log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def nvrtc_version() -> str:
    """``12.9``; NetcError where NVRTC is missing."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    library = _library()
    _check(library, library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return f"{major.value}.{minor.value}"


def supported_architectures() -> frozenset[str]:
    """The names ``sm_NN`` that this NVRTC makes machine code for."""
    library, count = _library(), ctypes.c_int()
    _check(library, library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    numbers = (ctypes.c_int * count.value)()
    _check(library, library.nvrtcGetSupportedArchs(numbers))
    return frozenset(f"sm_{number}" for number in numbers)


def has_nvrtc() -> bool:
    """Whether the library is found."""
    try:
        _library()
    except NetcError:
        return False
    return True


@functools.cache
def _library() -> ctypes.CDLL:
    for candidate in _candidates():
        try:
            return ctypes.CDLL(candidate)
        except OSError:
            continue
    raise NetcError(
        "compiling CUDA code needs NVRTC, which is not installed; --emit cuda works without it",
        remedy="pip install 'netc[nvrtc]' (no GPU is needed)",
    )


def _candidates() -> list[str]:
    found: list[str] = []
    for package in _PACKAGES:
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in spec.submodule_search_locations or () if spec is not None else ():
            for pattern in _PATTERNS:
                found += [
                    str(path) for path in sorted(Path(folder).glob(pattern)) if "builtins" not in path.name
                ]
    return [path for path in found if ".alt." not in path] + list(_SYSTEM)


def _read(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(library, getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(library, getattr(library, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _check(library: ctypes.CDLL, status: int) -> None:
    if status:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise NetcError(f"NVRTC failed: {library.nvrtcGetErrorString(status).decode()}")
