"""The forks' layers that move elements: ShuffleChannel, Reorg, Squeeze, Pad, and batch to space and back."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.ir.core import Value
from netc.ir.dim import Dim, exact_quotient, product
from netc.ir.ops.pad import PadAttrs, PadKind
from netc.ir.ops.reverse import ReverseAttrs
from netc.ir.ops.shape import SliceAttrs, TransposeAttrs


def rearranged(
    ctx: LayerContext, x: Value, split: Shape, perm: tuple[int, ...], shape: Shape, *, last: bool = True
) -> Value:
    """x with its axes split, put in another order and joined again."""
    apart = ctx.reshape(x, split, part="split")
    moved = ctx.emit("tensor.transpose", (apart,), TransposeAttrs(perm), part="moved")
    return ctx.reshape(moved, shape, part=None if last else "joined")


@layer("ShuffleChannel", source="ShuffleNet")
def import_shuffle_channel(ctx: LayerContext) -> None:
    """Channel ``i n + j`` of ``group`` times n becomes channel ``j group + i`` (ShuffleNet)."""
    path = "shuffle_channel_param"
    group = ctx.param(path).integer("group")
    shape = ctx.shape()
    if len(shape) < 2:
        raise ctx.error(f"needs an input with at least 2 axes, got {len(shape)}", "bottom")
    if group < 1:
        raise ctx.error(f"group must be at least 1, got {group}", f"{path}.group")
    each = exact_quotient(shape[1], group)
    if each is None:
        raise ctx.error(f"{shape[1]} channels are not a multiple of group {group}", f"{path}.group")
    perm = (0, 2, 1, *range(3, len(shape) + 1))
    ctx.top(0, rearranged(ctx, ctx.bottoms[0], (shape[0], group, each, *shape[2:]), perm, shape))


@layer("Reorg", source="YOLO")
def import_reorg(ctx: LayerContext) -> None:
    """(N, C, H, W) as (N, C s^2, H / s, W / s) the way Darknet does it, s being ``stride``.

    Darknet reads its input as if it were (N, C / s^2, H s, W s), and takes every s-th element of every s-th
    row of that. With ``reverse`` channel ``k C / s^2 + c`` becomes offset k of the s x s blocks of channel
    c.
    """
    path = "reorg_param"
    param = ctx.param(path)
    stride = param.integer("stride")
    shape = ctx.shape()
    if len(shape) != 4:
        raise ctx.error(f"needs an input with 4 axes, got {show_shape(shape)}", "bottom")
    if stride < 1:
        raise ctx.error(f"stride must be at least 1, got {stride}", f"{path}.stride")
    n, channels, height, width = shape
    few = exact_quotient(channels, stride * stride)
    if few is None:
        message = f"{channels} channels are not a multiple of stride {stride} times itself"
        raise ctx.error(message, f"{path}.stride")
    x = ctx.bottoms[0]
    if param.flag("reverse"):
        split = (n, stride, stride, few, height, width)
        whole = (n, few, height * stride, width * stride)
        ctx.top(0, rearranged(ctx, x, split, (0, 3, 4, 1, 5, 2), whole))
        return
    low, narrow = exact_quotient(height, stride), exact_quotient(width, stride)
    if low is None or narrow is None:
        message = f"a plane of {height}x{width} is not a multiple of stride {stride}"
        raise ctx.error(message, f"{path}.stride")
    apart = (n, few, height, stride, width, stride)
    ctx.top(0, rearranged(ctx, x, apart, (0, 3, 5, 1, 2, 4), (n, channels * stride * stride, low, narrow)))


def pixel_shuffle(ctx: LayerContext, factor: int, path: str) -> Value:
    """(N, C f^2, H, W) as (N, C, H f, W f): channel ``c f^2 + i f + j`` is offset (i, j) in the blocks."""
    shape = ctx.shape()
    if len(shape) != 4:
        raise ctx.error(f"needs an input with 4 axes, got {show_shape(shape)}", "bottom")
    n, channels, height, width = shape
    few = exact_quotient(channels, factor * factor)
    if few is None:
        raise ctx.error(f"{channels} channels are not a multiple of {factor} times itself", path)
    split = (n, few, factor, factor, height, width)
    whole = (n, few, height * factor, width * factor)
    return rearranged(ctx, ctx.bottoms[0], split, (0, 1, 4, 2, 5, 3), whole)


@layer("Squeeze", source="Synopsys")
def import_squeeze(ctx: LayerContext) -> None:
    """Without the axes of extent 1: those of ``axis``, or all."""
    path = "squeeze_param"
    shape = ctx.shape()
    gone = set()
    for index, axis in enumerate(ctx.param(path).integers("axis")):
        if not -len(shape) <= axis < len(shape):
            message = f"axis {axis} is not an axis of an input with {len(shape)} axes"
            raise ctx.error(message, f"{path}.axis", index)
        if shape[axis] != 1:
            raise ctx.error(f"axis {axis} has {shape[axis]} elements, not 1", f"{path}.axis", index)
        gone.add(axis % len(shape))
    if not gone:
        gone = {axis for axis, extent in enumerate(shape) if extent == 1}
    ctx.top(0, ctx.reshape(ctx.bottoms[0], tuple(d for a, d in enumerate(shape) if a not in gone)))


@layer("Pad", "Padding", source="Synopsys")
def import_pad(ctx: LayerContext) -> None:
    """``constant_values`` around the input; ``paddings`` are (before, behind) for each axis."""
    path = "pad_param"
    pads = _paddings(ctx, path)
    attrs = PadAttrs(pads[::2], pads[1::2], "constant", ctx.param(path).number("constant_values"))
    ctx.top(0, ctx.emit("tensor.pad", ctx.bottoms, attrs))


@layer("MirrorPad", source="Synopsys")
def import_mirror_pad(ctx: LayerContext) -> None:
    """The input mirrored about its outermost elements (REFLECT) or about its edge (SYMMETRIC), or a constant.

    ``paddings`` are (before, behind) for each axis, as Pad has them.
    """
    path = "mirror_pad_param"
    param = ctx.param(path)
    kinds: dict[str, PadKind] = {"CONSTANT": "constant", "REFLECT": "reflect", "SYMMETRIC": "symmetric"}
    if param.text("mode") not in kinds:
        raise ctx.refuse(f"{path}.mode")
    pads = _paddings(ctx, path)
    attrs = PadAttrs(pads[::2], pads[1::2], kinds[param.text("mode")], param.number("constant_values"))
    fields = {"low": f"{path}.paddings", "high": f"{path}.paddings"}
    ctx.top(0, ctx.emit("tensor.pad", ctx.bottoms, attrs, fields=fields))


def _paddings(ctx: LayerContext, path: str) -> tuple[int, ...]:
    pads = ctx.param(path).integers("paddings")
    rank = len(ctx.shape())
    if len(pads) != 2 * rank:
        message = f"two paddings for each of {rank} axes expected, got {len(pads)}"
        raise ctx.error(message, f"{path}.paddings" if pads else path)
    return pads


@layer("DepthToSpace", source="Synopsys")
def import_depth_to_space(ctx: LayerContext) -> None:
    """TensorFlow's: channel ``(i b + j) C + c`` becomes element (i, j) of the b x b block of channel c.

    (N, H, W, C b^2) becomes (N, H b, W b, C) unless ``data_format`` says NCHW.
    """
    path = "depth_to_space_param"
    n, channels, height, width, block, last = _blocked(ctx, path)
    few = exact_quotient(channels, block * block)
    if few is None:
        message = f"{channels} channels are not a multiple of {block} times itself"
        raise ctx.error(message, f"{path}.block_size")
    tall, wide = height * block, width * block
    split: Shape
    whole: Shape
    if last:
        split, perm, whole = (n, height, width, block, block, few), (0, 1, 3, 2, 4, 5), (n, tall, wide, few)
    else:
        split, perm, whole = (n, block, block, few, height, width), (0, 3, 4, 1, 5, 2), (n, few, tall, wide)
    ctx.top(0, rearranged(ctx, ctx.bottoms[0], split, perm, whole))


@layer("SpaceToDepth", source="Synopsys")
def import_space_to_depth(ctx: LayerContext) -> None:
    """The way back of DepthToSpace."""
    path = "space_to_depth_param"
    n, channels, height, width, block, last = _blocked(ctx, path)
    low, narrow = exact_quotient(height, block), exact_quotient(width, block)
    if low is None or narrow is None:
        message = f"a plane of {height}x{width} is not a multiple of {block}"
        raise ctx.error(message, f"{path}.block_size")
    many = channels * block * block
    split: Shape
    whole: Shape
    if last:
        split, perm, whole = (
            (n, low, block, narrow, block, channels),
            (0, 1, 3, 2, 4, 5),
            (n, low, narrow, many),
        )
    else:
        split, perm, whole = (
            (n, channels, low, block, narrow, block),
            (0, 3, 5, 1, 2, 4),
            (n, many, low, narrow),
        )
    ctx.top(0, rearranged(ctx, ctx.bottoms[0], split, perm, whole))


def _blocked(ctx: LayerContext, path: str) -> tuple[Dim, Dim, Dim, Dim, int, bool]:
    """Samples, channels, height, width, the side of a block, and whether the channels are the last axis."""
    param = ctx.param(path)
    shape = ctx.shape()
    if len(shape) != 4:
        raise ctx.error(f"needs an input with 4 axes, got {show_shape(shape)}", "bottom")
    if param.integer("block_size") < 1:
        raise ctx.error(
            f"block_size must be at least 1, got {param.integer('block_size')}", f"{path}.block_size"
        )
    if param.text("data_format") not in ("NHWC", "NCHW"):
        raise ctx.refuse(f"{path}.data_format")
    last = param.text("data_format") == "NHWC"
    n, channels, height, width = (shape[axis] for axis in ((0, 3, 1, 2) if last else (0, 1, 2, 3)))
    return n, channels, height, width, param.integer("block_size"), last


@layer("Transpose", source="CRNN")
def import_transpose(ctx: LayerContext) -> None:
    """Axis i of the top is axis ``dim[i]`` of the bottom (text recognisers' forks)."""
    path = "transpose_param"
    dims = ctx.param(path).integers("dim")
    rank = len(ctx.shape())
    if sorted(dims) != list(range(rank)):
        message = f"dim must name each of {rank} axes once, got {', '.join(map(str, dims)) or 'none'}"
        raise ctx.error(message, f"{path}.dim" if dims else path)
    ctx.top(0, ctx.transpose(ctx.bottoms[0], dims))


@layer("Reverse", source="CRNN")
def import_reverse(ctx: LayerContext) -> None:
    """The elements along ``axis``, 0 if none is given, from the last to the first."""
    path = "reverse_param"
    rank = len(ctx.shape())
    axes = {ctx.axis(f"{path}.axis", rank, axis) for axis in ctx.param(path).integers("axis") or (0,)}
    ctx.top(0, ctx.emit("tensor.reverse", ctx.bottoms, ReverseAttrs(tuple(sorted(axes)))))


@layer("Flip", source="several forks")
def import_flip(ctx: LayerContext) -> None:
    """Planes mirrored across (``flip_width``, unless it is false) and up and down (``flip_height``)."""
    param = ctx.param("flip_param")
    if len(ctx.shape()) != 4:
        raise ctx.error(f"needs an input with 4 axes, got {show_shape(ctx.shape())}", "bottom")
    axes = tuple(a for a, field in ((2, "flip_height"), (3, "flip_width")) if param.flag(field))
    ctx.top(0, ctx.emit("tensor.reverse", ctx.bottoms, ReverseAttrs(axes)))


@layer("SpaceToBatchND", source="Synopsys")
def import_space_to_batch(ctx: LayerContext) -> None:
    """Every b-th element of an axis becomes a sample of its own: TensorFlow's space_to_batch_nd.

    ``block_shape`` is for the axes from 1 on, which are padded by ``paddings`` (before, behind) first.
    """
    path = "space_to_batch_nd_param"
    blocks, pads = _blocks(ctx, path, "paddings")
    shape = ctx.shape()
    x, rest = ctx.bottoms[0], (0,) * (len(shape) - 1 - len(blocks))
    if any(pads):
        attrs = PadAttrs((0, *pads[::2], *rest), (0, *pads[1::2], *rest))
        x = ctx.emit("tensor.pad", (x,), attrs, part="padded")
    padded = x.type.shape  # type: ignore[union-attr]
    split: list[Dim] = [padded[0]]
    for axis, block in enumerate(blocks, start=1):
        outer = exact_quotient(padded[axis], block)
        if outer is None:
            message = f"axis {axis} has {padded[axis]} elements, not a multiple of {block}"
            raise ctx.error(message, f"{path}.block_shape", axis - 1)
        split += [outer, block]
    count = len(blocks)
    tail = padded[1 + count :]
    outers = tuple(range(1, 2 * count, 2))
    perm = (*(a + 1 for a in outers), 0, *outers, *range(2 * count + 1, 2 * count + 1 + len(tail)))
    joined = (padded[0] * product(tuple(blocks)), *(split[a] for a in outers), *tail)
    ctx.top(0, rearranged(ctx, x, (*split, *tail), perm, joined))


@layer("BatchToSpaceND", source="Synopsys")
def import_batch_to_space(ctx: LayerContext) -> None:
    """The way back of SpaceToBatchND; ``crops`` (before, behind) are cut off the axes at the end."""
    path = "batch_to_space_nd_param"
    blocks, crops = _blocks(ctx, path, "crops")
    shape, count = ctx.shape(), len(blocks)
    few = exact_quotient(shape[0], product(tuple(blocks)))
    if few is None:
        raise ctx.error(f"{shape[0]} samples are not a multiple of the blocks", f"{path}.block_shape")
    tail = shape[1 + count :]
    perm = [count]
    for axis in range(count):
        perm += [count + 1 + axis, axis]
    perm += range(2 * count + 1, 2 * count + 1 + len(tail))
    wide = tuple(extent * block for extent, block in zip(shape[1 : 1 + count], blocks, strict=True))
    whole = (few, *wide, *tail)
    cut = any(crops)
    x = rearranged(ctx, ctx.bottoms[0], (*blocks, few, *shape[1:]), tuple(perm), whole, last=not cut)
    if cut:
        kept = tuple(w - a - b for w, a, b in zip(wide, crops[::2], crops[1::2], strict=True))
        starts = (0, *crops[::2], *(0 for _ in tail))
        x = ctx.emit(
            "tensor.slice", (x,), SliceAttrs(starts, (few, *kept, *tail)), fields={"shape": f"{path}.crops"}
        )
    ctx.top(0, x)


def _blocks(ctx: LayerContext, path: str, field: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The extents of the blocks, and two numbers for each of them."""
    param = ctx.param(path)
    blocks = param.integers("block_shape")
    rank = len(ctx.shape())
    if not 1 <= len(blocks) < rank:
        message = f"1 to {rank - 1} block_shape expected for {rank} axes, got {len(blocks)}"
        raise ctx.error(message, f"{path}.block_shape" if blocks else path)
    for index, block in enumerate(blocks):
        if block < 1:
            raise ctx.error(f"block_shape must be at least 1, got {block}", f"{path}.block_shape", index)
    pairs = param.integers(field) or (0,) * (2 * len(blocks))
    if len(pairs) != 2 * len(blocks):
        message = f"two {field} for each of {len(blocks)} block_shape expected, got {len(pairs)}"
        raise ctx.error(message, f"{path}.{field}")
    return blocks, pairs
