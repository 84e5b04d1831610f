"""BN: batch normalisation with its own slope and shift, as three families of forks have it."""

from __future__ import annotations

from netc.frontend.layers.activation import constant_filler
from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.registry import layer
from netc.frontend.message import Message
from netc.ir.core import Value
from netc.ir.ops.elementwise import AffineAttrs, PowAttrs
from netc.ir.ops.reduce import MomentsAttrs

_P = "bn_param"
_SEGNET_EPS = 1e-9
STORED_BLOBS = 4


@layer("BN", tops=(1, 3), source="SegNet, PSPNet")
def import_bn(ctx: LayerContext) -> None:
    """``slope (x - mean) / sqrt(variance + eps) + shift`` per channel.

    With ``slope_filler``, ``bias_filler``, ``momentum``, ``frozen``, ``eps`` or ``icnet``, or with four
    ``param``, it is PSPNet's: four blobs, slope, shift, mean and variance, and TEST uses the stored ones.
    Otherwise it is that of SegNet and ENet: two blobs; ``bn_mode: INFERENCE`` is ``slope x + shift``, because
    the statistics were worked into both, and LEARN normalises by the batch's own, in TEST too, with eps 1e-9.
    """
    param = ctx.param(_P)
    if len(ctx.shape()) < 2:
        raise ctx.error(f"needs an input with at least 2 axes, got {len(ctx.shape())}", "bottom")
    if _has_statistics(param) or len(ctx.message.messages("param")) == STORED_BLOBS:
        if len(ctx.top_names) > 1:
            raise ctx.error("statistics as tops go with scale_filler and shift_filler only", "top", 1)
        _import_stored(ctx, param)
    else:
        _import_segnet(ctx, param)


def _has_statistics(param: Message) -> bool:
    if param.flag("icnet"):
        return True
    if param.has("scale_filler") or param.has("shift_filler") or param.has("bn_mode"):
        return False
    return any(param.has(f) for f in ("slope_filler", "bias_filler", "momentum", "frozen", "eps"))


def _import_stored(ctx: LayerContext, param: Message) -> None:
    if ctx.phase != "TEST" and not param.flag("frozen"):
        raise ctx.error("the TRAIN phase of this layer is not supported", _P, remedy="use the TEST phase")
    slope = _per_channel(ctx, "slope", 0, _filler(param, "slope_filler", 1.0), axes=2)
    shift = _per_channel(ctx, "shift", 1, _filler(param, "bias_filler", 0.0), axes=2)
    mean = _per_channel(ctx, "mean", 2, None, axes=2)
    variance = _per_channel(ctx, "variance", 3, constant_filler(1.0), axes=2)
    centred = ctx.emit("math.sub", (ctx.bottoms[0], mean), part="centred")
    normal = _divided(ctx, centred, variance, param.number("eps"))
    _scaled(ctx, normal, slope, shift)


def _import_segnet(ctx: LayerContext, param: Message) -> None:
    slope = _per_channel(ctx, "scale", 0, _filler(param, "scale_filler", 0.0), axes=4)
    shift = _per_channel(ctx, "shift", 1, _filler(param, "shift_filler", 0.0), axes=4)
    (x,) = ctx.bottoms
    if param.text("bn_mode") == "INFERENCE":
        if len(ctx.top_names) > 1:
            raise ctx.error("bn_mode INFERENCE has no statistics to give as tops", "top", 1)
        _scaled(ctx, x, slope, shift)
        return
    over = MomentsAttrs(tuple(a for a in range(len(ctx.shape())) if a != 1))
    mean, variance = ctx.emit_all("nn.moments", (x,), over, part="moments")
    centred = ctx.emit("math.sub", (x, mean), part="centred")
    _scaled(ctx, _divided(ctx, centred, variance, _SEGNET_EPS), slope, shift)
    for top, value in enumerate((mean, variance)[: len(ctx.top_names) - 1], start=1):
        ctx.top(top, value)


def _divided(ctx: LayerContext, centred: Value, variance: Value, eps: float) -> Value:
    safe = ctx.emit("math.affine", (variance,), AffineAttrs(1.0, eps), part="safe")
    factor = ctx.emit("math.pow", (safe,), PowAttrs(-0.5), part="factor")
    return ctx.emit("math.mul", (centred, factor), part="normal")


def _scaled(ctx: LayerContext, x: Value, slope: Value, shift: Value) -> None:
    ctx.top(0, ctx.emit("math.add", (ctx.emit("math.mul", (x, slope), part="scaled"), shift)))


def _filler(param: Message, field: str, default: float) -> Message:
    """The default of Caffe's fillers is the constant 0: a slope without a filler makes 0 of everything."""
    return param.message(field) if param.has(field) else constant_filler(default)


def _per_channel(ctx: LayerContext, role: str, index: int, filler: Message | None, *, axes: int) -> Value:
    """A parameter blob of ``axes`` axes, (1, C, 1...), as one that x broadcasts with."""
    shape = ctx.shape()
    trainable = role in ("slope", "shift")
    value = ctx.param_value(role, (1, shape[1], *(1,) * (axes - 2)), index, filler, trainable=trainable)
    return ctx.reshape(value, (1, shape[1], *(1,) * (len(shape) - 2)), part=f"{role}s")
