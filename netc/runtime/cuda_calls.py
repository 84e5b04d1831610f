"""What a launch calls on a device: its kernel's functions, and in front of them the product of a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netc.backends.cuda.kernel import CudaKernel
from netc.ir.dim import evaluate
from netc.runtime.cuda_device import Call, LibraryCall, Region


def kernel_calls(
    kernel: CudaKernel, regions: Sequence[Region], scratch: Region, values: Mapping[str, int]
) -> list[Call | LibraryCall]:
    """What a launch calls: ``regions`` are its operands, ``scratch`` is memory that it may use for itself."""
    pointers = [regions[i] for i in kernel.operands]
    own = evaluate(kernel.scratch_bytes, values)
    if own:
        pointers.append(Region(scratch.memory, scratch.offset, own))
    integers = tuple(values[name] for name in kernel.symbols)
    found: list[Call | LibraryCall] = []
    product = kernel.library
    if product is not None:
        found.append(LibraryCall(product, pointers[product.a], pointers[product.b], pointers[-1]))
    for stage in kernel.stages:
        x, y, z = (evaluate(d, values) for d in stage.grid)
        found.append(
            Call(
                stage.name,
                kernel.name,
                (x, y, z),
                stage.threads,
                tuple(pointers),
                integers,
                stage.shared_bytes,
            )
        )
    return found
