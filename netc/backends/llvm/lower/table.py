"""Which lowering implements a launch: the one visible place where schedules are chosen.

Each family offers ``applies(anchor op)`` and ``lower(kernel, anchor, elementwise tail)``; the first in
the list that applies is taken. Adding a schedule adds a file and a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower import conv, depthwise, inner_product, pool
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.target import Target
from netc.ir.core import Func, Op
from netc.ir.diagnostics import NetcError
from netc.ir.opdef import opdef


@dataclass(frozen=True, slots=True)
class Lowering:
    """One way to implement an op: when it fits, and how it is written."""

    name: str
    applies: Callable[[Op], bool]
    lower: Callable[[Kernel, Op, Sequence[Op]], None]


LOWERINGS: Mapping[str, tuple[Lowering, ...]] = {
    "nn.conv": (
        Lowering("depthwise", depthwise.applies, depthwise.lower),
        Lowering("conv", conv.applies, conv.lower),
    ),
    "nn.inner_product": (
        Lowering("columns", inner_product.columns_applies, inner_product.lower_columns),
        Lowering("rows", inner_product.rows_applies, inner_product.lower_rows),
    ),
    "nn.pool": (Lowering("pool", pool.applies, pool.lower),),
    "nn.global_pool": (Lowering("global_pool", pool.applies, pool.lower_global),),
}


def lower_launch(name: str, launch: Op, target: Target) -> Func:
    """The loop-level kernel of a ``buffer.launch``."""
    assert launch.body is not None
    anchor, tail = split_body(launch)
    for lowering in LOWERINGS.get(anchor.name, ()):
        if lowering.applies(anchor):
            kernel = Kernel(name, launch, target)
            lowering.lower(kernel, anchor, tail)
            return kernel.finish()
    raise NetcError(f"the CPU backend has no kernel for {anchor.name}", location=launch.location)


def split_body(launch: Op) -> tuple[Op, tuple[Op, ...]]:
    """The op that decides the schedule, and the elementwise ops that follow it.

    A body of elementwise ops only is led by its first op.
    """
    assert launch.body is not None
    ops = launch.body.ops
    anchors = [op for op in ops if not opdef(op.name).elementwise]
    if len(anchors) > 1 or (anchors and ops[0] is not anchors[0]):
        raise NetcError(
            f"a kernel holds one op and elementwise ops after it, got {', '.join(op.name for op in ops)}",
            location=launch.location,
        )
    return ops[0], ops[1:]
