"""Products of warpgroups: right ones against NumPy, and the faults of those that are not fenced or waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc

from .fault import EmulatorFault
from .kernels import kernel
from .test_tensor_cores import rounded_tf32

WRAPPERS = (Path(netc.__file__).parent / "backends" / "cuda" / "wgmma.cuh").read_text()
COLUMNS = 64
BODY = """
    NETC_DYNAMIC_SHARED_AT(float, a, 0, 64 * 32);
    NETC_DYNAMIC_SHARED_AT(float, w, 64 * 32 * 4, 64 * 32);
    for (int i = t; i < 64 * 32; i += 128) {
        copy_async4(a, wgmma_place(i / 32, i % 32), x + i, true);
        w[wgmma_place(i / 32, i % 32)] = y[i];
    }
    float sum[8][4] = {};
    copy_async_commit();
    copy_async_wait<0>();
    wgmma_publish();
    __syncthreads();
    wgmma_fence();
    for (int k = 0; k < 32; k += 8) wgmma_tf32(sum, a + k, w + k);
    wgmma_commit();
    wgmma_wait<0>();
    __syncthreads();
    a[t] = 0;
    for (int j = 0; j < 8; ++j)
        for (int e = 0; e < 4; ++e)
            c[(t / 32 * 16 + t % 32 / 4 + e / 2 * 8) * 64 + j * 8 + t % 4 * 2 + e % 2] = sum[j][e];"""


def launch(emulate: Any, body: str, arch: int = 90) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(2)
    x, y = (rng.standard_normal((64, 32)).astype(np.float32) for _ in range(2))
    c = np.zeros((64, COLUMNS), np.float32)
    text = WRAPPERS + kernel("const float* __restrict__ x, const float* __restrict__ y, float* c", body, 128)
    emulate(text, arch=arch).launch("k", grid=(1,), block=(128,), args=[x, y, c], shared_bytes=16384)
    return x, y, c


def truncated(x: Any) -> Any:
    return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def test_a_product_sees_the_bits_of_tf32_alone(emulate: Any) -> None:
    x, y, c = launch(emulate, BODY)
    np.testing.assert_allclose(c, truncated(x) @ truncated(y).T, atol=1e-5)
    assert abs(c - rounded_tf32(x).astype(np.float64) @ rounded_tf32(y).T).max() > 1e-4


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("    wgmma_publish();\n", ""),
        ("    wgmma_publish();\n    __syncthreads();", "    __syncthreads();\n    wgmma_publish();"),
        ("    copy_async_wait<0>();\n", ""),
        ("    __syncthreads();\n", ""),
        ("    __syncthreads();\n    a[t]", "    a[t]"),
        ("    wgmma_commit();\n    wgmma_wait<0>();\n", ""),
        ("wgmma_wait<0>", "wgmma_wait<1>"),
        ("    wgmma_fence();\n", ""),
        ("    wgmma_wait<0>();\n    __syncthreads();\n    a[t] = 0;\n", ""),
        ("k < 32", "k < 40"),
        ("i / 32, i % 32)] = y", "i / 32, i % 31)] = y"),
        ("wgmma_tf32(sum, a + k, w + k);", "if (t % 32) wgmma_tf32(sum, a + k, w + k);"),
    ],
)
def test_what_a_product_needs_is_missed(emulate: Any, right: str, wrong: str) -> None:
    assert right in BODY
    with pytest.raises(EmulatorFault):
        launch(emulate, BODY.replace(right, wrong, 1))
