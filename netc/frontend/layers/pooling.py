"""Pooling."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.registry import layer
from netc.frontend.message import Message
from netc.ir.ops.pool import GlobalPoolAttrs, PoolAttrs, PoolKind, Rounding

_P = "pooling_param"
_KINDS: dict[str, PoolKind] = {"MAX": "max", "AVE": "ave", "AVE_EXC_PAD": "ave"}
_SIDES = ("pad_t", "pad_b", "pad_l", "pad_r")
_FIELDS = {"kernel": f"{_P}.kernel_size", "stride": f"{_P}.stride", "pad": f"{_P}.pad"}


@layer("Pooling", bottoms=(1, 1), tops=(1, 2))
def import_pooling(ctx: LayerContext) -> None:
    """Largest or average value of every window of a (N, C, H, W) input.

    Output extent: ``ceil((in + 2 pad - k) / stride) + 1`` — rounded up, unlike Convolution, so that a
    kernel may exceed its input by less than the stride — and, with padding on any axis, one less where the
    last window would begin in the padding behind. MAX ignores padding; AVE
    divides by the window clipped to the padded input. ``round_mode: FLOOR`` and the forks'
    ``ceil_mode: false`` round down, the forks' AVE_EXC_PAD counts no padding. ``global_pooling`` allows
    no kernel, and only pad 0 and stride 1.
    """
    param = ctx.param(_P)
    method = param.text("pool")
    if method not in _KINDS:
        raise ctx.refuse(f"{_P}.pool")
    if len(ctx.top_names) > 1:
        raise ctx.error("the mask of a maximum pooling (a second top) is not supported yet", "top", 1)
    if len(ctx.shape()) != 4:
        raise ctx.error(f"needs an input with 4 axes, got {len(ctx.shape())}", "bottom")
    if param.flag("global_pooling"):
        _check_global(ctx, param)
        ctx.top(0, ctx.emit("nn.global_pool", ctx.bottoms, GlobalPoolAttrs(_KINDS[method])))
        return
    kernel, stride, pad = _kernel(ctx, param), _pair(ctx, param, "stride"), _pads(ctx, param)
    _check_window(ctx, param, kernel, stride, pad)
    attrs = PoolAttrs(
        kind=_KINDS[method],
        kernel=kernel,
        stride=stride,
        pad=pad,
        round=_rounding(ctx, param),
        count_padding=method != "AVE_EXC_PAD",
    )
    ctx.top(0, ctx.emit("nn.pool", ctx.bottoms, attrs, fields=_FIELDS))


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


def _pads(ctx: LayerContext, param: Message) -> tuple[tuple[int, int], tuple[int, int]]:
    if param.integer("pad_type") != 0:
        raise ctx.refuse(f"{_P}.pad_type")
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
    pad: tuple[tuple[int, int], tuple[int, int]],
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
