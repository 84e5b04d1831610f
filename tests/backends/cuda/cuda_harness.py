"""Runs one CUDA kernel in the emulator and compares it with the reference.

Memory is hostile: a buffer has bounds of its own, what lies between its elements must stay as it was, results
and scratch memory begin as NaN, and the emulator reports races and reads of what nobody wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from emulated_device import multiply
from emulator import Emulator, missing
from harness import GAP, assert_near, bound_launch, reference

from netc.backends.cuda.backend import translation_unit
from netc.backends.cuda.kernel import CudaKernel
from netc.backends.cuda.lower.table import has_kernel, lower_launch
from netc.ir.core import Op
from netc.ir.dim import evaluate
from netc.ir.opdef import numpy_dtype
from netc.ir.types import BufferType, substitute_type

Array = npt.NDArray[Any]
needs_emulator = pytest.mark.skipif(missing() is not None, reason=str(missing()))
# what rounding both factors of a product does to a sum, as a part of the largest result
PRECISION_TOLERANCE = {"tf32": 2e-3, "fp16": 2e-3, "bf16": 1.5e-2}


class Buffer:
    """The memory of an operand; ``storage`` is the tensor in it."""

    def __init__(self, type_: BufferType, symbols: Mapping[str, int]) -> None:
        bound = substitute_type(type_, dict(symbols))
        assert isinstance(bound, BufferType)
        shape = bound.tensor.static_shape
        strides = [evaluate(d, {}) for d in bound.storage_strides]
        dtype = numpy_dtype(bound.tensor.dtype)
        count = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        self.gap = GAP if dtype == np.float32 else np.array(GAP).astype(np.int64).astype(dtype)
        self.elements = np.full(count, self.gap, dtype)
        self.storage = np.lib.stride_tricks.as_strided(
            self.elements, shape, [s * dtype.itemsize for s in strides]
        )

    def check_gaps(self) -> None:
        inside = np.zeros(len(self.elements), bool)
        strides = [s // self.storage.itemsize for s in self.storage.strides]
        np.lib.stride_tricks.as_strided(inside, self.storage.shape, strides)[...] = True
        assert (self.elements[~inside] == self.gap).all(), "memory between the elements was written"


def lowered(
    launch: Op,
    precision: Any = "fp32",
    aligned: bool = True,
    warpgroups: bool = False,
    schedule: str | None = None,
) -> CudaKernel:
    assert has_kernel(launch)
    launch = replace(launch, attrs=replace(launch.attrs, schedule=schedule))
    return lower_launch("kernel", launch, precision, [aligned] * len(launch.operands), warpgroups=warpgroups)


def run_kernel(
    kernel: CudaKernel, launch: Op, arrays: Sequence[Array], symbols: Mapping[str, int] = {}
) -> list[Array]:
    """The results of a launch; the kernel's stages run one after the other."""
    buffers: dict[str, Buffer] = {}
    for value in launch.operands:
        assert isinstance(value.type, BufferType)
        buffers.setdefault(value.name, Buffer(value.type, symbols))
    split = len(launch.operands) - launch.attrs.writes
    results = [buffers[v.name] for v in launch.operands[split:]]
    for buffer in results:
        buffer.storage[...] = np.nan if buffer.storage.dtype == np.float32 else buffer.gap
    for value, array in zip(launch.operands[:split], arrays, strict=True):
        buffers[value.name].storage[...] = array
    args: list[Any] = [buffers[launch.operands[i].name].elements for i in kernel.operands]
    scratch_bytes = evaluate(kernel.scratch_bytes, symbols)
    if scratch_bytes:
        args.append(np.full(scratch_bytes // 4, np.nan, np.float32))
    args += [symbols[name] for name in kernel.symbols]
    if kernel.library is not None:
        multiply(kernel.library, args[kernel.library.a], args[kernel.library.b], args[-1])
    emulator = Emulator(translation_unit([kernel.text]))
    for stage in kernel.stages:
        emulator.launch(
            stage.name,
            grid=[evaluate(d, symbols) for d in stage.grid],
            block=(stage.threads, 1, 1),
            args=args,
            shared_bytes=stage.shared_bytes,
        )
    for buffer in buffers.values():
        buffer.check_gaps()
    return [buffer.storage.copy() for buffer in results]


def check_launch(
    launch: Op,
    arrays: Sequence[Array],
    *,
    tolerance: float = 2e-6,
    relative_to_each: bool = False,
    precision: Any = "fp32",
    aligned: bool = True,
    symbols: Mapping[str, int] = {},
    warpgroups: bool = False,
    schedule: str | None = None,
) -> CudaKernel:
    """Compare with the float64 reference: errors relative to the largest element, or to each element."""
    kernel = lowered(launch, precision, aligned, warpgroups, schedule)
    got_all = run_kernel(kernel, launch, arrays, symbols)
    tolerance = max(tolerance, PRECISION_TOLERANCE.get(precision, 0))
    for got, wanted in zip(got_all, reference(bound_launch(launch, symbols), arrays), strict=True):
        assert_near(got, wanted, tolerance, relative_to_each)
    return kernel
