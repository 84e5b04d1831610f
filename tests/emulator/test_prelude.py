"""The prelude with NVIDIA's compiler, for every architecture."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import pytest

from .kernels import PRELUDE
from .test_correct_kernels import COPY, GEMM, REDUCE, TENSOR_GEMM, TRANSPOSE, TREE

# what the tests' kernels leave out
EVERYTHING = """
extern "C" __global__ void __launch_bounds__(256)
everything(const float* __restrict__ a, float* b, const unsigned short* h, unsigned short* g, int n) {
    NETC_SHARED(float, tile, 1024);
    const int t = threadIdx.x;
    copy_async4(tile, t, a + t, t < n);
    copy_async8(tile, 2 * t, a + 2 * t, t < n);
    copy_async16(tile, 4 * t, a + 4 * t, t < n);
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
    store8(g + 8 * t, load8(h + 8 * t));
    store2(g + 2 * t, load2(h + 2 * t));
    store2(b + 2 * t, load2(tile, 2 * t));
    store4(b + 4 * t, load4(tile, 4 * t));
    store4((int*)b + 4 * t, load4((const int*)a + 4 * t));
    store4((unsigned*)b + 4 * t, load4((const unsigned*)a + 4 * t));
    float s = shfl(tile[t], 3) + shfl_down(tile[t], 1) + shfl_up(tile[t], 1);
    if (any(s > 0) && all(s < 1)) s += (float)ballot(s > 2);
    __syncwarp();
    float d[8] = {};
    const unsigned x2[2] = {pack_half2(s, s + 1), to_tf32(s)}, y2[2] = {pack_bfloat162(s, s - 1), 1};
    mma_m8n8k4_f16(d, x2, y2);
#if __CUDA_ARCH__ >= 800
    float c[4] = {};
    unsigned x[4], y[2];
    ldmatrix_x4_trans(x, g);
    ldmatrix_x2(y, g);
    ldmatrix_x2_trans(y, g);
    mma_m16n8k8_tf32(c, x, y);
    mma_m16n8k16_f16(c, x, y);
    d[0] += c[0];
#endif
    b[t] = d[0] + half_to_float(g[0]) + bfloat16_to_float(g[1]);
}
"""


def load_nvrtc() -> ctypes.CDLL:
    found = importlib.util.find_spec("nvidia.cuda_nvrtc") if importlib.util.find_spec("nvidia") else None
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package nvidia-cuda-nvrtc-cu12 is not installed")
    libraries = sorted(Path(found.submodule_search_locations[0]).glob("lib/libnvrtc.so.*"))
    if not libraries:
        pytest.skip("the package nvidia-cuda-nvrtc-cu12 has no library for this system")
    return ctypes.CDLL(str(libraries[0]))


def compile_for(nvrtc: ctypes.CDLL, text: str, arch: int) -> tuple[int, str]:
    """NVRTC's result, 0 for success, and what it says."""
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None) == 0
    options = (ctypes.c_char_p * 2)(f"--gpu-architecture=sm_{arch}".encode(), b"--std=c++17")
    result = nvrtc.nvrtcCompileProgram(program, 2, options)
    size = ctypes.c_size_t()
    assert nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)) == 0
    log = ctypes.create_string_buffer(size.value)
    assert nvrtc.nvrtcGetProgramLog(program, log) == 0
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return result, log.value.decode()


@pytest.mark.parametrize("arch", [70, 75, 80, 86, 89, 90, 100, 120])
def test_nvrtc_compiles_the_prelude_and_what_is_written_in_it(arch):
    kernels = [COPY, REDUCE, TREE, TRANSPOSE, GEMM, EVERYTHING, *([TENSOR_GEMM] if arch >= 80 else [])]
    result, log = compile_for(load_nvrtc(), PRELUDE + "".join(kernels), arch)
    assert result == 0, log
    assert "warning" not in log.replace("Architectures prior to", "").split("deprecated")[-1], log


def test_nvrtc_refuses_an_architecture_before_volta():
    result, log = compile_for(load_nvrtc(), "#undef __CUDA_ARCH__\n#define __CUDA_ARCH__ 610\n" + PRELUDE, 70)
    assert result != 0
    assert "compute capability 7.0" in log


@pytest.mark.parametrize("arch", [70, 75, 80, 120])
def test_the_emulator_compiles_the_same_text(emulate, arch):
    assert "everything" in emulate(EVERYTHING, arch=arch).kernels
