"""The weight of the adjoint convolution: channels in each other's place, taps in reverse."""

from __future__ import annotations

import math
from collections.abc import Sequence

from netc.backends.llvm.lower.kernel import Kernel
from netc.ir.core import Op
from netc.ir.loop_builder import Index


def lower(kernel: Kernel, anchor: Op, _tail: Sequence[Op]) -> None:
    """Emit the whole kernel: a block of results at a time, gathered from neighbouring channels."""
    b = kernel.b
    w, v = kernel.operand(anchor.operands[0]), kernel.writes[0]
    group, layout = anchor.attrs.group, v.type.layout
    lanes = layout.size if layout is not None else 1
    outputs, depth, *kernel_extents = w.type.static_shape
    taps, per_group, channels = math.prod(kernel_extents), outputs // group, depth * group
    blocks, rest = -(-channels // lanes), channels % lanes
    # neighbouring channels lie one stride apart within a group, and where each is a group of its own
    step = taps if depth > 1 or group == 1 else per_group * taps
    even = lanes > 1 and (depth == 1 or group == 1 or depth % lanes == 0)

    def source(channel: Index, output: Index, tap: Index) -> Index:
        row = b.iadd(b.imul(b.idiv(channel, depth), per_group), output)
        at = b.iadd(b.imul(row, depth * taps), b.imul(b.irem(channel, depth), taps))
        return b.iadd(at, b.isub(taps - 1, tap))

    def by_elements(block: Index, output: Index, tap: Index, to: Index, count: int) -> None:
        for lane in range(lanes):
            value = b.const(0.0, "f32")
            if lane < count:
                at = source(b.iadd(b.imul(block, lanes), lane), output, tap)
                value = b.load(w.pointer, at)
            b.store(value, v.pointer, b.iadd(to, lane))

    first, last = kernel.share(blocks * per_group)
    with b.loop(first, last) as item:
        block, output = b.split(item.index, [blocks, per_group])
        with b.loop(0, taps) as tap:
            to = b.imul(b.iadd(b.imul(item.index, taps), tap.index), lanes)
            with b.when(b.icompare("lt", block, blocks - 1) if rest else True):
                if even:
                    at = source(b.imul(block, lanes), output, tap.index)
                    b.store(b.load_strided(w.pointer, at, step, lanes), v.pointer, to)
                else:
                    by_elements(block, output, tap.index, to, lanes)
            if rest:
                with b.when(b.icompare("eq", block, blocks - 1)):
                    by_elements(block, output, tap.index, to, rest)
