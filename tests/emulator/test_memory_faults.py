"""Each fault of memory, planted once and found; beside it what looks alike and is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .fault import EmulatorFault, Thread
from .kernels import PRELUDE, kernel, line_of

FLOATS = "const float* x, float* y"


def fault_of(
    emulate: Any, text: str, args: list[Any], *, grid: int = 1, block: int = 64, **options: Any
) -> EmulatorFault:
    with pytest.raises(EmulatorFault) as caught:
        emulate(text).launch("k", grid=(grid,), block=(block,), args=args, **options)
    return caught.value


def passes(
    emulate: Any, text: str, args: list[Any], *, grid: int = 1, block: int = 64, **options: Any
) -> None:
    emulate(text).launch("k", grid=(grid,), block=(block,), args=args, **options)


def floats(n: int) -> np.ndarray[Any, Any]:
    return np.arange(n, dtype=np.float32)


@pytest.mark.parametrize("extent", [63, 1])
def test_a_read_past_a_buffer_is_found_with_its_thread_and_line(emulate, extent):
    text = kernel(FLOATS, "    y[t] =\n        x[t];")
    fault = fault_of(emulate, text, [floats(extent), floats(64)])
    assert (fault.kernel, fault.kind, fault.buffer, fault.index) == ("k", "out_of_bounds", "x", extent)
    assert not fault.write
    assert fault.extent == extent
    assert fault.thread == Thread((0, 0, 0), (extent, 0, 0))
    assert fault.line in (line_of(PRELUDE + text, "y[t] ="), line_of(PRELUDE + text, "x[t];"))
    assert f"x[{extent}], which has {extent} elements" in str(fault)


def test_a_write_in_front_of_a_buffer_is_found(emulate):
    fault = fault_of(emulate, kernel(FLOATS, "y[t - 1] = x[t];"), [floats(64), floats(64)])
    assert (fault.kind, fault.buffer, fault.index, fault.write) == ("out_of_bounds", "y", -1, True)


def test_a_fault_leaves_the_arrays_as_they_were(emulate):
    y = floats(64)
    fault_of(emulate, kernel(FLOATS, "y[t] = 7.0f; y[t + 1] = x[t];"), [floats(64), y])
    assert (y == floats(64)).all()


@pytest.mark.parametrize("offset", [10**3, 10**6, 2**31 - 64, -(2**31)])
def test_an_index_of_any_size_is_out_of_bounds_of_its_own_buffer(emulate, offset):
    args = [floats(64), floats(64), floats(64), offset]
    fault = fault_of(
        emulate, kernel("const float* a, const float* x, float* y, int o", "y[t] = x[t + o];"), args
    )
    assert (fault.kind, fault.buffer, fault.index) == ("out_of_bounds", "x", offset)


def test_a_vector_that_ends_past_a_buffer_is_found(emulate):
    fault = fault_of(
        emulate, kernel(FLOATS, "if (t < 16) store4(y + 4 * t, load4(x, 4 * t));"), [floats(62), floats(64)]
    )
    assert (fault.kind, fault.buffer, fault.index) == ("out_of_bounds", "x", 62)


def test_a_null_pointer_is_found(emulate):
    fault = fault_of(emulate, kernel(FLOATS, "y[t] = x[t];"), [None, floats(64)])
    assert (fault.kind, fault.buffer) == ("out_of_bounds", "null")


def test_an_index_past_shared_memory_is_found(emulate):
    text = kernel(FLOATS, "NETC_SHARED(float, tile, 63); tile[t] = x[t]; y[t] = tile[t];")
    fault = fault_of(emulate, text, [floats(64), floats(64)])
    assert (fault.kind, fault.buffer, fault.index, fault.write) == ("out_of_bounds", "tile", 63, True)


def test_an_index_past_shared_memory_is_not_taken_for_the_next_array(emulate):
    body = """
    NETC_SHARED(float, first, 64);
    NETC_SHARED(float, second, 64);
    second[t] = 0.0f;
    first[t + 100] = x[t];
    y[t] = second[t];"""
    fault = fault_of(emulate, kernel(FLOATS, body), [floats(64), floats(64)])
    assert (fault.kind, fault.buffer, fault.index) == ("out_of_bounds", "first", 100)


def test_an_index_past_an_array_of_registers_is_found(emulate):
    body = "float r[4] = {}; r[t % 5] += x[t]; y[t] = r[0] + r[1] + r[2] + r[3];"
    fault = fault_of(emulate, kernel(FLOATS, body), [floats(64), floats(64)])
    assert (fault.kind, fault.index) == ("out_of_bounds", 4)
    assert "float [4]" in fault.buffer
    assert fault.thread == Thread((0, 0, 0), (4, 0, 0))


def test_an_array_past_the_dynamic_shared_memory_of_the_launch_is_found(emulate):
    body = "NETC_DYNAMIC_SHARED(float, tile, 64); tile[t] = x[t]; y[t] = tile[t];"
    args = [floats(64), floats(64)]
    assert fault_of(emulate, kernel(FLOATS, body), args, shared_bytes=252).kind == "bad_launch"
    passes(emulate, kernel(FLOATS, body), args, shared_bytes=256)


def test_more_static_shared_memory_than_a_block_has_is_found(emulate):
    body = "NETC_SHARED(float, tile, SIZE); NETC_SHARED(float, more, 1024); tile[t] = more[t] = x[t]; y[t] = tile[t];"
    args = [floats(64), floats(64)]
    fault = fault_of(emulate, kernel(FLOATS, body.replace("SIZE", "11 * 1024 + 1")), args)
    assert (fault.kind, fault.buffer) == ("bad_launch", "more")
    passes(emulate, kernel(FLOATS, body.replace("SIZE", "11 * 1024")), args)


@pytest.mark.parametrize("statement", ["v = load4(x + 1)", "store4(y + 2, v)", "v = load4(tile, 3)"])
def test_a_misaligned_vector_is_found(emulate, statement):
    body = f"NETC_SHARED(float, tile, 64); tile[t] = 0; float4 v = {{}}; {statement}; y[t] = v.x;"
    assert fault_of(emulate, kernel(FLOATS, body), [floats(64), floats(64)], block=1).kind == "misaligned"


def test_a_read_of_shared_memory_that_nobody_wrote_is_found(emulate):
    body = """
    NETC_SHARED(float, tile, 64);
    if (t < 63) tile[t] = x[t];
    __syncthreads();
    y[t] = tile[63 - t];"""
    fault = fault_of(emulate, kernel(FLOATS, body), [floats(64), floats(64)])
    assert (fault.kind, fault.buffer, fault.index) == ("uninitialised_shared", "tile", 63)
    assert fault.thread == Thread((0, 0, 0), (0, 0, 0))


def test_what_a_block_wrote_to_shared_memory_is_nothing_to_the_next_block(emulate):
    body = """
    NETC_SHARED(float, tile, 64);
    if (b == 0) tile[t] = x[t];
    __syncthreads();
    y[b * 64 + t] = tile[t];"""
    fault = fault_of(emulate, kernel(FLOATS, body), [floats(64), floats(128)], grid=2)
    assert fault.kind == "uninitialised_shared"
    assert fault.thread is not None
    assert fault.thread.block == (1, 0, 0)


def test_a_read_of_an_output_that_nobody_wrote_is_found_on_request(emulate):
    text, args = kernel(FLOATS, "y[t] += x[t];"), [floats(64), floats(64)]
    fault = fault_of(emulate, text, args, uninitialised=["y"])
    assert (fault.kind, fault.buffer, fault.index) == ("uninitialised_global", "y", 0)
    passes(emulate, text, args)
    passes(emulate, kernel(FLOATS, "y[t] = x[t]; y[t] += 1.0f;"), args, uninitialised=["y"])


def test_a_write_to_a_constant_parameter_is_found(emulate):
    fault = fault_of(emulate, kernel(FLOATS, "((float*)x)[t] = y[t];"), [floats(64), floats(64)])
    assert (fault.kind, fault.buffer, fault.index) == ("read_only", "x", 0)


def test_a_division_by_zero_is_found(emulate):
    text = kernel("int* y, int d", "y[t] = t / d;")
    fault = fault_of(emulate, text, [np.zeros(64, np.int32), 0])
    assert (fault.kind, fault.line) == ("arithmetic", line_of(PRELUDE + text, "t / d"))


def test_a_kernel_that_never_ends_is_stopped(emulate):
    text = kernel("int* y, int n", "volatile int go = n;\n    while (go) {}\n    y[t] = 0;")
    fault = fault_of(emulate, text, [np.zeros(64, np.int32), 1], cpu_seconds=0.1)
    assert (fault.kind, fault.line) == ("timeout", line_of(PRELUDE + text, "while (go)"))


def test_a_stack_that_overflows_is_found(emulate):
    device = """
    __device__ __noinline__ int depth(int n) {
        volatile int room[1024];
        room[n % 1024] = n;
        return n == 0 ? 0 : depth(n - 1) + room[n % 1024];
    }
    """
    fault = fault_of(
        emulate, device + kernel("int* y, int n", "y[t] = depth(n);"), [np.zeros(64, np.int32), 10**6]
    )
    assert (fault.kind, fault.detail) == ("crash", "a thread's stack overflowed")


def test_without_checks_the_processor_still_finds_accesses_outside_of_memory(emulate):
    emulator = emulate(kernel(FLOATS, "y[t] = x[t + 100000];"), checks=False)
    with pytest.raises(EmulatorFault) as caught:
        emulator.launch("k", grid=(1,), block=(64,), args=[floats(64), floats(64)])
    assert (caught.value.kind, caught.value.buffer, caught.value.index) == ("out_of_bounds", "x", 100000)


def test_arrays_that_share_memory_share_it_in_the_emulator(emulate):
    x = floats(64)
    passes(emulate, kernel("float* x, float* y", "x[t] += 1.0f; y[t] *= 2.0f;"), [x, x])
    assert (x == (floats(64) + 1) * 2).all()


def test_views_of_an_array_lie_in_it_where_they_are(emulate):
    x = floats(128)
    passes(emulate, kernel("float* all, float* rest", "all[t] = rest[t];"), [x, x[64:]])
    assert (x == np.tile(floats(64) + 64, 2)).all()
