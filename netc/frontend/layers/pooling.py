"""Pooling, and SPP, a pyramid of poolings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.frontend.layers.same_padding import same_pads, stated_same
from netc.frontend.message import Message
from netc.ir.core import Value
from netc.ir.dim import product
from netc.ir.ops.elementwise import AffineAttrs
from netc.ir.ops.pool import GlobalPoolAttrs, PoolAttrs, PoolKind, Rounding, pool_extents
from netc.ir.ops.shape import ConcatAttrs

_P = "pooling_param"
_KINDS: dict[str, PoolKind] = {"MAX": "max", "AVE": "ave", "AVE_EXC_PAD": "ave", "AVE_TF": "ave"}
_WITHOUT_PADDING = ("AVE_EXC_PAD", "AVE_TF")
_SIDES = ("pad_t", "pad_b", "pad_l", "pad_r")
SMALLEST = float(np.finfo(np.float32).tiny)  # Caffe's FLT_MIN
_FIELDS = {"kernel": f"{_P}.kernel_size", "stride": f"{_P}.stride", "pad": f"{_P}.pad"}


@layer("Pooling", bottoms=(1, 1), tops=(1, 2))
def import_pooling(ctx: LayerContext) -> None:
    """Largest or average value of every window of a (N, C, H, W) input.

    Output extent: ``ceil((in + 2 pad - k) / stride) + 1`` — rounded up, unlike Convolution, so that a
    kernel may exceed its input by less than the stride — and, with padding on any axis, one less where the
    last window would begin in the padding behind. MAX ignores padding; AVE
    divides by the window clipped to the padded input. ``round_mode: FLOOR`` and the forks'
    ``ceil_mode: false`` round down, the forks' AVE_EXC_PAD counts no padding, ``pad_type: 1`` is
    TensorFlow's SAME. ``global_pooling`` allows
    no kernel, and only pad 0 and stride 1.

    A second top of MAX is the mask: where in its plane each maximum was found, the first of equal ones.
    STOCHASTIC takes no padding and inputs >= 0; in TRAIN it draws an element with a probability
    proportional to it, in TEST it gives ``sum x^2 / sum x``.
    """
    param = ctx.param(_P)
    method = param.text("pool")
    stochastic = method == "STOCHASTIC"
    same = False
    if len(ctx.top_names) > 1 and method != "MAX":
        raise ctx.error(f"a second top, the mask, goes with MAX only, not with {method}", "top", 1)
    if len(ctx.shape()) != 4:
        raise ctx.error(f"needs an input with 4 axes, got {len(ctx.shape())}", "bottom")
    if param.flag("global_pooling"):
        _check_global(ctx, param)
        if not stochastic and len(ctx.top_names) == 1:
            ctx.top(0, ctx.emit("nn.global_pool", ctx.bottoms, GlobalPoolAttrs(_KINDS[method])))
            return
        kernel, stride = _plane(ctx), (1, 1)
        pad: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
    else:
        kernel, stride = _kernel(ctx, param), _pair(ctx, param, "stride")
        same = stated_same(ctx, _P)
        pad = same_pads(ctx, _P, ctx.shape()[2:], kernel, stride, (1, 1)) if same else _pads(ctx, param)
        _check_window(ctx, param, kernel, stride, pad)
    if stochastic and pad != ((0, 0), (0, 0)):
        raise ctx.error("padding goes with MAX and AVE only, not with STOCHASTIC", f"{_P}.pad")
    attrs = PoolAttrs(
        kind="max" if stochastic else _KINDS[method],
        kernel=kernel,
        stride=stride,
        pad=pad,
        round="floor" if same else _rounding(ctx, param),
        count_padding=method not in _WITHOUT_PADDING,
    )
    if stochastic:
        ctx.top(0, _stochastic(ctx, attrs))
        return
    ctx.top(0, ctx.emit("nn.pool", ctx.bottoms, attrs, fields=_FIELDS))
    if len(ctx.top_names) > 1:
        ctx.top(1, ctx.emit("nn.pool_mask", ctx.bottoms, attrs, top=1, fields=_FIELDS))


def _plane(ctx: LayerContext) -> tuple[int, int]:
    """The extents of the whole plane as a kernel."""
    height, width = ctx.shape()[2:]
    if not isinstance(height, int) or not isinstance(width, int):
        raise ctx.error(f"needs an input of fixed height and width, got {show_shape(ctx.shape())}", "bottom")
    return height, width


def _stochastic(ctx: LayerContext, attrs: PoolAttrs, *, part: str | None = None) -> Value:
    """An element of each window: drawn in TRAIN, the one expected in TEST."""

    def named(name: str) -> str:
        return f"{part}.{name}" if part else name

    (x,) = ctx.bottoms
    if ctx.phase == "TRAIN":
        windows = (*ctx.shape()[:2], *pool_extents(ctx.shape()[2:], attrs))
        drawn = ctx.uniform(windows, part=named("drawn"))
        return ctx.emit("nn.stochastic_pool", (x, drawn), attrs, part=part, fields=_FIELDS)
    average = replace(attrs, kind="ave")
    square = ctx.emit("math.mul", (x, x), part=named("square"))
    squares = ctx.emit("nn.pool", (square,), average, part=named("squares"), fields=_FIELDS)
    sums = ctx.emit("nn.pool", (x,), average, part=named("sums"), fields=_FIELDS)
    # the divisors of both averages are the same; a window of zeros gives 0
    sums = ctx.emit("math.affine", (sums,), AffineAttrs(1.0, SMALLEST), part=named("sums"))
    return ctx.emit("math.div", (squares, sums), part=part)


@layer("SPP")
def import_spp(ctx: LayerContext) -> None:
    """Poolings to 1x1, 2x2, 4x4, ... bins (``pyramid_height`` of them), flattened one after the other.

    The kernel of a level is ``ceil(extent / bins)``, its pad ``(kernel bins - extent + 1) / 2`` rounded down,
    and its stride the kernel.
    """
    param = ctx.param("spp_param")
    levels, method = param.integer("pyramid_height"), param.text("pool")
    if levels < 1:
        got = f"got {levels}" if param.has("pyramid_height") else "it is missing"
        raise ctx.error(f"pyramid_height must be at least 1; {got}", "spp_param.pyramid_height")
    if len(ctx.shape()) != 4:
        raise ctx.error(f"needs an input with 4 axes, got {len(ctx.shape())}", "bottom")
    extents = _plane(ctx)
    most = min(extents).bit_length()
    if levels > most:
        raise ctx.error(
            f"an input of {min(extents)} elements an axis has bins for {most} levels, got {levels}",
            "spp_param.pyramid_height",
        )
    rows = []
    for level in range(levels):
        bins = 2**level
        kernel = tuple(-(-extent // bins) for extent in extents)
        pad = tuple((k * bins - extent + 1) // 2 for k, extent in zip(kernel, extents, strict=True))
        if method == "STOCHASTIC" and any(pad):
            raise ctx.error(f"level {level} needs padding, which STOCHASTIC does not take", "spp_param.pool")
        attrs = PoolAttrs(_KINDS.get(method, "max"), kernel, kernel, tuple((p, p) for p in pad))
        part = f"level{level}"
        if method == "STOCHASTIC":
            y = _stochastic(ctx, attrs, part=part)
        else:
            y = ctx.emit("nn.pool", ctx.bottoms, attrs, part=part)
        shape: Shape = y.type.shape  # type: ignore[union-attr]
        rows.append(ctx.reshape(y, (shape[0], product(shape[1:])), part=f"level{level}.flat"))
    ctx.top(0, rows[0] if levels == 1 else ctx.emit("tensor.concat", rows, ConcatAttrs(1)))


def _check_global(ctx: LayerContext, param: Message) -> None:
    for field in ("kernel_size", "kernel_h", "kernel_w"):
        if param.has(field):
            raise ctx.error("global_pooling takes the whole plane; it allows no kernel", f"{_P}.{field}")
    for field in ("pad", "pad_h", "pad_w", *_SIDES):
        if param.integer(field) != 0:
            raise ctx.error("global_pooling needs pad 0", f"{_P}.{field}")
    for field in ("stride", "stride_h", "stride_w"):
        if param.has(field) and param.integer(field) != 1:
            raise ctx.error("global_pooling needs stride 1", f"{_P}.{field}")


def _kernel(ctx: LayerContext, param: Message) -> tuple[int, int]:
    if not any(param.has(f) for f in ("kernel_size", "kernel_h", "kernel_w")):
        raise ctx.error("the kernel is missing: give kernel_size, or kernel_h and kernel_w", _P)
    return _pair(ctx, param, "kernel_size")


def _pair(ctx: LayerContext, param: Message, field: str) -> tuple[int, int]:
    """One number for both axes, or both of ``_h`` and ``_w``."""
    name = field.removesuffix("_size")
    sides = [s for s in (f"{name}_h", f"{name}_w") if param.has(s)]
    if not sides:
        return (param.integer(field),) * 2
    if param.has(field):
        raise ctx.error(f"either {field} or {name}_h and {name}_w can be given, not both", f"{_P}.{sides[0]}")
    if len(sides) == 1:
        raise ctx.error(f"both {name}_h and {name}_w are needed", f"{_P}.{sides[0]}")
    return (param.integer(f"{name}_h"), param.integer(f"{name}_w"))


def _pads(ctx: LayerContext, param: Message) -> tuple[tuple[int, int], ...]:
    side = next((side for side in _SIDES if param.has(side)), None)
    if side is None:
        h, w = _pair(ctx, param, "pad")
        return ((h, h), (w, w))
    if any(param.has(f) for f in ("pad", "pad_h", "pad_w")):
        raise ctx.error("either pad or pads per side can be given, not both", f"{_P}.{side}")
    top, bottom, left, right = (param.integer(s) for s in _SIDES)
    return ((top, bottom), (left, right))


def _rounding(ctx: LayerContext, param: Message) -> Rounding:
    """``round_mode`` is the original's, ``ceil_mode`` the forks'; both at once must agree."""
    by_mode: Rounding = "floor" if param.text("round_mode") == "FLOOR" else "ceil"
    by_flag: Rounding = "ceil" if param.flag("ceil_mode") else "floor"
    if param.has("round_mode") and param.has("ceil_mode") and by_mode != by_flag:
        raise ctx.error("round_mode and ceil_mode contradict each other", f"{_P}.ceil_mode")
    return by_flag if param.has("ceil_mode") else by_mode


def _check_window(
    ctx: LayerContext,
    param: Message,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[tuple[int, int], ...],
) -> None:
    for axis, letter in enumerate("hw"):

        def field(name: str, letter: str = letter) -> str:
            single = f"{name.removesuffix('_size')}_{letter}"
            return f"{_P}.{single if param.has(single) else name}"

        k, largest = kernel[axis], max(pad[axis])
        if k < 1:
            raise ctx.error(f"the kernel must be at least 1, got {k}", field("kernel_size"))
        if stride[axis] < 1:
            raise ctx.error(f"stride must be at least 1, got {stride[axis]}", field("stride"))
        if largest >= k:
            raise ctx.error(f"pad {largest} must be smaller than the kernel {k}", field("pad"))
