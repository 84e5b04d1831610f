"""Kernels that only hold elementwise ops, with broadcasting: any layout, any strides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.point import apply
from netc.backends.llvm.lower.scalar_ops import COSTLY
from netc.backends.llvm.lower.space import Space, arguments_read, result_views, storage_axes, write_names
from netc.backends.llvm.lower.sweep import sweep
from netc.ir.core import Op, Value


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel."""
    ops = (anchor, *tail)
    space = Space(kernel.b, storage_axes(kernel.writes[0].type), result_views(kernel, ops)).merged()

    def compute(registers: Mapping[str, Value]) -> list[Value]:
        return apply(kernel.b, ops, registers, kernel.body.results)

    sweep(kernel, space, arguments_read(kernel, ops), write_names(kernel), compute, unroll_of(ops))


def unroll_of(ops: Sequence[Op]) -> int:
    """How many registers are computed side by side: fewer where the code for one is long."""
    return 2 if any(op.name in COSTLY for op in ops) else 4
