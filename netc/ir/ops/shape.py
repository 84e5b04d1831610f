"""Ops that move elements: reshape, transpose, concat, slice, tile; and fill and count, which make them.

Reshape and transpose are row-major only. Concat and slice also work on a blocked layout, where each
boundary on the blocked axis lies between two blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate, exact_quotient, product
from netc.ir.layout import Layout
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define, numpy_dtype
from netc.ir.ops.window import check_one_dtype
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class ReshapeAttrs:
    """``shape`` of the result, as many elements as the operand."""

    shape: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class TransposeAttrs:
    """Axis i of the result is axis ``perm[i]`` of the operand."""

    perm: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConcatAttrs:
    """``axis`` >= 0 along which the operands follow each other."""

    axis: int


@dataclass(frozen=True, slots=True)
class SliceAttrs:
    """The part that begins at ``start`` and holds ``shape``; one entry an axis, in elements."""

    start: tuple[int, ...]
    shape: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class FillAttrs:
    """``tensor`` is the type of the result, ``value`` each of its elements."""

    tensor: TensorType
    value: float


@dataclass(frozen=True, slots=True)
class TileAttrs:
    """``axis`` >= 0 along which ``tiles`` copies follow each other."""

    axis: int
    tiles: int


@dataclass(frozen=True, slots=True)
class CountAttrs:
    """``axes`` (>= 0, ascending) whose extents are multiplied."""

    axes: tuple[int, ...]


def _check_extents(shape: tuple[Dim, ...]) -> None:
    for extent in shape:
        if isinstance(extent, int) and extent < 1:
            raise OpError(f"extents must be >= 1, got {extent}", attr="shape")


def _check_row_major(x: TensorType) -> None:
    if x.layout is not None:
        raise OpError(f"a row-major operand expected, got {x}")


def _between_blocks(boundary: Dim, axis: int, layout: Layout) -> bool:
    return layout is None or layout.axis != axis or exact_quotient(boundary, layout.size) is not None


def _infer_reshape(operands: tuple[TensorType, ...], attrs: ReshapeAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    _check_row_major(x)
    _check_extents(attrs.shape)
    if product(attrs.shape) != x.elements:
        shape = ",".join(map(str, attrs.shape))
        raise OpError(f"[{shape}] holds {product(attrs.shape)} elements, {x} has {x.elements}", attr="shape")
    return (x.with_shape(*attrs.shape),)


def _infer_transpose(operands: tuple[TensorType, ...], attrs: TransposeAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    _check_row_major(x)
    if sorted(attrs.perm) != list(range(x.rank)):
        raise OpError(f"perm must name each of {x.rank} axes once, got {list(attrs.perm)}", attr="perm")
    return (x.with_shape(*(x.shape[a] for a in attrs.perm)),)


def _infer_concat(operands: tuple[TensorType, ...], attrs: ConcatAttrs) -> tuple[TensorType, ...]:
    if not operands:
        raise OpError("tensor.concat takes 1 or more operands, got 0")
    first, axis = operands[0], attrs.axis
    check_one_dtype(operands)
    if not 0 <= axis < first.rank:
        raise OpError(f"axis must be within 0..{first.rank - 1} for {first}, got {axis}", attr="axis")
    total: Dim = 0
    for x in operands:
        if x.layout != first.layout:
            raise OpError(f"operands of one layout expected, got {', '.join(map(str, operands))}")
        if x.rank != first.rank or any(
            a != b for i, (a, b) in enumerate(zip(x.shape, first.shape, strict=True)) if i != axis
        ):
            raise OpError(f"operands may differ on axis {axis} only, got {first} and {x}")
        if not _between_blocks(total, axis, first.layout):
            raise OpError(f"an operand begins at {total}, inside of a block of {first}", attr="axis")
        total = total + x.shape[axis]
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    return (TensorType(first.dtype, shape, first.layout),)


def _infer_slice(operands: tuple[TensorType, ...], attrs: SliceAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    for what, given in (("start", len(attrs.start)), ("shape", len(attrs.shape))):
        if given != x.rank:
            raise OpError(f"{what} needs {x.rank} entries for {x}, got {given}", attr=what)
    _check_extents(attrs.shape)
    for axis, (start, extent, whole) in enumerate(zip(attrs.start, attrs.shape, x.shape, strict=True)):
        if start < 0:
            raise OpError(f"start must be >= 0, got {start}", attr="start")
        end = extent + start
        beyond = end - whole
        if isinstance(beyond, int) and beyond > 0:
            raise OpError(f"axis {axis}: [{start}, {end}) does not lie within {whole}", attr="shape")
        if not _between_blocks(start, axis, x.layout) or (
            end != whole and not _between_blocks(end, axis, x.layout)
        ):
            raise OpError(f"axis {axis}: [{start}, {end}) cuts a block of {x}", attr="start")
    return (TensorType(x.dtype, attrs.shape, x.layout),)


def _infer_fill(operands: tuple[TensorType, ...], attrs: FillAttrs) -> tuple[TensorType, ...]:
    del operands
    return (attrs.tensor,)


def _infer_tile(operands: tuple[TensorType, ...], attrs: TileAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    _check_row_major(x)
    if not 0 <= attrs.axis < x.rank:
        raise OpError(f"axis must be within 0..{x.rank - 1} for {x}, got {attrs.axis}", attr="axis")
    if attrs.tiles < 1:
        raise OpError(f"tiles must be >= 1, got {attrs.tiles}", attr="tiles")
    tiled = x.shape[attrs.axis] * attrs.tiles
    return (x.with_shape(*x.shape[: attrs.axis], tiled, *x.shape[attrs.axis + 1 :]),)


def _infer_count(operands: tuple[TensorType, ...], attrs: CountAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    _check_row_major(x)
    if list(attrs.axes) != sorted(set(attrs.axes)):
        raise OpError(f"axes must be ascending, got {list(attrs.axes)}", attr="axes")
    if attrs.axes and not 0 <= attrs.axes[0] <= attrs.axes[-1] < x.rank:
        raise OpError(f"axes must be within 0..{x.rank - 1} for {x}, got {list(attrs.axes)}", attr="axes")
    return (x.with_shape(),)


def _count(operands: tuple[Array, ...], attrs: CountAttrs) -> tuple[Array, ...]:
    x = operands[0]
    return (np.asarray(math.prod(x.shape[a] for a in attrs.axes), x.dtype),)


def _slice(operands: tuple[Array, ...], attrs: SliceAttrs) -> tuple[Array, ...]:
    sizes = [evaluate(d, {}) for d in attrs.shape]
    return (operands[0][tuple(slice(s, s + n) for s, n in zip(attrs.start, sizes, strict=True))].copy(),)


RESHAPE = define(
    OpDef(
        "tensor.reshape",
        "tensor",
        "The same elements in the same (row-major) order as another shape.",
        ("x",),
        ReshapeAttrs,
        infer=_infer_reshape,
        reference=lambda operands, a: (operands[0].reshape([evaluate(d, {}) for d in a.shape]),),
        in_place=(0,),
        identity=True,
    )
)
TRANSPOSE = define(
    OpDef(
        "tensor.transpose",
        "tensor",
        "Axes in another order: y[i_perm[0], i_perm[1], ...] = x[i_0, i_1, ...].",
        ("x",),
        TransposeAttrs,
        infer=_infer_transpose,
        reference=lambda operands, a: (np.asarray(operands[0].transpose(a.perm), order="C"),),
    )
)
CONCAT = define(
    OpDef(
        "tensor.concat",
        "tensor",
        "The operands one after the other along an axis.",
        ("xs*",),
        ConcatAttrs,
        infer=_infer_concat,
        reference=lambda operands, a: (np.concatenate(operands, axis=a.axis),),
    )
)
SLICE = define(
    OpDef(
        "tensor.slice",
        "tensor",
        "y[i, j, ...] = x[start[0] + i, start[1] + j, ...].",
        ("x",),
        SliceAttrs,
        infer=_infer_slice,
        reference=_slice,
    )
)
FILL = define(
    OpDef(
        "tensor.fill",
        "tensor",
        "A tensor whose elements are all one value.",
        (),
        FillAttrs,
        infer=_infer_fill,
        reference=lambda _, a: (np.full(a.tensor.static_shape, a.value, numpy_dtype(a.tensor.dtype)),),
        vjp=NOT_DIFFERENTIABLE,
    )
)
TILE = define(
    OpDef(
        "tensor.tile",
        "tensor",
        "The operand tiles times, one copy after the other along an axis. Row-major only.",
        ("x",),
        TileAttrs,
        infer=_infer_tile,
        reference=lambda operands, a: (
            np.concatenate([operands[0]] * a.tiles, axis=a.axis) if a.tiles > 1 else operands[0].copy(),
        ),
    )
)
COUNT = define(
    OpDef(
        "tensor.count",
        "tensor",
        "How many elements x has along axes (their extents' product), as a tensor without axes: what a mean "
        "divides by where a size is known at run time only. Row-major only.",
        ("x",),
        CountAttrs,
        infer=_infer_count,
        reference=_count,
    )
)
