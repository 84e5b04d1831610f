"""Threads that do not meet: at a barrier, in a shuffle, in a vote, in a matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .fault import EmulatorFault, Thread
from .kernels import PRELUDE, kernel, line_of

PARAMETERS = "const float* x, float* y"


def launch(emulate: Any, body: str, block: Any = (64,)) -> Any:
    """y, 128 floats, behind a kernel of x (0, 1, 2, ...) and y."""
    x, y = np.arange(128, dtype=np.float32), np.zeros(128, np.float32)
    emulate(kernel(PARAMETERS, body, 128)).launch("k", grid=(1,), block=block, args=[x, y])
    return y


def fault_of(emulate: Any, body: str, block: Any = (64,)) -> EmulatorFault:
    with pytest.raises(EmulatorFault) as caught:
        launch(emulate, body, block)
    assert caught.value.kind == "divergence"
    return caught.value


def line(body: str, part: str) -> int:
    return line_of(PRELUDE + kernel(PARAMETERS, body, 128), part)


def test_a_barrier_that_some_threads_left_the_kernel_in_front_of_is_found(emulate):
    body = "if (t == 40) return;\n y[t] = x[t];\n __syncthreads(); // here\n y[t] += 1.0f;"
    fault = fault_of(emulate, body)
    assert "63 of 64 threads wait here; 1 have left" in fault.detail
    assert fault.line == line(body, "// here")
    assert fault.other == Thread((0, 0, 0), (40, 0, 0))


def test_a_barrier_that_some_threads_go_around_is_found(emulate):
    fault = fault_of(emulate, "if (t < 32) __syncthreads(); y[t] = x[t];")
    assert "32 of 64 threads wait here" in fault.detail


def test_threads_that_wait_at_two_barriers_are_found(emulate):
    body = (
        "if (t < 32) {\n __syncthreads(); // first\n } else {\n __syncthreads(); // second\n }\n y[t] = x[t];"
    )
    fault = fault_of(emulate, body)
    assert fault.line == line(body, "// second")
    assert f"line {line(body, '// first')}" in fault.detail


def test_a_barrier_in_a_branch_that_all_threads_take_is_right(emulate):
    body = "NETC_SHARED(float, tile, 64); tile[t] = x[t]; if (x[5] > 1) { __syncthreads(); y[t] = tile[63 - t]; }"
    assert (launch(emulate, body)[:64] == np.arange(64)[::-1]).all()


def test_threads_that_leave_behind_the_last_barrier_are_right(emulate):
    body = "NETC_SHARED(float, tile, 64); tile[t] = x[t]; __syncthreads(); if (t > 9) return; y[t] = tile[63 - t];"
    assert (launch(emulate, body)[:10] == np.arange(63, 53, -1)).all()


def test_a_shuffle_that_some_lanes_do_not_join_is_found(emulate):
    body = "float v = x[t]; if (t % 32 < 16) v = shfl_xor(v, 1); __syncthreads(); y[t] = v;"
    fault = fault_of(emulate, body)
    assert fault.buffer == "shuffle"
    assert "lanes 0000ffff wait in shuffle for lanes ffff0000" in fault.detail


def test_a_shuffle_from_a_lane_that_left_is_found(emulate):
    body = "if (t % 32 == 7) return; y[t] = shfl_xor(x[t], 1);"
    fault = fault_of(emulate, body)
    assert "lane 6 reads lane 7" in fault.detail


def test_a_shuffle_in_part_of_a_warp_from_a_lane_that_never_was_is_found(emulate):
    assert "which does not take part" in fault_of(emulate, "y[t] = shfl_down(x[t], 4);", (24,)).detail


def test_lanes_in_a_shuffle_and_in_a_vote_are_found(emulate):
    body = "if (t % 2) y[t] = shfl_xor(x[t], 2); else y[t] = ballot(x[t] > 3) & 1;"
    fault = fault_of(emulate, body)
    assert "others in" in fault.detail
    assert fault.other is not None


def test_a_mask_without_the_lane_itself_is_found(emulate):
    fault = fault_of(emulate, "y[t] = __shfl_sync(0xffff, x[t], 3);", (32,))
    assert "which is without it" in fault.detail


def test_a_shuffle_among_the_lanes_of_its_mask_is_right(emulate):
    body = "if (t < 16) y[t] = __shfl_sync(0xffff, x[t], 15 - t, 16); else y[t] = -1.0f;"
    assert (launch(emulate, body, (32,))[:32] == [*range(15, -1, -1), *[-1] * 16]).all()


def test_a_matrix_product_without_all_lanes_is_found(emulate):
    body = """
    float d[4] = {};
    const unsigned a[4] = {}, b2[2] = {};
    if (t > 3) mma_m16n8k8_tf32(d, a, b2);
    y[t] = d[0];"""
    assert "mma needs all lanes" in fault_of(emulate, body, (32,)).detail


def test_shuffles_and_votes_give_what_cuda_says(emulate):
    body = """
    const int lane = t & 31;
    float v = shfl(x[t], 5) + 100 * shfl_down(x[t], 3);
    v = v + 1000 * shfl_up(x[t], 2) + 10000 * shfl_xor(x[t], 9);
    y[t] = v;
    y[64 + t] = (ballot(lane % 3 == 0) >> lane & 1) + 2 * any(lane == 40) + 4 * any(lane == 4) + 8 * all(lane < 32)
              + 16 * all(lane < 31);"""
    y = launch(emulate, body)
    warp, lane = np.arange(64) // 32 * 32, np.arange(64) % 32
    down, up = np.where(lane + 3 < 32, lane + 3, lane), np.where(lane >= 2, lane - 2, lane)
    expected = (warp + 5) + 100 * (warp + down) + 1000 * (warp + up) + 10000 * (warp + (lane ^ 9))
    assert (y[:64] == expected).all()
    assert (y[64:] == (lane % 3 == 0) + 4 + 8).all()


def test_lanes_are_counted_through_the_dimensions_of_a_block(emulate):
    body = "const int n = t + 8 * threadIdx.y + 32 * threadIdx.z; y[n] = shfl_xor(x[n], 8);"
    y = launch(emulate, body, (8, 4, 2))
    assert (y[:64] == (np.arange(64) ^ 8)).all()
