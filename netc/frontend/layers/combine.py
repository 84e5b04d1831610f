"""Several blobs to one and one to several: Eltwise, Concat, Slice, Split, and a fork's Mul."""

from __future__ import annotations

from itertools import pairwise

from netc.frontend.layers.arithmetic import broadcast
from netc.frontend.layers.context import LayerContext, show_shape
from netc.frontend.layers.registry import layer
from netc.frontend.message import Message
from netc.ir.core import Value
from netc.ir.dim import Dim, exact_quotient
from netc.ir.ops.elementwise import AffineAttrs
from netc.ir.ops.shape import ConcatAttrs, SliceAttrs


@layer("Eltwise", bottoms=(2, None))
def import_eltwise(ctx: LayerContext) -> None:
    """PROD, SUM (the default; each input times its ``coeff``) or MAX of inputs of one shape.

    Nothing is broadcast. MAX takes a ``coeff`` and does not use it.
    """
    param = ctx.param("eltwise_param")
    operation = param.text("operation")
    coefficients = param.numbers("coeff")
    if coefficients and operation == "PROD":
        raise ctx.error("coeff goes with SUM only, not with PROD", "eltwise_param.coeff")
    if coefficients and len(coefficients) != len(ctx.bottoms):
        raise ctx.error(
            f"expected one coeff for each of {len(ctx.bottoms)} bottoms, got {len(coefficients)}",
            "eltwise_param.coeff",
        )
    if coefficients and operation == "MAX":
        ctx.warn("coeff has no effect on MAX", "eltwise_param.coeff")
    for index in range(1, len(ctx.bottoms)):
        if ctx.shape(index) != ctx.shape():
            raise ctx.error(
                f"all bottoms must have one shape: '{ctx.bottom_names[0]}' is {show_shape(ctx.shape())}, "
                f"'{ctx.bottom_names[index]}' is {show_shape(ctx.shape(index))}",
                "bottom",
                index,
            )
    if operation == "SUM":
        terms = _weighted(ctx, coefficients or (1.0,) * len(ctx.bottoms))
        op = "math.add"
    else:
        terms = list(ctx.bottoms)
        op = {"PROD": "math.mul", "MAX": "math.max"}[operation]
    # from left to right, as the original adds
    for index, term in enumerate(terms[1:], 1):
        # of equal numbers the second is the largest; a later input only where it is larger than all before
        pair = (term, terms[0]) if operation == "MAX" and index > 1 else (terms[0], term)
        terms[0] = ctx.emit(op, pair, part="part" if index < len(terms) - 1 else None)
    ctx.top(0, terms[0])


def _weighted(ctx: LayerContext, coefficients: tuple[float, ...]) -> list[Value]:
    return [
        value if c == 1 else ctx.emit("math.affine", (value,), AffineAttrs(scale=c), part="term")
        for value, c in zip(ctx.bottoms, coefficients, strict=True)
    ]


@layer("Concat", bottoms=(1, None))
def import_concat(ctx: LayerContext) -> None:
    """The inputs one after the other along ``axis`` (older files: ``concat_dim``), otherwise of one shape."""
    axis = _axis(ctx, ctx.param("concat_param"), "concat_param", "concat_dim")
    first = ctx.shape()
    for index in range(1, len(ctx.bottoms)):
        shape = ctx.shape(index)
        alike = shape[:axis] == first[:axis] and shape[axis + 1 :] == first[axis + 1 :]
        if len(shape) != len(first) or not alike:
            raise ctx.error(
                f"bottoms may differ in axis {axis} only: '{ctx.bottom_names[0]}' is {show_shape(first)}, "
                f"'{ctx.bottom_names[index]}' is {show_shape(shape)}",
                "bottom",
                index,
            )
    if len(ctx.bottoms) == 1:
        ctx.top(0, ctx.bottoms[0])
    else:
        ctx.top(0, ctx.emit("tensor.concat", ctx.bottoms, ConcatAttrs(axis)))


@layer("Slice", tops=(1, None))
def import_slice(ctx: LayerContext) -> None:
    """Parts of the input along ``axis`` (older files: ``slice_dim``), one per top.

    Cut before each ``slice_point``, or in equal parts where none is given.
    """
    param = ctx.param("slice_param")
    axis = _axis(ctx, param, "slice_param", "slice_dim")
    shape = ctx.shape()
    if len(ctx.top_names) == 1 and not param.has("slice_point"):
        ctx.top(0, ctx.bottoms[0])
        return
    for top, (start, extent) in enumerate(_parts(ctx, param, shape[axis])):
        starts = tuple(start if a == axis else 0 for a in range(len(shape)))
        part = (*shape[:axis], extent, *shape[axis + 1 :])
        ctx.top(top, ctx.emit("tensor.slice", ctx.bottoms, SliceAttrs(starts, part), top=top))


def _parts(ctx: LayerContext, param: Message, whole: Dim) -> list[tuple[int, Dim]]:
    """(start, extent) of every top."""
    tops = len(ctx.top_names)
    points = param.integers("slice_point")
    if not points:
        size = exact_quotient(whole, tops)
        if size is None:
            raise ctx.error(f"{whole} elements cannot be cut into {tops} equal parts", "top")
        if not isinstance(size, int):
            raise ctx.error(f"the extent of the axis to cut must be fixed, got {whole}", "slice_param.axis")
        return [(i * size, size) for i in range(tops)]
    if len(points) != tops - 1:
        raise ctx.error(
            f"{tops} tops need {tops - 1} slice points, got {len(points)}", "slice_param.slice_point"
        )
    for index, (before, point) in enumerate(pairwise((0, *points))):
        if point <= before or (isinstance(whole, int) and point >= whole):
            raise ctx.error(
                f"slice point {point} must lie after {before} and before the end, {whole}",
                "slice_param.slice_point",
                index,
            )
    ends: tuple[Dim, ...] = (*points, whole)
    return [(start, end - start) for start, end in zip((0, *points), ends, strict=True)]


@layer("Split", tops=(1, None))
def import_split(ctx: LayerContext) -> None:
    """Every top is the input."""
    for index in range(len(ctx.top_names)):
        ctx.top(index, ctx.bottoms[0])


@layer("Mul", bottoms=(1, 2), source="Synopsys")
def import_mul(ctx: LayerContext) -> None:
    """The product of two inputs, broadcast as in NumPy; a missing one is learned, of shape ``mul_shape``."""
    path = "mul_param"
    extents = ctx.param(path).integers("mul_shape")
    for index, extent in enumerate(extents):
        if extent < 1:
            raise ctx.error(f"mul_shape must be at least 1, got {extent}", f"{path}.mul_shape", index)
    other = ctx.bottoms[1] if len(ctx.bottoms) == 2 else ctx.param_value("factor", extents, 0)
    operands = broadcast(ctx, (ctx.bottoms[0], other), "bottom" if len(ctx.bottoms) == 2 else path)
    ctx.top(0, ctx.emit("math.mul", operands))


def _axis(ctx: LayerContext, param: Message, path: str, old_name: str) -> int:
    """``axis``, or its old name, which counts from the front only."""
    if param.has(old_name) and param.has("axis"):
        raise ctx.error(f"either axis or {old_name} can be given, not both", f"{path}.{old_name}")
    name = old_name if param.has(old_name) else "axis"
    return ctx.axis(f"{path}.{name}", len(ctx.shape()), param.integer(name))
