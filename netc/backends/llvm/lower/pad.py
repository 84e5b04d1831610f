"""Padding with a constant, row-major: one sweep over what is copied, one over each side that is padded."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.copy import copy_through, fill_through, storage_offset
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.space import SOURCE, Space, View, result_views
from netc.ir.core import Op
from netc.ir.dim import Dim


def applies(anchor: Op) -> bool:
    """Whether the padding is a constant."""
    return bool(anchor.attrs.kind == "constant")


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.pad``."""
    x, y = kernel.operand(anchor.operands[0]), kernel.writes[0]
    whole = result_views(kernel, tail)
    low, high, shape = anchor.attrs.low, anchor.attrs.high, x.type.shape

    def views_at(start: Sequence[Dim]) -> dict[str, View]:
        return {
            name: View(view.pointer, view.strides, storage_offset(kernel, y, start, view.strides))
            for name, view in whole.items()
        }

    # a side reaches as far as x along the axes before its own, and over the whole result along those behind
    for axis, extent in enumerate(shape):
        behind = y.type.shape[axis + 1 :]
        for begin, count in ((0, low[axis]), (extent + low[axis], high[axis])):
            if count:
                views = views_at((*low[:axis], begin, *(0 for _ in behind)))
                box = (*shape[:axis], count, *behind)
                fill_through(kernel, anchor, tail, Space(kernel.b, box, views).merged())
    views = views_at(low)
    views[SOURCE] = View(x.pointer, x.stride_dims)
    copy_through(kernel, anchor, tail, Space(kernel.b, shape, views).merged())
