"""The largest element along an axis, or where it is; the gradient of the maximum of a plane."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.text import c_dim, c_float, split_index
from netc.ir.core import Op
from netc.ir.dim import ceildiv, product
from netc.ir.ops.pool import LOWEST

BLOCK = 256
WARP = 32
MOST_PLACES = 1 << 24  # that a float counts exactly


def applies(anchor: Op) -> bool:
    """One largest element, along an axis whose places floats can count."""
    extent = anchor.operands[0].type.shape[anchor.attrs.axis]  # type: ignore[union-attr]
    return anchor.attrs.k == 1 and isinstance(extent, int) and extent < MOST_PLACES


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``tensor.top_k`` with k = 1: a warp for each result."""
    x, axis = kernel.operand(anchor.operands[0]), anchor.attrs.axis
    shape = kernel.writes[0].type.shape
    with kernel.function((ceildiv(product(shape) * WARP, BLOCK), 1, 1), BLOCK):
        kernel.line(f"const int item = blockIdx.x * {BLOCK // WARP} + threadIdx.x / {WARP};")
        kernel.line(f"const int lane = threadIdx.x % {WARP};")
        kernel.line(f"const bool inside = item < {c_dim(product(shape))};")
        indices = kernel.split("item", [f"p{a}" for a in range(len(shape))], shape)
        kernel.line("Largest<true> largest;")
        with kernel.block(f"for (int i = lane; inside && i < {c_dim(x.type.shape[axis])}; i += {WARP})"):
            along = [*indices[:axis], "i", *indices[axis + 1 :]]
            kernel.line(f"largest.consider({x.element(along)}, float(i));")
        kernel.line("reduce_warp(largest);")
        with kernel.block("if (inside && lane == 0)"):
            what = "best" if anchor.attrs.what == "values" else "place"
            finish_at(kernel, {anchor.result.name: f"largest.{what}"}, tail, indices)


def has_few_places(anchor: Op) -> bool:
    """Whether the elements of a plane can be counted by floats."""
    plane = product(anchor.operands[1].type.shape[2:])  # type: ignore[union-attr]
    return isinstance(plane, int) and plane < MOST_PLACES


def lower_global_max_gradient(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.global_max_gradient``: a warp for each plane."""
    dy, x = (kernel.operand(v) for v in anchor.operands)
    shape = x.type.shape
    planes, plane = product(shape[:2]), product(shape[2:])
    with kernel.function((ceildiv(planes * WARP, BLOCK), 1, 1), BLOCK):
        kernel.line(f"const int item = blockIdx.x * {BLOCK // WARP} + threadIdx.x / {WARP};")
        kernel.line(f"const int lane = threadIdx.x % {WARP};")
        kernel.line(f"const bool inside = item < {c_dim(planes)};")
        indices = kernel.split("item", ["n", "c"], shape[:2])
        place = [f"({i})" if i != "0" else i for i in split_index("i", shape[2:])]
        loop = f"for (int i = lane; inside && i < {c_dim(plane)}; i += {WARP})"
        kernel.line("Largest<false> largest;")
        with kernel.block(loop):
            kernel.line(f"const float candidate = {x.element([*indices, *place])};")
            # a NaN never wins, and what does not exceed the lowest number does not either
            kernel.line(f"if (candidate > {c_float(LOWEST)}) largest.consider(candidate, float(i));")
        kernel.line("reduce_warp(largest);")
        with kernel.block(loop):
            given = dy.element([*indices, *["0"] * len(shape[2:])])
            kernel.line(f"const float gradient = float(i) == largest.place ? {given} : 0.0f;")
            finish_at(kernel, {anchor.result.name: "gradient"}, tail, [*indices, *place])
