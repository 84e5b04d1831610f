"""Layers that copy and choose rows: Tile, Embed, BatchReindex, Filter, ArgMax."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.ir.core import Value
from netc.ir.dim import Dim, product
from netc.ir.ops.elementwise import ThresholdAttrs
from netc.ir.ops.pick import TopKAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import ConcatAttrs, TileAttrs


@layer("Tile")
def import_tile(ctx: LayerContext) -> None:
    """``tiles`` copies of the input, one after the other along ``axis``."""
    param = ctx.param("tile_param")
    axis = ctx.axis("tile_param.axis", len(ctx.shape()), param.integer("axis"))
    tiles = param.integer("tiles")
    if tiles < 1:
        got = f"got {tiles}" if param.has("tiles") else "it is missing"
        raise ctx.error(f"tiles must be at least 1; {got}", "tile_param.tiles")
    ctx.top(0, ctx.bottoms[0] if tiles == 1 else ctx.emit("tensor.tile", ctx.bottoms, TileAttrs(axis, tiles)))


@layer("Embed")
def import_embed(ctx: LayerContext) -> None:
    """Row ``x`` of a learned table (``input_dim`` x ``num_output``) for every x, plus a bias.

    The output has one axis more than the input. A number that is no row gives the bias alone; the original
    reads beyond its table there.
    """
    path = "embed_param"
    param = ctx.param(path)
    for field in ("num_output", "input_dim"):
        if param.integer(field) < 1:
            got = f"got {param.integer(field)}" if param.has(field) else "it is missing"
            raise ctx.error(f"{field} must be at least 1; {got}", f"{path}.{field}")
    outputs = param.integer("num_output")
    shape = ctx.shape()
    table = ctx.param_value(
        "weight", (param.integer("input_dim"), outputs), 0, param.message("weight_filler")
    )
    flat = ctx.reshape(ctx.bottoms[0], (product(shape),), part="flat")
    rows = ctx.emit("tensor.take", (table, flat), part="rows")
    if param.flag("bias_term"):
        bias = ctx.param_value("bias", (outputs,), 1, param.message("bias_filler"))
        rows = ctx.emit("math.add", (rows, ctx.reshape(bias, (1, outputs), part="bias")), part="rows")
    ctx.top(0, ctx.reshape(rows, (*shape, outputs)))


@layer("BatchReindex", bottoms=(2, 2))
def import_batch_reindex(ctx: LayerContext) -> None:
    """Samples of the first input by index: ``y[m] = x[i[m]]``. An index that is no sample gives zeros."""
    if len(ctx.shape(1)) != 1 or not ctx.shape():
        raise ctx.error(f"needs indices of shape (M), got {show_shape(ctx.shape(1))}", "bottom", 1)
    ctx.top(0, ctx.emit("tensor.take", ctx.bottoms))


@layer("Filter", bottoms=(2, None), tops=(1, None))
def import_filter(ctx: LayerContext) -> None:
    """The samples of each input for which the last input, the selector, is not 0.

    How many those are is known in the run only. So each top is computed with the input's batch, its samples
    moved to the front, and the run hands out as many as were chosen. A layer that reads such a top must treat
    each sample by itself; see :mod:`netc.frontend.counted_rows`.
    """
    inputs, selector = ctx.bottoms[:-1], ctx.bottoms[-1]
    if len(ctx.top_names) != len(inputs):
        raise ctx.error(f"{len(inputs)} inputs need as many tops, got {len(ctx.top_names)}", "top")
    batch = _first(ctx.shape(len(inputs)))
    if product(ctx.shape(len(inputs))) != batch:
        got = show_shape(ctx.shape(len(inputs)))
        raise ctx.error(f"the selector must have one number a sample, got {got}", "bottom", len(inputs))
    chosen = ctx.reshape(selector, (batch,), part="chosen")
    for index, x in enumerate(inputs):
        if _first(ctx.shape(index)) != batch:
            got = show_shape(ctx.shape(index))
            raise ctx.error(f"the selector is for {batch} samples, the input is {got}", "bottom", index)
        ctx.top(index, ctx.emit("tensor.select", (x, chosen), top=index))
    count = _count(ctx, chosen)
    for value in ctx.tops.values():
        ctx.net.counts[value.name] = count


def _first(shape: Shape) -> Dim:
    return shape[0] if shape else 1


def _count(ctx: LayerContext, chosen: Value) -> Value:
    """How many numbers are not 0, as a tensor without axes."""
    size = ctx.emit("math.abs", (chosen,), part="size")
    flags = ctx.emit("math.threshold", (size,), ThresholdAttrs(0.0), part="flags")
    total = ctx.emit("tensor.reduce", (flags,), ReduceAttrs("sum", (0,)), part="count")
    return ctx.reshape(total, (), part="count")


@layer("ArgMax")
def import_arg_max(ctx: LayerContext) -> None:
    """Where the ``top_k`` largest values are along ``axis``; with ``out_max_val`` the values instead.

    Without ``axis`` each sample is one vector, and the output (N, 1, k), or (N, 2, k) with ``out_max_val``:
    indices, then values. Inputs of more than 3 axes keep their number of axes, filled up with ones. Of
    equal values the last comes first, as in the original.
    """
    param = ctx.param("argmax_param")
    shape, k = ctx.shape(), param.integer("top_k")
    values = param.flag("out_max_val")
    if param.has("axis"):
        axis = ctx.axis("argmax_param.axis", len(shape), param.integer("axis"))
        _check_top_k(ctx, k, shape[axis])
        attrs = TopKAttrs(axis, k, "values" if values else "indices")
        ctx.top(0, ctx.emit("tensor.top_k", ctx.bottoms, attrs))
        return
    if not shape:
        raise ctx.error("needs an input with axes, got a scalar", "bottom")
    rest = product(shape[1:])
    _check_top_k(ctx, k, rest)
    flat = ctx.reshape(ctx.bottoms[0], (shape[0], 1, rest), part="flat")
    found = ctx.emit("tensor.top_k", (flat,), TopKAttrs(2, k, "indices"), part="indices")
    if values:
        largest = ctx.emit("tensor.top_k", (flat,), TopKAttrs(2, k, "values"), part="values")
        found = ctx.emit("tensor.concat", (found, largest), ConcatAttrs(1), part="both")
    ones = (1,) * (len(shape) - 3)
    ctx.top(0, ctx.reshape(found, (shape[0], 2 if values else 1, k, *ones)))


def _check_top_k(ctx: LayerContext, k: int, size: Dim) -> None:
    if k < 1 or (isinstance(size, int) and k > size):
        raise ctx.error(f"top_k must be within 1..{size}, got {k}", "argmax_param.top_k")
