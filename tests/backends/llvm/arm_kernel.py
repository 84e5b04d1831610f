"""Runs one kernel for 64-bit ARM under QEMU, on memory that ends where a forbidden page begins.

The threads of a launch run one after the other: kernels share no work but by their number.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TARGET = "cpu:aarch64-linux"
TIMEOUT_S = 300

# file: threads, number of memories, their sizes, number of slots, for each the index of a memory or -1, and the
# offset or value; then the memories, which are written back
DRIVER = r"""
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MOST 64
#define PAGE 4096l /* QEMU's, unless it is told another */

void kernel(int64_t *slots, int64_t tid, int64_t nth);

static int64_t words[2 * MOST + MOST + 8], slots[MOST], sizes[MOST];
static char *places[MOST];

static int64_t word(FILE *file) {
    int64_t value;
    return fread(&value, sizeof value, 1, file) == 1 ? value : -1;
}

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "r+b") : NULL;
    if (!file)
        return 1;
    int64_t threads = word(file), memories = word(file);
    for (int i = 0; i < memories; i++)
        sizes[i] = word(file);
    int64_t count = word(file);
    for (int i = 0; i < count; i++)
        words[2 * i] = word(file), words[2 * i + 1] = word(file);
    long begin = ftell(file);
    for (int i = 0; i < memories; i++) {
        long whole = (sizes[i] + PAGE - 1) / PAGE * PAGE;
        char *at = mmap(NULL, whole + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED || mprotect(at + whole, PAGE, PROT_NONE) != 0)
            return 2;
        places[i] = at + whole - sizes[i];
        if (fread(places[i], 1, sizes[i], file) != (size_t)sizes[i])
            return 3;
    }
    for (int i = 0; i < count; i++)
        slots[i] = words[2 * i] < 0 ? words[2 * i + 1] : (int64_t)places[words[2 * i]] + words[2 * i + 1];
    __asm__ volatile("msr fpcr, %0" ::"r"((int64_t)1 << 24)); /* subnormals are zeros, as in a run */
    for (int64_t tid = 0; tid < threads; tid++)
        kernel(slots, tid, threads);
    fseek(file, begin, SEEK_SET);
    for (int i = 0; i < memories; i++)
        if (fwrite(places[i], 1, sizes[i], file) != (size_t)sizes[i])
            return 4;
    return fclose(file) != 0;
}
"""


def wanted() -> bool:
    """Whether the tests of kernels are to run for ARM too: it takes minutes, so only on request."""
    return bool(os.environ.get("NETC_EMULATE_ARM"))


class EmulatedKernel:
    """The object file of a kernel named ``kernel``, linked with a driver."""

    def __init__(self, code: bytes) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="netc-arm-")
        folder = Path(self._folder.name)
        (folder / "kernel.o").write_bytes(code)
        self._program, self._file = folder / "run", folder / "memory.bin"
        driver = Path(_driver_folder().name) / "driver.o"
        _cross_compile("-static", driver, folder / "kernel.o", "-o", self._program, "-lm")

    def run(
        self,
        memories: Sequence[npt.NDArray[Any]],
        slots: Sequence[tuple[int, int]],
        threads: int,
    ) -> None:
        """Run on flat arrays, which are changed in place; slots as the driver reads them."""
        head = [threads, len(memories), *(m.nbytes for m in memories), len(slots), *sum(slots, ())]
        header = np.array(head, np.int64).tobytes()
        self._file.write_bytes(header + b"".join(m.tobytes() for m in memories))
        emulator = shutil.which("qemu-aarch64") or "qemu-aarch64"
        subprocess.run([emulator, self._program, self._file], check=True, timeout=TIMEOUT_S)
        content = self._file.read_bytes()[len(header) :]
        for memory in memories:
            memory[...] = np.frombuffer(content[: memory.nbytes], memory.dtype)
            content = content[memory.nbytes :]


@functools.cache
def _driver_folder() -> tempfile.TemporaryDirectory[str]:
    """Where the driver's object file lies; it is compiled once."""
    folder = tempfile.TemporaryDirectory(prefix="netc-arm-driver-")
    source = Path(folder.name) / "driver.c"
    source.write_text(DRIVER)
    _cross_compile("-O1", "-c", source, "-o", source.with_suffix(".o"))
    return folder


def _cross_compile(*arguments: object) -> None:
    subprocess.run(["aarch64-linux-gnu-gcc", *map(str, arguments)], check=True)
