"""Transposes of the innermost axis through shared memory: both sides are walked along their neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower import move
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.text import c_dim, split_index
from netc.ir.core import Op
from netc.ir.dim import ceildiv, product
from netc.ir.types import TensorType

TILE = 32
ROWS = 8  # that the threads of a block move at once
MOST_SLICES = 65535  # blocks of a grid along its last axis


def applies(anchor: Op) -> bool:
    """Whether another axis becomes the innermost, and the rest fits a grid."""
    type_ = anchor.operands[0].type
    assert isinstance(type_, TensorType)
    inner, outer, rest = _roles(anchor.attrs.perm)
    slices = product(tuple(type_.shape[anchor.attrs.perm[a]] for run in rest for a in run))
    return inner != outer and isinstance(slices, int) and slices <= MOST_SLICES


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``tensor.transpose``: a block moves 32 x 32 elements."""
    source, perm = kernel.operand(anchor.operands[0]), anchor.attrs.perm
    shape = kernel.writes[0].type.shape
    inner, outer, rest = _roles(perm)
    extents = {run: product(tuple(shape[a] for a in run)) for run in (inner, outer)}
    slices = product(tuple(shape[a] for run in rest for a in run))
    grid = (ceildiv(extents[inner], TILE), ceildiv(extents[outer], TILE), slices)
    names = move.axis_names(len(shape))

    def indices(along: str, across: str) -> list[str]:
        """The result's indices, by places along the result's innermost axes and along the source's."""
        found = ["0"] * len(shape)
        parts = ((inner, along), (outer, across), (tuple(a for run in rest for a in run), "slice"))
        for axes, text in parts:
            for axis, value in zip(axes, split_index(text, [shape[a] for a in axes]), strict=True):
                found[axis] = f"({value})" if value != "0" else value
        return found

    def inside(along: str, across: str) -> str:
        return f"{along} < {c_dim(extents[inner])} && {across} < {c_dim(extents[outer])}"

    with kernel.function(grid, TILE * ROWS):
        kernel.line(f"NETC_SHARED(float, tile, {TILE * (TILE + 1)});")
        kernel.line(f"const int lane = threadIdx.x % {TILE}, row = threadIdx.x / {TILE};")
        kernel.line("const int slice = blockIdx.z;")
        with kernel.unrolled("i", TILE, step=ROWS):
            kernel.line(
                f"const int along = blockIdx.x * {TILE} + row + i, across = blockIdx.y * {TILE} + lane;"
            )
            at = indices("along", "across")
            moved = source.element([at[perm.index(a)] for a in range(len(perm))])
            kernel.line(f"if ({inside('along', 'across')}) tile[(row + i) * {TILE + 1} + lane] = {moved};")
        kernel.line("__syncthreads();")
        with kernel.unrolled("i", TILE, step=ROWS):
            kernel.line(
                f"const int along = blockIdx.x * {TILE} + lane, across = blockIdx.y * {TILE} + row + i;"
            )
            with kernel.block(f"if ({inside('along', 'across')})"):
                kernel.line(f"const float moved = tile[lane * {TILE + 1} + row + i];")
                found = []
                for name, value in zip(names, indices("along", "across"), strict=True):
                    if value != "0":
                        kernel.line(f"const int {name} = {value};")
                    found.append(name if value != "0" else value)
                finish_at(kernel, {anchor.result.name: "moved"}, tail, found)


def _runs(perm: Sequence[int]) -> list[tuple[int, ...]]:
    """Axes of the result that follow each other in the source too, together."""
    runs: list[tuple[int, ...]] = []
    for axis, origin in enumerate(perm):
        if axis and origin == perm[axis - 1] + 1:
            runs[-1] = (*runs[-1], axis)
        else:
            runs.append((axis,))
    return runs


def _roles(perm: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, ...]]]:
    """The run with the result's innermost axis, that with the source's, and the others."""
    runs = _runs(perm)
    inner = runs[-1]
    outer = next(run for run in runs if perm[run[-1]] == len(perm) - 1)
    return inner, outer, [run for run in runs if run not in (inner, outer)]
