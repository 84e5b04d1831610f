"""Compiles kernels with the host's C++ compiler to a library, and keeps libraries by their content.

``NETC_EMULATOR_CACHE`` names the folder of the cache; without it, it stands among the temporary files.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

RUNTIME = Path(__file__).parent / "runtime"
RUNTIME_SOURCES = (
    "checks.cpp",
    "memory.cpp",
    "transfers.cpp",
    "threads.cpp",
    "warps.cpp",
    "warpgroups.cpp",
    "profile.cpp",
    "launch.cpp",
)
COMMON_FLAGS = (
    "-std=c++17",
    "-O2",
    "-g1",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-strict-aliasing",
    "-fno-exceptions",
    "-fno-rtti",
)
KERNEL_FLAGS = (
    *COMMON_FLAGS,
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-tree-vectorize",  # accesses stay those of the text
    "-fno-tree-loop-distribute-patterns",  # no memset, which nobody would check
    "-Wno-unknown-pragmas",
    "-DNETC_EMULATOR",
    "-include",
    "emulator.h",
)
CHECK_FLAGS = ("-fsanitize=thread,bounds", "--param", "tsan-instrument-func-entry-exit=0")


class CompileError(Exception):
    """The host's compiler refused the text."""


@functools.cache
def missing() -> str | None:
    """Why the emulator cannot work here, or None where it can."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return f"the emulator runs on Linux on x86-64, this is {platform.system()} on {platform.machine()}"
    if shutil.which(compiler()) is None:
        return f"no C++ compiler: {compiler()} is not found (CXX names another GCC)"
    if "Free Software Foundation" not in compiler_version():
        return f"{compiler()} is not GCC, whose sanitiser interface the emulator uses"
    return None


def compiler() -> str:
    """The command of the C++ compiler."""
    return os.environ.get("CXX", "g++")


@functools.cache
def compiler_version() -> str:
    """What the compiler says about itself."""
    return subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout


@functools.cache
def host_flags() -> tuple[str, ...]:
    """Flags for instructions of this processor: without them a multiply-add is a call."""
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text().split("flags", 2)[1].splitlines()[0].split() if cpu.exists() else []
    return ("-mfma",) if "fma" in flags else ()


def cache_folder() -> Path:
    """Where compiled libraries lie."""
    named = os.environ.get("NETC_EMULATOR_CACHE")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"netc-emulator-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kernel_library(text: str, arch: int, checks: bool) -> Path:
    """The library of a translation unit, compiled unless it is in the cache."""
    flags = (*KERNEL_FLAGS, *host_flags(), f"-D__CUDA_ARCH__={arch * 10}", *(CHECK_FLAGS if checks else ()))
    return _cached("kernels", ".so", text, flags, [*runtime_objects(checks)])


def runtime_objects(checks: bool) -> list[Path]:
    """The object files of the emulator's own code."""
    flags = (*COMMON_FLAGS, *(["-DEMULATOR_CHECKS"] if checks else []))
    return [_cached(Path(n).stem, ".o", (RUNTIME / n).read_text(), flags, []) for n in RUNTIME_SOURCES]


@functools.cache
def _headers() -> bytes:
    return b"".join(path.read_bytes() for path in sorted(RUNTIME.glob("*.h")))


def _cached(name: str, suffix: str, text: str, flags: tuple[str, ...], link_with: list[Path]) -> Path:
    key = hashlib.sha256(_headers())
    for part in (compiler_version(), text, *flags, *(path.name for path in link_with)):
        key.update(part.encode() + b"\0")
    target = cache_folder() / f"{name}-{key.hexdigest()[:32]}{suffix}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        source, made = Path(folder) / f"{name}.cpp", Path(folder) / f"{name}.o"
        source.write_text(text)
        _run([compiler(), *flags, f"-I{RUNTIME}", "-c", str(source), "-o", str(made)])
        if suffix == ".so":
            linked = Path(folder) / f"{name}.so"
            _run(
                [
                    compiler(),
                    "-shared",
                    "-Wl,-z,defs",
                    "-o",
                    str(linked),
                    str(made),
                    *map(str, link_with),
                    "-lm",
                ]
            )
            made = linked
        os.replace(made, target)
    return target


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CompileError(done.stderr[:4000])


def places(library: Path, offsets: Sequence[int]) -> list[list[tuple[str, int]]]:
    """(file, line) of return addresses in a library: for each, the innermost of inlined functions first."""
    tool = shutil.which("addr2line")
    if tool is None or not offsets:
        return [[] for _ in offsets]
    # the call stands in front of the address that it returns to; -a prints the address in front of its lines
    asked = "\n".join(hex(max(1, offset) - 1) for offset in offsets)
    command = [tool, "-a", "-i", "-e", str(library)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    found: list[list[tuple[str, int]]] = []
    for row in done.stdout.splitlines():
        if row.startswith("0x"):
            found.append([])
            continue
        file, _, line = row.split(" ")[0].rpartition(":")
        if line.isdigit() and int(line) > 0:
            found[-1].append((Path(file).name, int(line)))
    return found
