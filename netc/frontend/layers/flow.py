"""FlowNet's and DispNet's layers: Correlation, Correlation1D, FlowWarp, ChannelNorm, Resample."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.ir.ops.elementwise import SqrtAttrs
from netc.ir.ops.flow import CorrelationAttrs, Filter, ResampleAttrs, grid_radius, square_shifts
from netc.ir.ops.reduce import ReduceAttrs

_P = "correlation_param"
_FIELDS = {"kernel": f"{_P}.kernel_size", "stride": f"{_P}.stride_1", "reach": f"{_P}.max_displacement"}


@layer("Correlation", bottoms=(2, 2), source="FlowNet")
def import_correlation(ctx: LayerContext) -> None:
    """How alike the patches of two images are that lie up to ``max_displacement`` apart; a channel a shift.

    Patches have ``kernel_size`` squared elements and are ``stride_1`` apart, shifts ``stride_2``; both images
    are padded by ``pad``. ``correlation_type: SUBTRACT`` takes differences for products.
    """
    reach, step = _reach_and_step(ctx)
    shifts = square_shifts(grid_radius(reach, step), step)
    pad = ctx.param(_P).integer("pad")
    _correlate(ctx, (pad, pad), (reach, reach), shifts)


@layer("Correlation1D", bottoms=(2, 2), source="DispNet")
def import_correlation_1d(ctx: LayerContext) -> None:
    """Correlation with shifts and padding across only; ``single_direction`` takes those to one side."""
    param = ctx.param(_P)
    reach, step = _reach_and_step(ctx)
    radius, side = grid_radius(reach, step), param.integer("single_direction")
    if side not in (-1, 0, 1):
        raise ctx.error(f"single_direction must be -1, 0 or 1, got {side}", f"{_P}.single_direction")
    steps = range(0 if side > 0 else -radius, (0 if side < 0 else radius) + 1)
    _correlate(ctx, (0, param.integer("pad")), (0, reach), tuple((0, at * step) for at in steps))


def _reach_and_step(ctx: LayerContext) -> tuple[int, int]:
    param = ctx.param(_P)
    for field in ("kernel_size", "max_displacement"):
        if not param.has(field):
            raise ctx.error(f"{field} is missing", _P)
    if param.integer("stride_2") < 1:
        raise ctx.error(f"stride_2 must be at least 1, got {param.integer('stride_2')}", f"{_P}.stride_2")
    if param.flag("do_abs"):
        raise ctx.refuse(f"{_P}.do_abs")
    return param.integer("max_displacement"), param.integer("stride_2")


def _correlate(
    ctx: LayerContext, pad: tuple[int, int], reach: tuple[int, int], shifts: tuple[tuple[int, int], ...]
) -> None:
    param = ctx.param(_P)
    attrs = CorrelationAttrs(
        kernel=param.integer("kernel_size"),
        stride=param.integer("stride_1"),
        pad=pad,
        reach=reach,
        shifts=shifts,
        kind="product" if param.text("correlation_type") == "MULTIPLY" else "difference",
    )
    ctx.top(0, ctx.emit("nn.correlation", ctx.bottoms, attrs, fields=_FIELDS))


@layer("FlowWarp", bottoms=(2, 2), source="FlowNet")
def import_flow_warp(ctx: LayerContext) -> None:
    """The first input where the second, (N, 2, H, W), leads from each element: across, down; 0 beyond it."""
    path = "flow_warp_param"
    if ctx.param(path).text("fill_value") != "ZERO":
        raise ctx.refuse(f"{path}.fill_value")
    ctx.top(0, ctx.emit("nn.warp", ctx.bottoms))


@layer("ChannelNorm", source="FlowNet")
def import_channel_norm(ctx: LayerContext) -> None:
    """The length of the channels of every element, (N, 1, H, W)."""
    _planes(ctx, 0)
    (x,) = ctx.bottoms
    square = ctx.emit("math.mul", (x, x), part="square")
    total = ctx.emit("tensor.reduce", (square,), ReduceAttrs("sum", (1,)), part="sum")
    ctx.top(0, ctx.emit("math.sqrt", (total,), SqrtAttrs()))


@layer("Resample", bottoms=(1, 2), source="FlowNet")
def import_resample(ctx: LayerContext) -> None:
    """To ``height x width``, or the size of a second input, by a filter of ``type``; see ``nn.resample``.

    ``antialias`` stretches the filter where elements get fewer.
    """
    path = "resample_param"
    param = ctx.param(path)
    kinds: dict[str, Filter] = {"NEAREST": "nearest", "LINEAR": "linear", "CUBIC": "cubic"}
    if param.text("type") not in kinds:
        raise ctx.refuse(f"{path}.type")
    shape = _planes(ctx, 0)
    if len(ctx.bottoms) == 2:
        height, width = _planes(ctx, 1)[2:]
    else:
        height, width = param.integer("height"), param.integer("width")
        if height < 1 or width < 1:
            raise ctx.error("the size is missing: give height and width, or a second bottom", path)
    if shape[2:] == (height, width):
        ctx.top(0, ctx.bottoms[0])
        return
    attrs = ResampleAttrs((height, width), kinds[param.text("type")], param.flag("antialias"))
    ctx.top(0, ctx.emit("nn.resample", ctx.bottoms[:1], attrs))


def _planes(ctx: LayerContext, bottom: int) -> Shape:
    shape = ctx.shape(bottom)
    if len(shape) != 4:
        raise ctx.error(f"needs an input with 4 axes, got {show_shape(shape)}", "bottom", bottom)
    return shape
