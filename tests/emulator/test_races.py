"""Races, planted one by one and found; next to each the barrier that makes it right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .fault import EmulatorFault, Thread
from .kernels import kernel


def launch(emulate: Any, parameters: str, body: str, grid: int = 1, block: int = 64, arch: int = 90) -> Any:
    """y, 256 floats, behind a kernel of x and y."""
    x, y = np.arange(256, dtype=np.float32), np.zeros(256, np.float32)
    emulate(kernel(parameters, body), arch=arch).launch("k", grid=(grid,), block=(block,), args=[x, y])
    return y


def fault_of(emulate: Any, body: str, **options: Any) -> EmulatorFault:
    with pytest.raises(EmulatorFault) as caught:
        launch(emulate, "const float* x, float* y", body, **options)
    return caught.value


def passes(emulate: Any, body: str, **options: Any) -> Any:
    return launch(emulate, "const float* x, float* y", body, **options)


TILE = "NETC_SHARED(float, tile, 64);"
REVERSED = np.arange(64)[::-1]


def test_two_writes_of_a_word_need_a_barrier(emulate):
    fault = fault_of(emulate, TILE + "tile[t] = 0; tile[(t + 1) % 64] = 1; y[t] = 0;")
    assert (fault.kind, fault.buffer, fault.write) == ("race", "tile", True)
    passes(emulate, TILE + "tile[t] = 0; __syncthreads(); tile[(t + 1) % 64] = 1; y[t] = 0;")


def test_a_read_of_what_a_later_thread_writes_needs_a_barrier(emulate):
    # the lower thread runs first and finds nothing there
    assert fault_of(emulate, TILE + "tile[t] = x[t]; y[t] = tile[t ^ 1];").kind == "uninitialised_shared"
    assert (
        passes(emulate, TILE + "tile[t] = x[t]; __syncthreads(); y[t] = tile[63 - t];")[:64] == REVERSED
    ).all()


def test_a_read_behind_a_write_of_a_lower_thread_is_a_race(emulate):
    fault = fault_of(emulate, TILE + "tile[t] = x[t]; y[t] = tile[t > 0 ? t - 1 : 0];")
    assert (fault.kind, fault.buffer, fault.index, fault.write) == ("race", "tile", 0, False)
    assert fault.thread == Thread((0, 0, 0), (1, 0, 0))
    assert fault.other == Thread((0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize("between", ["", "__syncwarp();"])
def test_a_write_over_what_another_warp_still_reads_is_a_race(emulate, between):
    body = TILE + "tile[t] = x[t]; __syncthreads(); y[t] = tile[t]; BETWEEN if (t == 0) tile[63] = 0;"
    fault = fault_of(emulate, body.replace("BETWEEN", between))
    assert (fault.kind, fault.buffer, fault.index, fault.write) == ("race", "tile", 63, True)
    assert (fault.thread, fault.other) == (Thread((0, 0, 0), (0, 0, 0)), Thread((0, 0, 0), (63, 0, 0)))
    passes(emulate, body.replace("BETWEEN", "__syncthreads();"))


def test_an_exchange_within_a_warp_needs_a_syncwarp(emulate):
    body = TILE + "tile[t] = x[t]; %s y[t] = tile[t < 1 ? 0 : t - 1]; %s tile[t] = y[t];"
    assert fault_of(emulate, body % ("", ""), block=32).kind == "race"
    assert fault_of(emulate, body % ("__syncwarp();", ""), block=32).kind == "race"
    passes(emulate, body % ("__syncwarp();", "__syncwarp();"), block=32)


def test_a_shuffle_orders_no_memory(emulate):
    fault = fault_of(
        emulate, TILE + "tile[t] = x[t]; float v = shfl_xor(x[t], 1); y[t] = v + tile[t ^ 1];", block=32
    )
    assert fault.kind == "race"


def test_a_syncwarp_of_some_lanes_orders_those_only(emulate):
    body = TILE + "tile[t] = x[t]; if (t < 16) { __syncwarp(0xffff); y[t] = tile[%s]; }"
    passes(emulate, body % "15 - t", block=32)
    # lane 16 stores behind or in front of lane 0's read
    assert fault_of(emulate, body % "t + 16", block=32).kind in ("race", "uninitialised_shared")


def test_a_write_after_the_reads_of_many_is_a_race_with_any_of_them(emulate):
    body = TILE + "tile[t] = x[t]; __syncthreads(); y[t] = tile[0]; %s if (t == 0) tile[0] = 5.0f;"
    fault = fault_of(emulate, body.replace("t == 0", "t == 63") % "")
    assert (fault.kind, fault.index) == ("race", 0)
    passes(emulate, body % "__syncthreads();")


def test_barriers_in_a_loop_keep_a_double_buffer_right(emulate):
    body = """
    NETC_SHARED(float, tile, 128);
    float sum = 0;
    for (int k = 0; k < 4; ++k) {
        tile[k %% 2 * 64 + t] = x[k * 64 + t];
        %s
        sum += tile[k %% 2 * 64 + 63 - t];
    }
    y[t] = sum;"""
    y = passes(emulate, body % "__syncthreads();")
    assert (y[:64] == sum(k * 64 + REVERSED for k in range(4))).all()
    single = body.replace("k %% 2 * 64 + ", "")
    assert fault_of(emulate, single % "__syncthreads();").kind == "race"


def test_blocks_that_write_one_word_race(emulate):
    fault = fault_of(emulate, "if (t == 0) y[5] = b;", grid=2)
    assert (fault.kind, fault.buffer, fault.index, fault.write) == ("race", "y", 5, True)
    assert fault.thread == Thread((1, 0, 0), (0, 0, 0))
    assert fault.other == Thread((0, 0, 0), (0, 0, 0))


def test_a_block_cannot_read_what_another_wrote(emulate):
    fault = fault_of(emulate, "if (b == 0) y[t] = x[t]; else y[64 + t] = y[t];", grid=2)
    assert (fault.kind, fault.buffer, fault.write) == ("race", "y", False)


@pytest.mark.parametrize("readers", ["b == 0", "b < 2"])
def test_a_block_cannot_write_what_another_read(emulate, readers):
    fault = fault_of(emulate, f"if ({readers}) y[64 + b * 64 + t] = y[t]; else y[t] = 1.0f;", grid=3)
    assert (fault.kind, fault.buffer, fault.index, fault.write) == ("race", "y", 0, True)


def test_threads_of_a_block_exchange_through_global_memory_behind_a_barrier(emulate):
    body = "float* z = y + b * 64; z[t] = x[t]; %s float v = z[t > 0 ? t - 1 : 0]; %s z[t] = v;"
    assert fault_of(emulate, body % ("", "__syncthreads();"), grid=2).kind == "race"
    assert fault_of(emulate, body % ("__syncthreads();", ""), grid=2).kind == "race"
    passes(emulate, body % ("__syncthreads();", "__syncthreads();"), grid=2)


def test_neighbouring_bytes_and_halves_are_no_race(emulate):
    text = kernel(
        "unsigned char* bytes, unsigned short* halves",
        "NETC_SHARED(unsigned short, tile, 64); tile[t] = t; bytes[t] = t; halves[t] = tile[t];",
    )
    halves, numbers = np.zeros(64, np.uint16), np.zeros(64, np.uint8)
    emulate(text).launch("k", grid=(1,), block=(64,), args=[numbers, halves])
    assert (halves == np.arange(64)).all()
    assert (numbers == np.arange(64)).all()


def test_a_reuse_of_dynamic_shared_memory_needs_a_barrier(emulate):
    body = """
    NETC_DYNAMIC_SHARED(float, first, 64);
    first[t] = x[t];
    __syncthreads();
    float v = first[63 - t];
    %s
    NETC_DYNAMIC_SHARED_AT(unsigned short, second, 0, 128);
    second[2 * t] = 1;
    second[2 * t + 1] = 2;
    y[t] = v + second[2 * t];"""
    args = [np.arange(64, dtype=np.float32), np.zeros(64, np.float32)]

    def run(between: str) -> None:
        text = kernel("const float* x, float* y", body % between)
        emulate(text).launch("k", grid=(1,), block=(64,), args=args, shared_bytes=256)

    with pytest.raises(EmulatorFault, match="race"):
        run("")
    run("__syncthreads();")
    assert (args[1] == REVERSED + 1).all()
