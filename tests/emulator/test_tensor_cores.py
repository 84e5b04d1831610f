"""Matrix products of a warp against NumPy, with the operands rounded as the tensor cores take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .kernels import kernel

Array = np.ndarray[Any, Any]


def rounded_tf32(x: Array) -> Array:
    return ((x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def rounded_bf16(x: Array) -> Array:
    bits = x.view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + (bits >> 16 & np.uint32(1))) & np.uint32(0xFFFF0000)).view(np.float32)


def rounded_f16(x: Array) -> Array:
    return x.astype(np.float16).astype(np.float32)


# Fragments as the PTX ISA lays them out, written down here a second time, by element.
TF32 = """
    const int g = t / 4, i = t % 4;
    float d[4] = {c[g * 8 + 2 * i], c[g * 8 + 2 * i + 1], c[(g + 8) * 8 + 2 * i], c[(g + 8) * 8 + 2 * i + 1]};
    const unsigned x[4] = {to_tf32(a[g * 8 + i]), to_tf32(a[(g + 8) * 8 + i]), to_tf32(a[g * 8 + i + 4]),
                           to_tf32(a[(g + 8) * 8 + i + 4])};
    const unsigned y[2] = {to_tf32(w[i * 8 + g]), to_tf32(w[(i + 4) * 8 + g])};
    mma_m16n8k8_tf32(d, x, y);
    store2(c + g * 8 + 2 * i, make_float2(d[0], d[1]));
    store2(c + (g + 8) * 8 + 2 * i, make_float2(d[2], d[3]));"""

SIXTEEN = """
    const int g = t / 4, i = 2 * (t % 4);
    float d[4] = {c[g * 8 + i], c[g * 8 + i + 1], c[(g + 8) * 8 + i], c[(g + 8) * 8 + i + 1]};
    unsigned x[4], y[2];
    for (int q = 0; q < 4; ++q) {
        const float* from = a + (g + q % 2 * 8) * 16 + i + q / 2 * 8;
        x[q] = PACK(from[0], from[1]);
    }
    for (int q = 0; q < 2; ++q) {
        const float* from = w + (i + q * 8) * 8 + g;
        y[q] = PACK(from[0], from[8]);
    }
    MMA(d, x, y);
    c[g * 8 + i] = d[0];
    c[g * 8 + i + 1] = d[1];
    c[(g + 8) * 8 + i] = d[2];
    c[(g + 8) * 8 + i + 1] = d[3];"""

CASES = {
    "tf32": (TF32, 8, rounded_tf32),
    "bf16": (SIXTEEN.replace("PACK", "pack_bfloat162").replace("MMA", "mma_m16n8k16_bf16"), 16, rounded_bf16),
    "f16": (SIXTEEN.replace("PACK", "pack_half2").replace("MMA", "mma_m16n8k16_f16"), 16, rounded_f16),
}


@pytest.mark.parametrize("precision", CASES)
def test_a_product_of_fragments_is_the_product_of_the_rounded_matrices(emulate, precision):
    body, k, rounded = CASES[precision]
    rng = np.random.default_rng(1)
    a, w = (rng.standard_normal(s).astype(np.float32) for s in ((16, k), (k, 8)))
    c = rng.standard_normal((16, 8)).astype(np.float32)
    expected = c + rounded(a).astype(np.float64) @ rounded(w)
    plain = c + a.astype(np.float64) @ w
    emulator = emulate(kernel("const float* a, const float* w, float* c", body, 32))
    emulator.launch("k", grid=(1,), block=(32,), args=[a, w, c])
    np.testing.assert_allclose(c, expected, rtol=1.2e-7, atol=0)
    assert abs(c - plain).max() > 1e-4  # the operands were rounded


def test_accumulators_round_toward_zero(emulate):
    a, w = np.zeros((16, 8), np.float32), np.zeros((8, 8), np.float32)
    a[:, 0] = w[0] = 1.0
    tiny = np.float32(2.0**-30)
    c = np.full((16, 8), -tiny, np.float32)
    emulator = emulate(kernel("const float* a, const float* w, float* c", TF32, 32))
    emulator.launch("k", grid=(1,), block=(32,), args=[a, w, c])
    assert (c == np.nextafter(np.float32(1), np.float32(0))).all()


def test_bits_that_tf32_does_not_have_are_ignored(emulate):
    a, w = np.full((16, 8), 1.0 + 2.0**-12, np.float32), np.ones((8, 8), np.float32)
    c = np.zeros((16, 8), np.float32)
    emulator = emulate(
        kernel("const float* a, const float* w, float* c", TF32.replace("to_tf32", "__float_as_uint"), 32)
    )
    emulator.launch("k", grid=(1,), block=(32,), args=[a, w, c])
    assert (c == 8).all()


def test_the_four_products_of_volta_are_right(emulate):
    body = """
    const int q = t % 16 / 4, r = t % 4 + t / 16 * 4;
    const float* from = a + (q * 8 + r) * 4;
    const unsigned x[2] = {pack_half2(from[0], from[1]), pack_half2(from[2], from[3])};
    const float* column = w + q * 32 + r;
    const unsigned y[2] = {pack_half2(column[0], column[8]), pack_half2(column[16], column[24])};
    float d[8];
    for (int i = 0; i < 8; ++i) {
        const int row = t / 16 * 4 + (t & 1) + (i & 2), col = (i & 4) + (t & 2) + (i & 1);
        d[i] = c[(q * 8 + row) * 8 + col];
    }
    mma_m8n8k4_f16(d, x, y);
    for (int i = 0; i < 8; ++i) {
        const int row = t / 16 * 4 + (t & 1) + (i & 2), col = (i & 4) + (t & 2) + (i & 1);
        c[(q * 8 + row) * 8 + col] = d[i];
    }"""
    rng = np.random.default_rng(2)
    a, w, c = (rng.standard_normal(s).astype(np.float32) for s in ((4, 8, 4), (4, 4, 8), (4, 8, 8)))
    expected = c + rounded_f16(a).astype(np.float64) @ rounded_f16(w)
    emulator = emulate(kernel("const float* a, const float* w, float* c", body, 32), arch=70)
    emulator.launch("k", grid=(1,), block=(32,), args=[a, w, c])
    np.testing.assert_allclose(c, expected, rtol=1.2e-7, atol=0)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("matrices", [2, 4])
def test_matrix_loads_bring_the_fragments_of_a_product(emulate, matrices, transposed):
    name = f"ldmatrix_x{matrices}" + ("_trans" if transposed else "")
    body = f"""
    NETC_SHARED(unsigned short, tile, {matrices * 64});
    for (int i = t; i < {matrices * 64}; i += 32) tile[i] = x[i];
    __syncthreads();
    unsigned r[{matrices}];
    {name}(r, tile + t % {matrices * 8} * 8);
    for (int m = 0; m < {matrices}; ++m) y[m * 32 + t] = r[m];"""
    x = np.random.default_rng(3).integers(0, 65536, (matrices, 8, 8)).astype(np.uint16)
    y = np.zeros((matrices, 32), np.uint32)
    emulator = emulate(kernel("const unsigned short* x, unsigned* y", body, 32))
    emulator.launch("k", grid=(1,), block=(32,), args=[x, y])
    fragments = x.transpose(0, 2, 1) if transposed else x
    assert (y.view(np.uint16) == fragments.reshape(matrices, 64)).all()


def test_sixteen_bit_floats_are_those_of_numpy(emulate):
    body = """
    for (int i = t; i < n; i += 64) {
        h[i] = float_to_half(x[i]);
        b16[i] = float_to_bfloat16(x[i]);
        back[i] = half_to_float(i < 65536 ? (unsigned short)i : 0);
    }"""
    every = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    finite = np.sort(every[np.isfinite(every)])
    between = np.concatenate([(finite[1:] + finite[:-1]) / 2, finite * np.float32(1 + 2**-11), finite * 3e-5])
    extremes = np.array(
        [65519.99, 65520, 65536, 1e9, -1e9, np.inf, -np.inf, 1e-8, 3e-8, 2.0**-25, 1e-45, 3.4e38]
    )
    x = np.concatenate([every, between, extremes.astype(np.float32)]).astype(np.float32)
    n = x.size
    h, b16, back = np.zeros(n, np.uint16), np.zeros(n, np.uint16), np.zeros(n, np.float32)
    text = kernel("const float* x, unsigned short* h, unsigned short* b16, float* back, int n", body)
    emulate(text).launch("k", grid=(1,), block=(64,), args=[x, h, b16, back, n])
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    number = ~np.isnan(x)
    assert (h.view(np.float16)[number] == expected[number]).all()
    assert (np.signbit(h.view(np.float16)[number]) == np.signbit(expected[number])).all()
    assert np.isnan(h.view(np.float16)[~number]).all()
    widened = (b16.astype(np.uint32) << 16).view(np.float32)
    assert (widened[number] == rounded_bf16(x)[number]).all()
    assert np.isnan(widened[~number]).all()
    np.testing.assert_array_equal(back[:65536], every)
