"""Matrix products by cuBLAS, through CuPy, between the graphs of our own kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.backends.cuda.kernel import LibraryProduct
from netc.backends.cuda.target import Precision

# numbers of cuBLAS's interface
_COMPUTE: dict[Precision, int] = {
    "fp32": 68,
    "tf32": 77,
    "bf16": 75,
    "fp16": 74,
}  # CUBLAS_COMPUTE_32F…
_AS_IT_IS, _TRANSPOSED = 0, 1  # CUBLAS_OP_N, CUBLAS_OP_T
_FLOAT32 = 0  # CUDA_R_32F
_ANY_ALGORITHM = -1  # CUBLAS_GEMM_DEFAULT


@dataclass(frozen=True, slots=True)
class _Addresses:
    """Where a product's matrices lie on the device."""

    a: int
    b: int
    result: int


class CublasProduct:
    """One product, run again and again on a stream. CuPy lets no call of cuBLAS be captured in a graph.

    cuBLAS counts columns first: the row-major result [m, n] is for it [n, m], the product of B and A^T.
    """

    def __init__(self, cupy: Any, stream: Any, product: LibraryProduct, a: int, b: int, result: int) -> None:
        self._cupy, self._stream, self._product = cupy, stream, product
        self._at = _Addresses(a, b, result)
        self._one, self._zero = np.ones(1, np.float32), np.zeros(1, np.float32)

    def run(self) -> None:
        """Start the product."""
        cublas, product = self._cupy.cuda.cublas, self._product
        b_transposed, b_pitch = _as_columns(*product.b_strides)
        a_transposed, a_pitch = _as_columns(*product.a_strides)
        with self._stream:
            cublas.gemmEx(
                self._cupy.cuda.device.get_cublas_handle(),
                _TRANSPOSED if b_transposed else _AS_IT_IS,
                _AS_IT_IS if a_transposed else _TRANSPOSED,
                product.n,
                product.m,
                product.k,
                self._one.ctypes.data,
                self._at.b,
                _FLOAT32,
                b_pitch,
                self._at.a,
                _FLOAT32,
                a_pitch,
                self._zero.ctypes.data,
                self._at.result,
                _FLOAT32,
                product.n,
                _COMPUTE[product.precision],
                _ANY_ALGORITHM,
            )

    def run_timed(self) -> list[float]:
        """Run between events and wait."""
        begin, end = (self._cupy.cuda.Event() for _ in range(2))
        begin.record(self._stream)
        self.run()
        end.record(self._stream)
        end.synchronize()
        return [1e-3 * self._cupy.cuda.get_elapsed_time(begin, end)]


def _as_columns(row_stride: int, column_stride: int) -> tuple[bool, int]:
    """Whether k is innermost in [rows, k], which are columns of k for cuBLAS; how far columns are apart."""
    return (True, row_stride) if column_stride == 1 else (False, column_stride)
