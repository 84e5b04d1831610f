"""The profile: bank conflicts and sectors of accesses whose cost is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .kernels import PRELUDE, kernel, line_of
from .profile import LineTraffic
from .test_correct_kernels import TENSOR_GEMM, TRANSPOSE


def profile(emulate: Any, body: str, threads: int = 64) -> dict[tuple[int, bool, bool], LineTraffic]:
    """The traffic by line, shared and write, of a kernel on x (floats) and y."""
    text = kernel("const float* __restrict__ x, float* y", body)
    x, y = np.zeros(4096, np.float32), np.zeros(4096, np.float32)
    found = emulate(text).profile("k", grid=(3,), block=(threads,), args=[x, y])
    return {(f.line, f.shared, f.write): f for f in found}


def line(body: str, part: str) -> int:
    return line_of(PRELUDE + kernel("const float* __restrict__ x, float* y", body), part)


@pytest.mark.parametrize(
    ("index", "degree"),
    [
        ("t", 1),
        ("2 * t", 2),
        ("32 * t", 32),
        ("33 * t", 1),
        ("0", 1),
        ("t / 2 * 32 + t % 2", 16),
        ("t % 32 * 16", 16),
    ],
)
def test_lanes_that_meet_in_a_bank_take_turns(emulate, index, degree):
    body = f"""
    NETC_SHARED(float, tile, 33 * 64);
    for (int i = t; i < 33 * 64; i += 64) tile[i] = 0; // fill
    __syncthreads();
    y[b * 64 + t] = tile[{index}]; // read"""
    found = profile(emulate, body)[line(body, "// read"), True, False]
    assert (found.requests, found.least, found.transactions) == (2, 2, 2 * degree)
    assert found.excess == degree
    assert profile(emulate, body)[line(body, "// fill"), True, True].excess == 1


@pytest.mark.parametrize(("stride", "passes"), [(4, 1), (8, 2), (36, 1), (32, 8)])
def test_a_quarter_of_a_warp_reads_16_bytes_each_in_a_pass(emulate, stride, passes):
    body = f"""
    NETC_SHARED(float, tile, 36 * 64);
    for (int i = t; i < 36 * 64; i += 64) tile[i] = 0;
    __syncthreads();
    store4(y + b * 256 + 4 * t, load4(tile, t * {stride})); // read"""
    found = profile(emulate, body)[line(body, "// read"), True, False]
    assert (found.bytes, found.requests, found.least, found.transactions) == (16, 2, 8, 8 * passes)


@pytest.mark.parametrize(
    ("index", "sectors", "least"), [("t", 4, 4), ("8 * t", 32, 4), ("t + 1", 5, 4), ("0", 1, 1)]
)
def test_sectors_of_global_memory_are_counted(emulate, index, sectors, least):
    body = f"\n    const float v = x[{index}]; // read\n    y[b * 64 + t] = v;"
    found = profile(emulate, body, 32)[line(body, "// read"), False, False]
    assert (found.requests, found.transactions, found.least) == (1, sectors, least)


def test_lanes_that_stay_away_cost_nothing(emulate):
    body = "\n    if (t < 8) y[b * 64 + t] = x[t]; // here"
    found = profile(emulate, body)
    assert found[line(body, "// here"), False, True].transactions == 1
    assert found[line(body, "// here"), False, False].requests == 1


def test_padding_and_swizzles_avoid_conflicts(emulate):
    x = np.zeros((64, 64), np.float32)
    halves = np.zeros((64, 64), np.uint16)
    padded = emulate(TRANSPOSE).profile("transpose", grid=(2, 2), block=(32, 8), args=[x, x.copy(), 64, 64])
    plain = emulate(TRANSPOSE.replace("33", "32")).profile(
        "transpose", grid=(2, 2), block=(32, 8), args=[x, x.copy(), 64, 64]
    )
    assert [f.excess for f in padded] == [1.0] * 4
    assert sorted(f.excess for f in plain) == [1.0, 1.0, 1.0, 32.0]
    swizzled = emulate(TENSOR_GEMM).profile(
        "tensor_gemm",
        grid=(2, 2),
        block=(128,),
        args=[halves, halves, x, 64, 64],
        shared_bytes=3 * 32 * 32 * 4,
    )
    assert {f.excess for f in swizzled} == {1.0}
