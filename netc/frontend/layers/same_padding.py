"""TensorFlow's SAME padding: as many windows as strides begin in the input, what they lack on both sides."""

from __future__ import annotations

from collections.abc import Sequence

from netc.frontend.layers.context import LayerContext, Shape
from netc.ir.ops.window import kernel_extent

SAME = 1  # what pad_type says in the files that tools make of TensorFlow's nets


def stated_same(ctx: LayerContext, path: str) -> bool:
    """Whether ``pad_type`` of the message at ``path`` asks for it; other values than 0 and 1 are unknown."""
    param = ctx.param(path)
    kind = param.integer("pad_type")
    if kind not in (0, SAME):
        raise ctx.error(f"pad_type must be 0, or 1 for SAME, got {kind}", f"{path}.pad_type")
    rival = next(
        (f for f in ("pad", "pad_h", "pad_w", "pad_t", "pad_b", "pad_l", "pad_r") if param.has(f)), None
    )
    if kind == SAME and rival is not None:
        raise ctx.error("either pads or pad_type can be given, not both", f"{path}.{rival}")
    return kind == SAME


def same_pads(
    ctx: LayerContext,
    path: str,
    extents: Shape,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """(before, behind) for each axis: what the last of ``ceil(extent / stride)`` windows lacks, halved.

    An odd element goes behind.
    """
    pads = []
    for extent, k, s, d in zip(extents, kernel, stride, dilation, strict=True):
        covered = kernel_extent(k, d)
        if isinstance(extent, int):
            total = max(covered - (extent % s or s), 0)
        elif s == 1:
            total = covered - 1
        else:
            raise ctx.error(
                f"the pads of a stride of {s} depend on {extent}, which is not fixed", f"{path}.pad_type"
            )
        pads.append((total // 2, total - total // 2))
    return tuple(pads)
