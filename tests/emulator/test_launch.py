"""What a launch refuses, how kernels are found in a text, and what the cache of libraries does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from . import compiler
from .compiler import CompileError
from .emulator import Emulator
from .kernels import COPY, kernel
from .signatures import Parameter, find_kernels


def floats(n: int) -> np.ndarray:
    return np.zeros(n, np.float32)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([floats(4), floats(4)], "takes 3 arguments, got 2"),
        ([np.zeros(4), floats(4), 4], "x takes float, got an array of float64"),
        ([3.0, floats(4), 4], "x takes an array, got float"),
        ([floats(4), floats(8)[::2], 4], "y: the array is not contiguous"),
        ([floats(4), floats(4), 4.5], "n takes a int, got 4.5"),
        ([floats(4), floats(4), floats(4)], "n takes a int, got an array"),
        ([floats(4), np.broadcast_to(floats(1), (4,))[:1], 4], "read-only, the parameter is not const"),
    ],
)
def test_arguments_that_do_not_fit_the_parameters_are_refused(emulate, args, message):
    with pytest.raises(TypeError, match=message):
        emulate(COPY).launch("copy", grid=(1,), block=(32,), args=args)


def test_uninitialised_buffers_have_names_of_parameters(emulate):
    with pytest.raises(TypeError, match=r"no buffer \['z'\]"):
        emulate(COPY).launch(
            "copy", grid=(1,), block=(32,), args=[floats(4), floats(4), 4], uninitialised=["z"]
        )


@pytest.mark.parametrize(
    ("grid", "block", "message"),
    [
        ((1,), (512,), "512 threads in a block, __launch_bounds__ says 256"),
        ((1,), (64, 32), "2048 threads"),
        ((0,), (32,), "no device runs"),
        ((1, 65536), (32,), "no device runs"),
        ((1,), (1, 1, 128), "at most 1024"),
    ],
)
def test_extents_that_no_device_runs_are_refused(emulate, grid, block, message):
    with pytest.raises(ValueError, match=message):
        emulate(COPY).launch("copy", grid=grid, block=block, args=[floats(4), floats(4), 4])


def test_more_dynamic_shared_memory_than_the_architecture_has_is_refused(emulate):
    args = [floats(4), floats(4), 4]
    for arch, most in ((75, 64), (90, 227), (120, 99)):
        emulator = emulate(COPY, arch=arch)
        emulator.launch("copy", grid=(1,), block=(32,), args=args, shared_bytes=most * 1024)
        with pytest.raises(ValueError, match=f"sm_{arch} has {most} KiB"):
            emulator.launch("copy", grid=(1,), block=(32,), args=args, shared_bytes=most * 1024 + 1)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="sm_61 is none of"):
        Emulator(COPY, arch=61)


def test_text_that_is_no_kernel_is_refused_with_the_compilers_words(emulate):
    with pytest.raises(CompileError, match="not_declared"):
        emulate(kernel("float* y", "y[t] = not_declared;"))


def test_atomics_are_unknown(emulate):
    with pytest.raises(CompileError, match="atomicAdd"):
        emulate(kernel("float* y", "atomicAdd(y, 1.0f);"))


def test_all_scalars_arrive(emulate):
    body = "y[0] = a; y[1] = b2; y[2] = c; y[3] = d; y[4] = e; y[5] = f;"
    text = kernel("float* y, int a, float b2, unsigned c, long long d, double e, bool f", body)
    y = floats(6)
    emulate(text).launch("k", grid=(1,), block=(1,), args=[y, -3, 0.5, 2**31, -(2**40), 0.25, True])
    assert y.tolist() == [-3, 0.5, 2**31, -(2**40), 0.25, 1]


def test_indices_and_extents_are_those_of_the_launch(emulate):
    body = """
    const int block = b + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const int thread = t + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const int threads = blockDim.x * blockDim.y * blockDim.z;
    y[block * threads + thread] = block * 1000 + thread;"""
    grid, block = (3, 2, 2), (5, 3, 2)
    y = np.zeros((12, 30), np.int32)
    emulate(kernel("int* y", body)).launch("k", grid=grid, block=block, args=[y])
    assert (y == np.arange(12)[:, None] * 1000 + np.arange(30)).all()


def test_an_empty_array_is_a_null_pointer(emulate):
    y = floats(1)
    emulate(kernel("const float* x, float* y", "y[0] = x == nullptr;")).launch(
        "k", grid=(1,), block=(1,), args=[floats(0), y]
    )
    assert y[0] == 1


def test_kernels_are_found_with_their_parameters():
    text = """
    /* extern "C" __global__ void not_me(int a) {} */
    __device__ float helper(float v) { return v; }
    extern "C" __global__ void __launch_bounds__(256, 2)
    first(const float* __restrict__ x,  // in
          unsigned short *y, long long n) { }
    extern "C" __global__ void second() {}
    """
    kernels = find_kernels(text)
    assert list(kernels) == ["first", "second"]
    assert kernels["first"].max_threads == 256
    assert kernels["first"].parameters == (
        Parameter("x", "float", True, True),
        Parameter("y", "unsigned short", True, False),
        Parameter("n", "long long", False, False),
    )
    assert kernels["second"].max_threads is None


def test_a_library_is_compiled_once(emulate, tmp_path, monkeypatch):
    monkeypatch.setenv("NETC_EMULATOR_CACHE", str(tmp_path))
    first = emulate(COPY)
    made = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert first.path in made
    assert emulate(COPY).path == first.path
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == made
    assert emulate(COPY, arch=80).path != first.path


def test_without_a_compiler_the_reason_is_said(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    compiler.missing.cache_clear()
    try:
        assert "no-such-compiler" in str(compiler.missing())
        with pytest.raises(RuntimeError, match="no-such-compiler"):
            Emulator(COPY)
    finally:
        monkeypatch.undo()
        compiler.missing.cache_clear()


def test_the_emulator_knows_every_wrapper_of_the_prelude():
    prelude = (Path(compiler.__file__).parents[2] / "netc" / "backends" / "cuda" / "prelude.cuh").read_text()
    device = prelude[prelude.index("#ifndef NETC_EMULATOR") : prelude.index("#endif  // NETC_EMULATOR")]
    header = (compiler.RUNTIME / "emulator.h").read_text()
    names = {
        line.split("(")[0].split()[-1]
        for line in device.splitlines()
        if "NETC_DEVICE" in line and "(" in line
    }
    names -= {"netc_shared_address"}  # of the device's wrappers alone
    assert len(names) > 20
    assert {n for n in names if f" {n}(" not in header} == set()
