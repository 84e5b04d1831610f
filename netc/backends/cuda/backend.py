"""The CUDA backend's entry: a buffer-level module in, named kernels as CUDA C++ text out.

The target takes row-major memory only: passes run without blocked layouts. Convolutions gather their operands
into tiles themselves, so that neither an im2col buffer nor a conversion of layouts is needed; layouts with
channels last would let tensor cores read 16 bytes at once, and are not made yet.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from importlib import resources

from netc.backends.cuda.kernel import CudaKernel
from netc.backends.cuda.lower.table import has_kernel, lower_launch
from netc.backends.cuda.target import CudaTarget, Precision, Units
from netc.backends.launch_body import split_body
from netc.ir.core import Module, Op
from netc.ir.dim import Dim, exact_quotient
from netc.ir.launch_text import launch_text
from netc.ir.ops.buffer import AllocAttrs, ViewAttrs
from netc.ir.types import DTYPE_BYTES, BufferType

REFERENCE_KERNEL = "reference"
"""The kernel name of a launch that has no kernel: the runtime runs it by the reference, on the host."""
HEADERS = ("prelude.cuh", "wgmma.cuh", "library.cuh")
ALIGNMENT = 16  # bytes that one thread moves at once


@dataclass(frozen=True)
class CudaCode:
    """``module``: the buffer module with kernels named on every launch; ``kernels`` by these names."""

    module: Module
    kernels: dict[str, CudaKernel]

    @property
    def text(self) -> str:
        """One translation unit of all kernels."""
        return translation_unit([kernel.text for kernel in self.kernels.values()])

    @property
    def without_kernel(self) -> tuple[Op, ...]:
        """The launches that the host runs by reference."""
        return tuple(
            op
            for op in self.module.func("main").ops
            if op.name == "buffer.launch" and op.attrs.kernel == REFERENCE_KERNEL
        )


def lower_for(module: Module, target: CudaTarget) -> dict[Units, CudaCode]:
    """The code for the units of each architecture, and for those of the last one's PTX."""
    units = [a.units(target.precision) for a in target.architectures]
    units.append(target.architectures[-1].portable_units(target.precision))
    return {u: lower_module(module, u.precision, warpgroups=u.warpgroups) for u in dict.fromkeys(units)}


@functools.cache
def library_text() -> str:
    """What stands before the kernels: the names they are written in, and the functions they share."""
    folder = resources.files("netc.backends.cuda")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in HEADERS)


def translation_unit(kernels: list[str]) -> str:
    """The text that a compiler takes."""
    return "\n".join([library_text(), *kernels])


def lower_module(module: Module, precision: Precision, *, warpgroups: bool = False) -> CudaCode:
    """Name the launches of ``@main`` and lower each distinct one."""
    aligned = alignments(module)
    kernels: dict[str, CudaKernel] = {}
    ops: list[Op] = []
    main = module.func("main")
    for op in main.ops:
        if op.name == "buffer.launch":
            name = REFERENCE_KERNEL
            if has_kernel(op):
                whole = tuple(aligned[v.name] for v in op.operands)
                name = kernel_name(op, precision, whole)
                if name not in kernels:
                    kernels[name] = lower_launch(name, op, precision, whole, warpgroups=warpgroups)
            op = replace(op, attrs=replace(op.attrs, kernel=name))
        ops.append(op)
    return CudaCode(module.with_func(replace(main, ops=tuple(ops))), kernels)


def kernel_key(launch: Op, precision: Precision, aligned: tuple[bool, ...]) -> str:
    """All that a kernel depends on besides its units: equal launches share one."""
    return f"{launch_text(launch)}\n{precision} {aligned}"


def kernel_name(launch: Op, precision: Precision, aligned: tuple[bool, ...]) -> str:
    """A name made of the anchor op and a digest of the key."""
    assert launch.body is not None
    digest = hashlib.sha256(kernel_key(launch, precision, aligned).encode()).hexdigest()[:12]
    anchor = split_body(launch)[0].name.rpartition(".")[2] if launch.body.ops else "copy"
    return f"{anchor}_{digest}"


def alignments(module: Module) -> dict[str, bool]:
    """Which buffers of ``@main`` begin at multiples of 16 bytes: all but some views."""
    main = module.func("main")
    found = {arg.name: True for arg in main.args}
    for op in main.ops:
        if op.name == "buffer.launch":
            continue
        if isinstance(op.attrs, AllocAttrs):
            found[op.result.name] = True
            continue
        base = op.operands[0]
        found[op.result.name] = found[base.name]
        if isinstance(op.attrs, ViewAttrs):
            assert isinstance(base.type, BufferType)
            before: Dim = 0
            for start, stride in zip(op.attrs.start, base.type.storage_strides, strict=True):
                before = before + stride * start
            size = DTYPE_BYTES[base.type.tensor.dtype]
            whole = exact_quotient(before * size, ALIGNMENT) is not None
            found[op.result.name] = found[base.name] and whole
    return found
