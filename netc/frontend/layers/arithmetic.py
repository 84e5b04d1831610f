"""Arithmetic of two inputs, and of one along axes, as TensorFlow has it (Synopsys' fork)."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.ir.core import Value
from netc.ir.ops.elementwise import AffineAttrs, SqrtAttrs
from netc.ir.ops.reduce import ReduceAttrs, ReduceKind

_OPS = {"Add": "math.add", "Sub": "math.sub", "Div": "math.div", "Maximum": "math.max", "Minimum": "math.max"}
_SETTINGS = {
    "ReduceSum": "reduce_sum_param",
    "ReduceMean": "reduce_mean_param",
    "ReduceMax": "reduce_max_param",
    "ReduceMin": "reduce_min_param",
    "ReduceL1": "reduce_l1_param",
    "ReduceL2": "reduce_l2_param",
}


def broadcast(ctx: LayerContext, values: tuple[Value, Value], field: str = "bottom") -> list[Value]:
    """Two values with as many axes: ones are put before those of the shorter, as in NumPy."""
    shapes: list[Shape] = [value.type.shape for value in values]  # type: ignore[union-attr]
    rank = max(map(len, shapes))
    wide = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    for axis, (first, second) in enumerate(zip(*wide, strict=True)):
        if first != second and 1 not in (first, second):
            both = f"{show_shape(shapes[0])} and {show_shape(shapes[1])}"
            raise ctx.error(f"{both} do not go together: axis {axis} differs", field)
    return [ctx.reshape(value, shape, part="wide") for value, shape in zip(values, wide, strict=True)]


@layer("Add", "Sub", "Div", "Maximum", "Minimum", bottoms=(2, 2), source="Synopsys")
def import_arithmetic(ctx: LayerContext) -> None:
    """The sum, difference, quotient, larger or smaller of two inputs, broadcast as in NumPy."""
    first, second = broadcast(ctx, (ctx.bottoms[0], ctx.bottoms[1]))
    if ctx.type != "Minimum":
        ctx.top(0, ctx.emit(_OPS[ctx.type], (first, second)))
        return
    larger = ctx.emit("math.max", (_negative(ctx, first), _negative(ctx, second)), part="larger")
    ctx.top(0, _negative(ctx, larger, last=True))


@layer(*_SETTINGS, source="Synopsys")
def import_reduce(ctx: LayerContext) -> None:
    """The sum, the mean, the largest or smallest, or the norm along ``axis``, or along all axes.

    ``keepdims`` leaves the axes with one element each.
    """
    path = _SETTINGS[ctx.type]
    param = ctx.param(path)
    field = "axes" if ctx.type in ("ReduceL1", "ReduceL2") else "axis"
    shape = ctx.shape()
    given = [ctx.axis(f"{path}.{field}", len(shape), axis) for axis in param.integers(field)]
    axes = tuple(sorted(set(given))) or tuple(range(len(shape)))
    y = _reduced(ctx, axes)
    kept = bool(param.integer("keepdims")) if field == "axes" else param.flag("keepdims")
    short = tuple(extent for axis, extent in enumerate(shape) if axis not in axes)
    ctx.top(0, y if kept else ctx.reshape(y, short, part="short"))


def _reduced(ctx: LayerContext, axes: tuple[int, ...]) -> Value:
    """The input with one element along the axes."""
    (x,) = ctx.bottoms

    def along(kind: ReduceKind, value: Value, part: str | None = None) -> Value:
        return ctx.emit("tensor.reduce", (value,), ReduceAttrs(kind, axes), part=part) if axes else value

    match ctx.type:
        case "ReduceSum":
            return along("sum", x)
        case "ReduceMean":
            return along("mean", x)
        case "ReduceMax":
            return along("max", x)
        case "ReduceMin":
            return _negative(ctx, along("max", _negative(ctx, x), "largest"), last=True)
        case "ReduceL1":
            return along("sum", ctx.emit("math.abs", (x,), part="size"))
    square = along("sum", ctx.emit("math.mul", (x, x), part="square"), "squares")
    return ctx.emit("math.sqrt", (square,), SqrtAttrs())


def _negative(ctx: LayerContext, x: Value, *, last: bool = False) -> Value:
    return ctx.emit("math.affine", (x,), AffineAttrs(-1.0), part=None if last else "negative")
