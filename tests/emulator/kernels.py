"""Kernels for the emulator's tests, in pieces that the tests put together."""

from __future__ import annotations

from pathlib import Path

import netc

PRELUDE = (Path(netc.__file__).parent / "backends" / "cuda" / "prelude.cuh").read_text()

COPY = """
extern "C" __global__ void __launch_bounds__(256) copy(const float* __restrict__ x, float* y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i];
}
"""


def kernel(parameters: str, body: str, threads: int = 64) -> str:
    """A kernel named ``k``; ``t`` is the thread's index, ``b`` the block's."""
    return (
        f'extern "C" __global__ void __launch_bounds__({threads}) k({parameters}) {{\n'
        "    const int t = threadIdx.x, b = blockIdx.x; (void)t; (void)b;\n"
        f"{body}\n}}\n"
    )


def line_of(text: str, part: str) -> int:
    """The line, from 1, of the one place where ``part`` stands."""
    assert text.count(part) == 1, part
    return text[: text.index(part)].count("\n") + 1
