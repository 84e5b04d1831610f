"""Builds a library's example with a C compiler, and runs it: on this machine, or on an emulated one."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from netc.runtime.library import Library

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")


@dataclass(frozen=True)
class Machine:
    """A target, the compiler for it, and what runs its programs."""

    target: str
    compiler: tuple[str, ...]
    emulator: tuple[str, ...] = ()

    def build(self, library: Library, *, source: Path | None = None, others: Sequence[Path] = ()) -> Path:
        """The path of the program, compiled without a warning."""
        program = library.folder / "main"
        objects = [path for path in (*library.files, *others) if path.suffix == ".o"]
        main = source or library.folder / "main.c"
        command = [*self.compiler, *WARNINGS, f"-I{library.folder}", main, *objects, "-o", program]
        subprocess.run([*command, "-lm", "-pthread"], check=True)
        return program

    def run(self, program: Path, *arguments: object) -> str:
        """What the program prints."""
        command = [*self.emulator, program, *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout

    def outputs(
        self, library: Library, inputs: Mapping[str, np.ndarray], threads: int = 1
    ) -> dict[str, np.ndarray]:
        """What the example computes of the inputs."""
        program, source, result = (library.folder / name for name in ("main", "in.bin", "out.bin"))
        if not program.exists():
            self.build(library)
        arrays = [inputs[t.name] for t in library.interface.inputs]
        source.write_bytes(b"".join(np.ascontiguousarray(a, "<f4").tobytes() for a in arrays))
        self.run(program, source, result, threads)
        values = np.fromfile(result, "<f4")
        found = {}
        for tensor in library.interface.outputs:
            found[tensor.name], values = values[: tensor.size].reshape(tensor.shape), values[tensor.size :]
        assert values.size == 0
        return found


def native() -> Machine:
    """This machine; skips where it has no C compiler or is not one that libraries are written for."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("libraries are written for Linux on x86-64 and AArch64")
    return Machine("cpu", (compiler,))


def emulated_arm() -> Machine:
    """A 64-bit ARM under QEMU; skips where the cross compiler or the emulator is missing."""
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip("needs aarch64-linux-gnu-gcc and qemu-aarch64")
    return Machine("cpu:aarch64-linux", (compiler, "-static"), (emulator,))


MACHINES = {"native": native, "arm": emulated_arm}


def undefined_symbols(path: Path) -> set[str]:
    """What an object file takes from others."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("there is no nm")
    out = subprocess.run([nm, "-u", os.fspath(path)], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1] for line in out.splitlines()}
