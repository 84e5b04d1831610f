"""Layers that rearrange elements or let them pass: Flatten, Reshape, Crop, Permute, Silence, Dropout."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.rearrange import pixel_shuffle
from netc.frontend.layers.registry import layer
from netc.ir.dim import Dim, exact_quotient, product
from netc.ir.ops.dropout import DropoutAttrs
from netc.ir.ops.elementwise import AffineAttrs
from netc.ir.ops.random import RandomDropoutAttrs
from netc.ir.ops.shape import SliceAttrs, TransposeAttrs


@layer("Flatten")
def import_flatten(ctx: LayerContext) -> None:
    """One axis of the axes ``axis`` to ``end_axis``, both included; by default all but the first."""
    param = ctx.param("flatten_param")
    shape = ctx.shape()
    start = ctx.axis("flatten_param.axis", len(shape), param.integer("axis"))
    end = ctx.axis("flatten_param.end_axis", len(shape), param.integer("end_axis"))
    if end < start:
        raise ctx.error(f"end_axis {end} lies before axis {start}", "flatten_param.end_axis")
    flat = (*shape[:start], product(shape[start : end + 1]), *shape[end + 1 :])
    ctx.top(0, ctx.reshape(ctx.bottoms[0], flat))


@layer("Reshape")
def import_reshape(ctx: LayerContext) -> None:
    """Other extents for ``num_axes`` axes from ``axis`` on: 0 keeps the input's, one -1 is what is left.

    ``axis`` may be one beyond the last, and counts from there where it is negative; ``num_axes`` -1
    means all axes that follow. A fork's ``pixelshuffler`` moves blocks of channels into space instead.
    """
    param = ctx.param("reshape_param")
    factor = param.integer("pixelshuffler")
    if factor < 1:
        raise ctx.error(f"pixelshuffler must be at least 1, got {factor}", "reshape_param.pixelshuffler")
    if factor > 1:
        ctx.top(0, pixel_shuffle(ctx, factor, "reshape_param.pixelshuffler"))
        return
    shape = ctx.shape()
    axis, count = param.integer("axis"), param.integer("num_axes")
    start = axis if axis >= 0 else len(shape) + axis + 1
    if not 0 <= start <= len(shape):
        raise ctx.error(f"axis {axis} is out of range for {len(shape)} axes", "reshape_param.axis")
    end = len(shape) if count == -1 else start + count
    if count < -1 or end > len(shape):
        raise ctx.error(f"num_axes {count} is out of range from axis {start} on", "reshape_param.num_axes")
    new = _new_extents(ctx, shape, start, end)
    ctx.top(0, ctx.reshape(ctx.bottoms[0], new))


def _new_extents(ctx: LayerContext, shape: Shape, start: int, end: int) -> Shape:
    message = ctx.param("reshape_param").message("shape")
    asked = message.integers("dim")
    path = "reshape_param.shape.dim"
    middle: list[Dim] = []
    inferred: int | None = None
    for index, extent in enumerate(asked):
        if extent == 0:
            if start + index >= len(shape):
                missing = f"dim 0 copies axis {start + index}, which the input does not have"
                raise ctx.error(missing, path, index)
            middle.append(shape[start + index])
        elif extent == -1:
            if inferred is not None:
                raise ctx.error("only one dim can be -1", path, index)
            inferred = index
            middle.append(1)
        elif extent < 0:
            raise ctx.error(f"dim must be -1, 0 or more, got {extent}", path, index)
        else:
            middle.append(extent)
    have, want = product(shape[start:end]), product(tuple(middle))
    if inferred is not None:
        rest = _left_over(shape[start:end], middle)
        if rest is None:
            raise ctx.error(f"{have} elements cannot be divided by the other dims ({want})", path, inferred)
        middle[inferred] = rest
    elif have != want:
        raise ctx.error(f"{show_shape(shape)} has {have} elements, dims {list(asked)} make {want}", path)
    return (*shape[:start], *middle, *shape[end:])


def _left_over(have: Shape, want: list[Dim]) -> Dim | None:
    """What an extent of -1 stands for; None if that is no whole number.

    Extents on both sides go first: of symbols, a product cannot always be divided.
    """
    divisors, rest = list(want), []
    for extent in have:
        if extent in divisors:
            divisors.remove(extent)
        else:
            rest.append(extent)
    return exact_quotient(product(tuple(rest)), product(tuple(divisors)))


@layer("Crop", bottoms=(2, 2))
def import_crop(ctx: LayerContext) -> None:
    """The first input cut to the second's extents from ``axis`` on; only the second's shape counts.

    ``offset`` is where to begin: none is 0, one counts for all axes, else there is one per axis.
    """
    param = ctx.param("crop_param")
    whole, wanted = ctx.shape(0), ctx.shape(1)
    if len(whole) != len(wanted):
        message = f"bottoms need the same number of axes, got {len(whole)} and {len(wanted)}"
        raise ctx.error(message, "bottom", 1)
    axis = ctx.axis("crop_param.axis", len(whole), param.integer("axis"))
    offsets = param.integers("offset")
    axes = len(whole) - axis
    if len(offsets) not in (0, 1, axes):
        raise ctx.error(f"expected no, one or {axes} offsets, got {len(offsets)}", "crop_param.offset")
    starts = (*(0,) * axis, *(offsets if len(offsets) == axes else (offsets or (0,)) * axes))
    kept = (*whole[:axis], *wanted[axis:])
    for index in range(axis, len(whole)):
        room = whole[index] - kept[index] - starts[index]
        if isinstance(room, int) and room < 0:
            raise ctx.error(
                f"axis {index}: {kept[index]} elements from {starts[index]} on are more than {whole[index]}",
                "crop_param.offset" if offsets else "bottom",
                (index - axis if len(offsets) == axes else 0) if offsets else 1,
            )
    if kept == whole:
        ctx.top(0, ctx.bottoms[0])
    else:
        ctx.top(0, ctx.emit("tensor.slice", ctx.bottoms[:1], SliceAttrs(starts, kept)))


@layer("Permute", source="SSD")
def import_permute(ctx: LayerContext) -> None:
    """The axes in another ``order``; those it leaves out follow in their old order (SSD's fork)."""
    order = ctx.param("permute_param").integers("order")
    rank = len(ctx.shape())
    for index, axis in enumerate(order):
        if axis >= rank or axis in order[:index]:
            problem = "is given twice" if axis < rank else f"is not one of {rank} axes"
            raise ctx.error(f"axis {axis} {problem}", "permute_param.order", index)
    perm = (*order, *(a for a in range(rank) if a not in order))
    if perm == tuple(range(rank)):
        ctx.top(0, ctx.bottoms[0])
    else:
        ctx.top(0, ctx.emit("tensor.transpose", ctx.bottoms, TransposeAttrs(perm)))


@layer("Silence", bottoms=(1, None), tops=(0, 0))
def import_silence(ctx: LayerContext) -> None:
    """Nothing; its inputs are no outputs of the net."""


@layer("Dropout")
def import_dropout(ctx: LayerContext) -> None:
    """TRAIN: zero with probability ``dropout_ratio``, else ``x / (1 - ratio)``. TEST: x.

    With the forks' ``scale_train: false`` the factor moves to TEST, which then is ``x (1 - ratio)``, and
    TRAIN is zero or x.
    """
    param = ctx.param("dropout_param")
    ratio = param.number("dropout_ratio")
    train = ctx.phase == "TRAIN"
    # the original checks this in debug builds only, and real nets have 0
    if not 0 <= ratio <= 1 or (train and ratio == 1):
        message = f"dropout_ratio must lie between 0 and 1, got {ratio:g}"
        raise ctx.error(message, "dropout_param.dropout_ratio")
    if param.flag("sample_weights_test"):
        raise ctx.refuse("dropout_param.sample_weights_test")
    scaled = param.flag("scale_train")
    if not scaled and not train:
        ctx.top(0, ctx.emit("math.affine", ctx.bottoms, AffineAttrs(scale=1 - ratio)))
        return
    if not train:
        ctx.top(0, ctx.emit("nn.dropout", ctx.bottoms, DropoutAttrs(ratio)))
        return
    state, stream = ctx.random_stream()
    attrs = RandomDropoutAttrs(ratio, stream)
    if scaled:
        ctx.top(0, ctx.emit("random.dropout", (ctx.bottoms[0], state), attrs))
        return
    kept = ctx.emit("random.dropout", (ctx.bottoms[0], state), attrs, part="kept")
    ctx.top(0, ctx.emit("math.affine", (kept,), AffineAttrs(1 - ratio)))
