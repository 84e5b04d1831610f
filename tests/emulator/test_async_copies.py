"""Asynchronous copies: what lands when, and the faults around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .fault import EmulatorFault
from .kernels import kernel

PIPELINE = """
    NETC_SHARED(float, tile, STAGES * 256);
    for (int s = 0; s < STAGES - 1; ++s) {
        copy_async16(tile, s * 256 + 4 * t, x + s * 256 + 4 * t, true);
        copy_async_commit();
    }
    float sum = 0;
    for (int k = 0; k < n; ++k) {
        copy_async_wait<STAGES - 2>();
        __syncthreads();
        const int next = k + STAGES - 1;
        if (next < n) copy_async16(tile, next % STAGES * 256 + 4 * t, x + next * 256 + 4 * t, true);
        copy_async_commit();
        const float* stage = tile + k % STAGES * 256;
        for (int i = 0; i < 4; ++i) sum += (k + 1) * stage[(255 - 4 * t) - i];
    }
    y[t] = sum;"""


def launch(emulate: Any, body: str, n: int = 0, block: int = 64, arch: int = 90) -> Any:
    x, y = np.arange(256 * max(n, 2), dtype=np.float32), np.zeros(64, np.float32)
    emulator = emulate(kernel("const float* __restrict__ x, float* y, int n", body), arch=arch)
    emulator.launch("k", grid=(1,), block=(block,), args=[x, y, n])
    return y


def kind_of(emulate: Any, body: str, **options: Any) -> str:
    with pytest.raises(EmulatorFault) as caught:
        launch(emulate, body, **options)
    return caught.value.kind


@pytest.mark.parametrize("arch", [70, 80, 120])
@pytest.mark.parametrize("stages", [2, 3, 4])
def test_a_pipeline_of_several_stages_is_right(emulate, stages, arch):
    n = 7
    y = launch(emulate, PIPELINE.replace("STAGES", str(stages)), n, arch=arch)
    tiles = np.arange(n * 256).reshape(n, 64, 4).sum(axis=2)[:, ::-1]
    assert (y == (tiles * np.arange(1, n + 1)[:, None]).sum(axis=0)).all()


@pytest.mark.parametrize(
    ("right", "wrong", "kinds"),
    [
        ("copy_async_wait<STAGES - 2>();", "", {"missing_wait"}),
        ("copy_async_wait<STAGES - 2>();", "copy_async_wait<STAGES - 1>();", {"missing_wait"}),
        ("        __syncthreads();", "", {"missing_wait", "race", "uninitialised_shared"}),
        ("next % STAGES", "next % (STAGES - 1)", {"missing_wait", "race"}),
        (
            "int next = k + STAGES - 1",
            "int next = k + STAGES",
            {"missing_wait", "race", "uninitialised_shared"},
        ),
    ],
)
def test_a_pipeline_with_a_mistake_is_found(emulate, right, wrong, kinds):
    assert right in PIPELINE
    body = PIPELINE.replace(right, wrong).replace("STAGES", "3")
    assert kind_of(emulate, body, n=7) in kinds


def test_a_copy_that_is_waited_for_but_not_followed_by_a_barrier_is_a_race(emulate):
    body = """
    NETC_SHARED(float, tile, 256);
    copy_async16(tile, 4 * t, x + 4 * t, true);
    copy_async_commit();
    copy_async_wait<0>();
    y[t] = tile[t > 0 ? 4 * t - 1 : 0];"""
    assert kind_of(emulate, body) == "race"
    assert (
        launch(emulate, body.replace("<0>();", "<0>(); __syncthreads();")) == [0, *range(3, 255, 4)]
    ).all()


def test_a_wait_lands_only_what_was_committed(emulate):
    body = """
    NETC_SHARED(float, tile, 256);
    copy_async4(tile, t, x + t, true);
    COMMIT copy_async_wait<0>();
    y[t] = tile[t];"""
    assert kind_of(emulate, body.replace("COMMIT", "")) == "missing_wait"
    assert (launch(emulate, body.replace("COMMIT", "copy_async_commit();")) == np.arange(64)).all()


def test_a_copy_over_what_others_still_read_is_a_race(emulate):
    body = """
    NETC_SHARED(float, tile, 64);
    tile[t] = x[t];
    __syncthreads();
    y[t] = tile[(t + 32) % 64];
    BARRIER
    if (t >= 32) copy_async4(tile, t, x + t, true);"""
    assert kind_of(emulate, body.replace("BARRIER", "")) == "race"
    launch(emulate, body.replace("BARRIER", "__syncthreads();"))


def test_an_invalid_copy_reads_nothing_and_brings_zeros(emulate):
    body = """
    NETC_SHARED(float, tile, 256);
    NETC_SHARED(float, pairs, 128);
    copy_async16(tile, 4 * t, t < 32 ? x + 4 * t : x + 1000000, t < 32);
    copy_async8(pairs, 2 * t, x + 2 * t, t % 2 == 0);
    copy_async_commit();
    copy_async_wait<0>();
    y[t] = tile[4 * t + 3] + 1000 * pairs[2 * t + 1];"""
    t = np.arange(64)
    assert (launch(emulate, body) == (t < 32) * (4 * t + 3) + 1000 * (t % 2 == 0) * (2 * t + 1)).all()


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("copy_async16(tile, t, x + 4 * t, true)", "misaligned"),
        ("copy_async16(tile, 4 * t, x + t, true)", "misaligned"),
        ("copy_async16(tile, 4 * t, x + 512 + 4 * t, true)", "out_of_bounds"),
        ("copy_async16(tile, 4 * t + 16, x + 4 * t, true)", "out_of_bounds"),
        ("copy_async4(y, t, x + t, true)", "out_of_bounds"),
    ],
)
def test_a_copy_of_wrong_addresses_is_found(emulate, call, kind):
    assert (
        kind_of(emulate, f"NETC_SHARED(float, tile, 256); y[t] = 0; (void)tile; {call}; copy_async_commit();")
        == kind
    )
