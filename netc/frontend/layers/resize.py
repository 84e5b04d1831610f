"""Planes of another size: Interp, Upsample, and the resizing layers of several forks."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.frontend.message import Message
from netc.ir.core import Value
from netc.ir.dim import Dim, floordiv
from netc.ir.ops.resize import Coordinates, MaxUnpoolAttrs, ResizeAttrs, ResizeKind
from netc.ir.ops.shape import FillAttrs, SliceAttrs, TransposeAttrs
from netc.ir.types import TensorType

_TO_CHANNELS_FIRST = (0, 3, 1, 2)
_TO_CHANNELS_LAST = (0, 2, 3, 1)


@layer("Interp", bottoms=(1, 2), source="DeepLab, PSPNet")
def import_interp(ctx: LayerContext) -> None:
    """Bilinear, the outermost elements on each other: DeepLab's, which PSPNet and others took over.

    The size is ``height x width``, or follows from ``shrink_factor`` (``(in - 1) / s + 1``) and then
    ``zoom_factor`` (``in + (in - 1) (z - 1)``), or is ``full_zoom_factor`` times the input's (Synopsys'
    fork), or is that of a second bottom, with ``use_blob_size`` always. ``pad_beg`` and ``pad_end``
    cut elements off where they are negative.
    """
    path = "interp_param"
    param = ctx.param(path)
    shape = _planes(ctx)
    begin, end = param.integer("pad_beg"), param.integer("pad_end")
    for field, pad in (("pad_beg", begin), ("pad_end", end)):
        if pad > 0:
            raise ctx.error(f"{field} can only cut, and so must be 0 or less, got {pad}", f"{path}.{field}")
    kept = tuple(extent + (begin + end) for extent in shape[2:])
    x = ctx.bottoms[0]
    if begin or end:
        if any(isinstance(extent, int) and extent < 1 for extent in kept):
            raise ctx.error(f"nothing is left of {show_shape(shape[2:])}", f"{path}.pad_beg")
        x = ctx.emit(
            "tensor.slice", (x,), SliceAttrs((0, 0, -begin, -begin), (*shape[:2], *kept)), part="cut"
        )
    ctx.top(0, _resized(ctx, x, _interp_size(ctx, param, kept), "bilinear", "corners"))


def _interp_size(ctx: LayerContext, param: Message, kept: Shape) -> tuple[Dim, Dim]:
    path = "interp_param"
    if param.flag("use_blob_size"):
        if len(ctx.bottoms) < 2:
            raise ctx.error("use_blob_size needs a second bottom", f"{path}.use_blob_size")
        return _like(ctx, 1)
    for field in ("shrink_factor", "zoom_factor", "height", "width"):
        if param.has(field) and param.integer(field) < 1:
            raise ctx.error(f"{field} must be at least 1, got {param.integer(field)}", f"{path}.{field}")
    shrinks, zooms = param.has("shrink_factor"), param.has("zoom_factor")
    stated = param.has("height") and param.has("width")
    if stated and shrinks == zooms:  # the original's order: one factor, then the size, then both factors
        return param.integer("height"), param.integer("width")
    if shrinks or zooms:
        shrink, zoom = param.integer("shrink_factor"), param.integer("zoom_factor")
        small = [floordiv(extent - 1, shrink) + 1 for extent in kept]
        height, width = (extent + (extent - 1) * (zoom - 1) for extent in small)
        return height, width
    if param.has("full_zoom_factor"):
        factor = param.integer("full_zoom_factor")
        if factor < 1:
            raise ctx.error(f"full_zoom_factor must be at least 1, got {factor}", f"{path}.full_zoom_factor")
        return kept[0] * factor, kept[1] * factor
    if len(ctx.bottoms) == 2:
        return _like(ctx, 1)
    raise ctx.error("the size is missing: give height and width, or a factor", path)


@layer("Unpooling", bottoms=(2, 2), source="DeconvNet")
def import_unpooling(ctx: LayerContext) -> None:
    """Values go where the pooling, whose mask is the second bottom, found its maxima (DeconvNet's fork).

    The size is ``unpool_size`` squared, or ``stride (in - 1) + kernel - 2 pad``.
    """
    path = "unpooling_param"
    param = ctx.param(path)
    if param.text("unpool") != "MAX":
        raise ctx.refuse(f"{path}.unpool")
    shape = _planes(ctx)
    _check_mask(ctx, shape)
    if param.has("unpool_size"):
        size: tuple[Dim, Dim] = (param.integer("unpool_size"),) * 2
    else:
        if param.integer("kernel_size") < 1:
            raise ctx.error("the size is missing: give unpool_size or kernel_size", path)
        more = param.integer("kernel_size") - 2 * param.integer("pad")
        height, width = ((extent - 1) * param.integer("stride") + more for extent in shape[2:])
        size = (height, width)
    ctx.top(0, ctx.emit("nn.max_unpool", ctx.bottoms, MaxUnpoolAttrs(size), fields={"size": path}))


@layer("UpsampleDarknet", source="Synopsys")
def import_upsample_darknet(ctx: LayerContext) -> None:
    """Every element ``stride`` times below and beside itself (YOLO's forks)."""
    path = "upsample_darknet_param"
    stride = ctx.param(path).integer("stride")
    if stride < 1:
        raise ctx.error(f"stride must be at least 1, got {stride}", f"{path}.stride")
    ctx.top(0, _repeated(ctx, _planes(ctx), stride, stride))


@layer("Upsample", bottoms=(1, 2), source="SegNet, YOLO")
def import_upsample(ctx: LayerContext) -> None:
    """With a mask as the second bottom SegNet's unpooling: values go where the pooling found its maxima.

    The size is ``upsample_h x upsample_w``, or a multiple by ``scale`` or ``scale_h`` and ``scale_w``, less
    one with ``pad_out_h`` and ``pad_out_w``. Without a mask every element is repeated (the YOLO forks).
    """
    path = "upsample_param"
    param = ctx.param(path)
    shape = _planes(ctx)
    if len(ctx.bottoms) == 1:
        ctx.top(0, _repeated(ctx, shape, *_scales(ctx, param)))
        return
    _check_mask(ctx, shape)
    if param.has("upsample_h") != param.has("upsample_w"):
        raise ctx.error("both upsample_h and upsample_w are needed", path)
    if param.has("upsample_h"):
        size: tuple[Dim, Dim] = (param.integer("upsample_h"), param.integer("upsample_w"))
    else:
        scales = _scales(ctx, param)
        cuts = [param.flag(field) for field in ("pad_out_h", "pad_out_w")]
        for field, cut, scale in zip(("pad_out_h", "pad_out_w"), cuts, scales, strict=True):
            if cut and scale != 2:
                raise ctx.error(f"{field} goes with a scale of 2 only, got {scale}", f"{path}.{field}")
        height, width = (extent * s - int(c) for extent, s, c in zip(shape[2:], scales, cuts, strict=True))
        size = (height, width)
    ctx.top(0, ctx.emit("nn.max_unpool", ctx.bottoms, MaxUnpoolAttrs(size), fields={"size": path}))


def _check_mask(ctx: LayerContext, shape: Shape) -> None:
    if ctx.shape(1) != shape:
        mask = show_shape(ctx.shape(1))
        message = f"the mask must have the shape of the values, {show_shape(shape)}; got {mask}"
        raise ctx.error(message, "bottom", 1)


def _scales(ctx: LayerContext, param: Message) -> tuple[int, int]:
    """Vertical and horizontal."""
    path = "upsample_param"
    if param.has("scale_h") != param.has("scale_w"):
        raise ctx.error("both scale_h and scale_w are needed", path)
    if param.has("scale_h") and param.has("scale"):
        raise ctx.error("either scale or scale_h and scale_w can be given, not both", f"{path}.scale")
    fields = ("scale_h", "scale_w") if param.has("scale_h") else ("scale", "scale")
    for field in fields:
        if param.integer(field) < 1:
            raise ctx.error(f"{field} must be at least 1, got {param.integer(field)}", f"{path}.{field}")
    return param.integer(fields[0]), param.integer(fields[1])


def _repeated(ctx: LayerContext, shape: Shape, down: int, across: int) -> Value:
    """Every element ``down`` times below and ``across`` times beside itself: times 1, broadcast."""
    n, c, h, w = shape
    apart = ctx.reshape(ctx.bottoms[0], (n, c, h, 1, w, 1), part="apart")
    ones = FillAttrs(TensorType("f32", (1, 1, 1, down, 1, across)), 1.0)
    repeated = ctx.emit("math.mul", (apart, ctx.emit("tensor.fill", (), ones, part="ones")), part="repeated")
    return ctx.reshape(repeated, (n, c, h * down, w * across))


@layer("ResizeBilinear", source="Synopsys")
def import_resize_bilinear(ctx: LayerContext) -> None:
    """TensorFlow's bilinear resizing, of (N, H, W, C) unless ``data_format`` says NCHW (Synopsys' fork)."""
    path = "resize_bilinear_param"
    param = ctx.param(path)
    half = param.flag("half_pixel_centers") or param.flag("pytorch_half_pixel")
    _resize_in_format(ctx, param, path, "bilinear", half_pixel=half)


@layer("ResizeNearestNeighbor", "ResizeNearest", source="Synopsys")
def import_resize_nearest(ctx: LayerContext) -> None:
    """TensorFlow's resizing to the nearest neighbour; the formats are those of ResizeBilinear."""
    path = "resize_nearest_neighbor_param"
    param = ctx.param(path)
    _resize_in_format(ctx, param, path, "nearest", half_pixel=param.flag("half_pixel_centers"))


@layer("Resize", source="several forks")
def import_resize(ctx: LayerContext) -> None:
    """To ``height x width``, bilinear or the nearest; element i comes from point ``i in / out``.

    Forks have this layer with settings that contradict each other; these are what they agree on.
    """
    path = "resize_param"
    param = ctx.param(path)
    kinds: dict[str, ResizeKind] = {"LINEAR": "bilinear", "NEAREST": "nearest"}
    modes = param.texts("interp_mode") or ("LINEAR",)
    if modes[0] not in kinds or len(modes) > 1:
        raise ctx.refuse(f"{path}.interp_mode")
    for field in ("height", "width"):
        if param.integer(field) < 1:
            raise ctx.error(f"{field} is missing", path)
    if param.text("resize_mode") != "WARP":
        raise ctx.refuse(f"{path}.resize_mode")
    _planes(ctx)
    size = (param.integer("height"), param.integer("width"))
    ctx.top(0, _resized(ctx, ctx.bottoms[0], size, kinds[modes[0]], "origin"))


def _resize_in_format(
    ctx: LayerContext, param: Message, path: str, kind: ResizeKind, *, half_pixel: bool
) -> None:
    layouts = {"NHWC": True, "NCHW": False}
    if param.text("data_format") not in layouts:
        raise ctx.refuse(f"{path}.data_format")
    channels_last = layouts[param.text("data_format")]
    if param.flag("align_corners") and half_pixel:
        message = "align_corners and half_pixel_centers contradict each other"
        raise ctx.error(message, f"{path}.align_corners")
    shape = _planes(ctx)
    spatial = shape[1:3] if channels_last else shape[2:]
    size = (_extent(ctx, param, path, "height", spatial[0]), _extent(ctx, param, path, "width", spatial[1]))
    coordinates: Coordinates = "origin"
    if half_pixel or param.flag("align_corners"):
        coordinates = "half_pixel" if half_pixel else "corners"
    x = ctx.bottoms[0]
    if not channels_last:
        ctx.top(0, _resized(ctx, x, size, kind, coordinates))
        return
    planes = ctx.emit("tensor.transpose", (x,), TransposeAttrs(_TO_CHANNELS_FIRST), part="planes")
    resized = ctx.emit("nn.resize", (planes,), ResizeAttrs(size, kind, coordinates), part="resized")
    ctx.top(0, ctx.emit("tensor.transpose", (resized,), TransposeAttrs(_TO_CHANNELS_LAST)))


def _extent(ctx: LayerContext, param: Message, path: str, name: str, extent: Dim) -> Dim:
    """``output_height``, or the input's extent times ``scale_height``, rounded down."""
    field = f"output_{name}"
    if param.has(field):
        if param.integer(field) < 1:
            raise ctx.error(f"{field} must be at least 1, got {param.integer(field)}", f"{path}.{field}")
        return param.integer(field)
    scale = param.number(f"scale_{name}")
    if scale <= 0:
        raise ctx.error(f"scale_{name} must be positive, got {scale:g}", f"{path}.scale_{name}")
    if scale == int(scale):
        return extent * int(scale)
    if 1 / scale == int(1 / scale):
        return floordiv(extent, int(1 / scale))
    if not isinstance(extent, int):
        message = f"the {name} must be fixed for a scale of {scale:g}, got {extent}"
        raise ctx.error(message, f"{path}.scale_{name}")
    return int(extent * scale)


def _resized(
    ctx: LayerContext, x: Value, size: tuple[Dim, Dim], kind: ResizeKind, coordinates: Coordinates
) -> Value:
    """The op; nothing where the size stays."""
    if x.type.shape[2:] == size:  # type: ignore[union-attr]
        return x
    return ctx.emit("nn.resize", (x,), ResizeAttrs(size, kind, coordinates))


def _planes(ctx: LayerContext, bottom: int = 0) -> Shape:
    shape = ctx.shape(bottom)
    if len(shape) != 4:
        raise ctx.error(f"needs an input with 4 axes, got {show_shape(shape)}", "bottom", bottom)
    return shape


def _like(ctx: LayerContext, bottom: int) -> tuple[Dim, Dim]:
    shape = _planes(ctx, bottom)
    return shape[2], shape[3]
