"""Kernels as they should be: NumPy's numbers, and no false alarm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .kernels import COPY

Array = np.ndarray[Any, Any]

REDUCE = """
extern "C" __global__ void __launch_bounds__(256) reduce(const float* __restrict__ x, float* y, int n) {
    NETC_SHARED(float, scratch, 32);
    float sum = 0.0f, most = netc_max::identity();
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        sum += x[blockIdx.x * n + i];
        most = fmaxf(most, x[blockIdx.x * n + i]);
    }
    sum = block_reduce(sum, scratch, netc_sum());
    most = block_reduce(most, scratch, netc_max());
    if (threadIdx.x == 0) store2(y + 2 * blockIdx.x, make_float2(sum, most));
}
"""

TREE = """
extern "C" __global__ void __launch_bounds__(128) tree(const float* __restrict__ x, float* y) {
    NETC_SHARED(float, tile, 128);
    const int t = threadIdx.x;
    tile[t] = x[blockIdx.x * 128 + t];
    __syncthreads();
    for (int half = 64; half >= 32; half /= 2) {
        if (t < half) tile[t] += tile[t + half];
        __syncthreads();
    }
    if (t < 32) {
        for (int half = 16; half > 0; half /= 2) {
            const float other = tile[(t + half) % 32];
            __syncwarp();
            tile[t] += other;
            __syncwarp();
        }
    }
    if (t == 0) y[blockIdx.x] = tile[0];
}
"""

TRANSPOSE = """
extern "C" __global__ void __launch_bounds__(256) transpose(const float* __restrict__ x, float* y, int rows, int columns) {
    NETC_SHARED(float, tile, 32 * 33);
    int column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32;
    for (int i = threadIdx.y; i < 32; i += 8)
        if (column < columns && row + i < rows) tile[i * 33 + threadIdx.x] = x[(row + i) * columns + column];
    __syncthreads();
    row = blockIdx.y * 32 + threadIdx.x;
    column = blockIdx.x * 32;
    for (int i = threadIdx.y; i < 32; i += 8)
        if (row < rows && column + i < columns) y[(column + i) * rows + row] = tile[threadIdx.x * 33 + i];
}
"""

# c[m][n] = a[m][k] b[k][n], any sizes: a block computes 64 x 64, a thread 4 x 4.
GEMM = """
extern "C" __global__ void __launch_bounds__(256)
gemm(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m, int n, int k) {
    NETC_SHARED(float, as, 16 * 68);
    NETC_SHARED(float, bs, 16 * 64);
    const int t = threadIdx.x, tx = t % 16, ty = t / 16, row0 = blockIdx.y * 64, column0 = blockIdx.x * 64;
    float sum[4][4] = {};
    for (int k0 = 0; k0 < k; k0 += 16) {
        for (int i = t; i < 1024; i += 256) {
            const int row = row0 + i / 16, kk = k0 + i % 16, column = column0 + i % 64;
            as[i % 16 * 68 + i / 16] = row < m && kk < k ? a[row * k + kk] : 0.0f;
            bs[i] = column < n && k0 + i / 64 < k ? b[(k0 + i / 64) * n + column] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < 16; ++kk) {
            const float4 x = load4(as, kk * 68 + ty * 4), y = load4(bs, kk * 64 + tx * 4);
            const float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] = fmaf(xs[i], ys[j], sum[i][j]);
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) {
            const int row = row0 + ty * 4 + i, column = column0 + tx * 4 + j;
            if (row < m && column < n) c[row * n + column] = sum[i][j];
        }
}
"""

# c[m][n] = a[m][k] b[n][k]^T of bf16 operands, m and n multiples of 32, k of 32: four warps compute 16 x 16 each.
# Three stages of asynchronous copies; 16-byte pieces of a row of 32 lie swizzled by the row, fragments by ldmatrix.
TENSOR_GEMM = """
extern "C" __global__ void __launch_bounds__(128)
tensor_gemm(const unsigned short* __restrict__ a, const unsigned short* __restrict__ b, float* __restrict__ c, int n, int k) {
    constexpr int STAGES = 3, STAGE = 32 * 32;
    NETC_DYNAMIC_SHARED(unsigned short, as, STAGES * STAGE);
    NETC_DYNAMIC_SHARED_AT(unsigned short, bs, STAGES * STAGE * 2, STAGES * STAGE);
    const int t = threadIdx.x, lane = t % 32, warp = t / 32;
    const int row0 = blockIdx.y * 32, column0 = blockIdx.x * 32;
    const int row = t / 4, piece = t % 4, swizzled = row * 32 + (piece ^ (row / 2 & 3)) * 8;
    const int steps = k / 32;
    for (int s = 0; s < STAGES - 1; ++s) {
        copy_async16(as, s * STAGE + swizzled, a + (row0 + row) * k + s * 32 + piece * 8, s < steps);
        copy_async16(bs, s * STAGE + swizzled, b + (column0 + row) * k + s * 32 + piece * 8, s < steps);
        copy_async_commit();
    }
    float sum[2][4] = {};
    for (int step = 0; step < steps; ++step) {
        copy_async_wait<STAGES - 2>();
        __syncthreads();
        const int next = step + STAGES - 1, to = next % STAGES * STAGE + swizzled;
        if (next < steps) {
            copy_async16(as, to, a + (row0 + row) * k + next * 32 + piece * 8, true);
            copy_async16(bs, to, b + (column0 + row) * k + next * 32 + piece * 8, true);
        }
        copy_async_commit();
        const unsigned short* at = as + step % STAGES * STAGE;
        const unsigned short* bt = bs + step % STAGES * STAGE;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int arow = warp / 2 * 16 + lane % 16, apiece = half * 2 + lane / 16;
            unsigned x[4], y[4];
            ldmatrix_x4(x, at + arow * 32 + (apiece ^ (arow / 2 & 3)) * 8);
            const int brow = warp % 2 * 16 + lane % 8 + lane / 16 * 8, bpiece = half * 2 + lane / 8 % 2;
            ldmatrix_x4(y, bt + brow * 32 + (bpiece ^ (brow / 2 & 3)) * 8);
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                const unsigned yj[2] = {y[2 * j], y[2 * j + 1]};
                mma_m16n8k16_bf16(sum[j], x, yj);
            }
        }
    }
    for (int j = 0; j < 2; ++j) {
        float* at = c + (row0 + warp / 2 * 16 + lane / 4) * n + column0 + warp % 2 * 16 + j * 8 + lane % 4 * 2;
        store2(at, make_float2(sum[j][0], sum[j][1]));
        store2(at + 8 * n, make_float2(sum[j][2], sum[j][3]));
    }
}
"""


def random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("checks", [True, False])
def test_a_million_elements_are_copied(emulate, checks):
    n = 10**6
    x, y = random(n), np.full(n, np.nan, np.float32)
    emulator = emulate(COPY, checks=checks)
    emulator.launch("copy", grid=(-(-n // 256),), block=(256,), args=[x, y, n], uninitialised=["y"])
    assert (x == y).all()


@pytest.mark.parametrize("threads", [32, 96, 256])
def test_a_block_reduces_by_shuffles(emulate, threads):
    x, y = random(5, 777), np.zeros((5, 2), np.float32)
    emulate(REDUCE).launch("reduce", grid=(5,), block=(threads,), args=[x, y, 777])
    np.testing.assert_allclose(y[:, 0], x.astype(np.float64).sum(axis=1), rtol=1e-5)
    assert (y[:, 1] == x.max(axis=1)).all()


def test_a_block_reduces_through_shared_memory(emulate):
    x, y = random(3, 128), np.zeros(3, np.float32)
    emulate(TREE).launch("tree", grid=(3,), block=(128,), args=[x, y])
    np.testing.assert_allclose(y, x.astype(np.float64).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(64, 32), (45, 70)])
def test_tiles_are_transposed(emulate, rows, columns):
    x, y = random(rows, columns), np.zeros((columns, rows), np.float32)
    grid = (-(-columns // 32), -(-rows // 32))
    emulate(TRANSPOSE).launch("transpose", grid=grid, block=(32, 8), args=[x, y, rows, columns])
    assert (y == x.T).all()


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("sizes", [(64, 64, 64), (100, 70, 37)])
def test_tiles_are_multiplied(emulate, sizes, checks):
    m, n, k = sizes
    a, b, c = random(m, k), random(k, n), np.full((m, n), np.nan, np.float32)
    grid = (-(-n // 64), -(-m // 64))
    emulate(GEMM, checks=checks).launch("gemm", grid=grid, block=(256,), args=[a, b, c, m, n, k])
    np.testing.assert_allclose(c, a.astype(np.float64) @ b, atol=2e-5)


@pytest.mark.parametrize("k", [32, 64, 160])
def test_tensor_cores_multiply_behind_a_pipeline_of_copies(emulate, k):
    m, n = 64, 96
    a, b = ((random(size, k).view(np.uint32) >> 16).astype(np.uint16) for size in (m, n))
    c = np.zeros((m, n), np.float32)
    exact = [(v.astype(np.uint32) << 16).view(np.float32).astype(np.float64) for v in (a, b)]
    emulate(TENSOR_GEMM).launch(
        "tensor_gemm",
        grid=(n // 32, m // 32),
        block=(128,),
        args=[a, b, c, n, k],
        shared_bytes=3 * 32 * 32 * 4,
    )
    np.testing.assert_allclose(c, exact[0] @ exact[1].T, atol=1e-4)
