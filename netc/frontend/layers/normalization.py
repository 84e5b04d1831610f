"""Normalisation, learned scales: LRN, BatchNorm, Softmax, Scale, Bias, and the forks' Axpy and Normalize."""

from __future__ import annotations

from netc.frontend.layers.activation import constant_filler
from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.frontend.message import Message
from netc.ir.core import Value
from netc.ir.dim import product
from netc.ir.ops.elementwise import AffineAttrs, ClipAttrs, PowAttrs, SqrtAttrs
from netc.ir.ops.normalize import LrnAttrs, SoftmaxAttrs
from netc.ir.ops.pool import PoolAttrs
from netc.ir.ops.reduce import MomentsAttrs, ReduceAttrs
from netc.ir.ops.shape import CountAttrs
from netc.ir.types import MAX_ELEMENTS

_LEAST_SCALED_EPS = 1e-5


@layer("LRN")
def import_lrn(ctx: LayerContext) -> None:
    """``x / (k + alpha/n sum x^2) ^ beta`` over ``n = local_size`` neighbouring channels.

    WITHIN_CHANNEL sums over an n x n window of the plane instead: ``x / (1 + alpha avg(x^2)) ^ beta``,
    the average being an AVE pooling with pad (n - 1) / 2 — divided by n^2 at the borders too — and
    ``k`` not used.
    """
    param = ctx.param("lrn_param")
    size = param.integer("local_size")
    if size % 2 == 0:
        raise ctx.error(f"local_size must be odd, got {size}", "lrn_param.local_size")
    if len(ctx.shape()) != 4:
        raise ctx.error(f"needs an input with 4 axes, got {len(ctx.shape())}", "bottom")
    alpha, beta, k = (param.number(name) for name in ("alpha", "beta", "k"))
    if param.text("norm_region") == "ACROSS_CHANNELS":
        size, alpha = _within(ctx.shape()[1:2], size, alpha, axes=1)
        ctx.top(0, ctx.emit("nn.lrn", ctx.bottoms, LrnAttrs(size, alpha, beta, k)))
        return
    (x,) = ctx.bottoms
    size, alpha = _within(ctx.shape()[2:], size, alpha, axes=2)
    reach = (size - 1) // 2
    square = ctx.emit("math.mul", (x, x), part="square")
    pool = PoolAttrs("ave", (size, size), (1, 1), ((reach, reach), (reach, reach)))
    mean = ctx.emit("nn.pool", (square,), pool, part="mean")
    base = ctx.emit("math.affine", (mean,), AffineAttrs(alpha, 1.0), part="base")
    factor = ctx.emit("math.pow", (base,), PowAttrs(-beta), part="factor")
    ctx.top(0, ctx.emit("math.mul", (x, factor)))


def _within(extents: Shape, size: int, alpha: float, axes: int) -> tuple[int, float]:
    """A window that reaches no further than the input, and the alpha that makes the same sum of it."""
    known = [d for d in extents if isinstance(d, int)]
    most = 2 * max(known) - 1 if len(known) == len(extents) else size
    return (size, alpha) if size <= most else (most, alpha * (most / size) ** axes)


@layer("BatchNorm")
def import_batch_norm(ctx: LayerContext) -> None:
    """``(x - mean) / sqrt(variance + eps)`` per channel (axis 1; a 1-axis input has one channel).

    The blobs are a sum of means, a sum of variances, and the number to divide both by, where 0 makes
    both 0. They count with ``use_global_stats``, which defaults to phase TEST; otherwise mean and
    (biased) variance are the batch's own, and the run leaves new blobs: with the fraction f each sum becomes
    ``f sum + (batch's value)``, the variance's with the divisor m - 1 instead of m (the values of a channel),
    and the number ``f number + 1``. There is no scale and shift: that is the Scale layer.

    NVIDIA's fork has both as two more blobs with ``scale_bias``, or where a filler for one of them is
    given; its eps is at least 1e-5. With ``add_eps_before_sqrt: false`` eps is added to the deviation.
    """
    param = ctx.param("batch_norm_param")
    outside = not param.flag("add_eps_before_sqrt")
    scaled = param.flag("scale_bias") or param.has("scale_filler") or param.has("bias_filler")
    eps = max(param.number("eps"), _LEAST_SCALED_EPS) if scaled else param.number("eps")
    shape = ctx.shape()
    if not shape:
        raise ctx.error("needs an input with axes, got a scalar", "bottom")
    channels = shape[1] if len(shape) > 1 else 1
    sums = [
        ctx.param_value(role, (channels,), i, trainable=False) for i, role in enumerate(("mean", "variance"))
    ]
    count = ctx.param_value("count", (1,), 2, constant_filler(1.0) if scaled else None, trainable=False)
    (x,) = ctx.bottoms
    use_stored = param.flag("use_global_stats") if param.has("use_global_stats") else ctx.phase == "TEST"
    if use_stored:
        rate = ctx.emit("math.reciprocal_or_zero", (count,), part="rate")
        mean, variance = (
            _along_channels(ctx, ctx.emit("math.mul", (s, rate), part=part), len(shape), part)
            for s, part in zip(sums, ("mean", "variance"), strict=True)
        )
        centred = ctx.emit("math.sub", (x, mean), part="centred")
    else:
        over = MomentsAttrs(tuple(a for a in range(len(shape)) if a != 1))
        mean, variance = ctx.emit_all("nn.moments", (x,), over, part="moments")
        centred = ctx.emit("math.sub", (x, mean), part="centred")
        unbiased = _unbiased(ctx, variance, over.axes)
        _move_averages(ctx, param, (*sums, count), (mean, unbiased))
    factor = _inverse_deviation(ctx, variance, eps, outside=outside)
    if not scaled:
        ctx.top(0, ctx.emit("math.mul", (centred, factor)))
        return
    normal = ctx.emit("math.mul", (centred, factor), part="normal")
    filler = param.message("scale_filler") if param.has("scale_filler") else constant_filler(1.0)
    scale = _along_channels(ctx, ctx.param_value("scale", (channels,), 3, filler), len(shape), "scales")
    bias = ctx.param_value("bias", (channels,), 4, param.message("bias_filler"))
    larger = ctx.emit("math.mul", (normal, scale), part="scaled")
    ctx.top(0, ctx.emit("math.add", (larger, _along_channels(ctx, bias, len(shape), "biases"))))


def _inverse_deviation(ctx: LayerContext, variance: Value, eps: float, *, outside: bool) -> Value:
    """``1 / sqrt(variance + eps)``, or ``1 / (sqrt(variance) + eps)``."""
    x = ctx.emit("math.sqrt", (variance,), SqrtAttrs(), part="deviation") if outside else variance
    safe = ctx.emit("math.affine", (x,), AffineAttrs(1.0, eps), part="safe")
    return ctx.emit("math.pow", (safe,), PowAttrs(-1.0 if outside else -0.5), part="factor")


def _unbiased(ctx: LayerContext, variance: Value, axes: tuple[int, ...]) -> Value:
    """The variance with m - 1 in place of m; one value a channel has no other variance."""
    shape = ctx.shape()
    m = product(tuple(shape[a] for a in axes))
    if isinstance(m, int):
        return ctx.emit(
            "math.affine", (variance,), AffineAttrs(m / (m - 1) if m > 1 else 1.0), part="unbiased"
        )
    number = ctx.emit("tensor.count", (ctx.bottoms[0],), CountAttrs(axes), part="number")
    number = ctx.reshape(number, (1,) * len(shape), part="number")
    freedom = ctx.emit("math.affine", (number,), AffineAttrs(1.0, -1.0), part="freedom")
    freedom = ctx.emit("math.clip", (freedom,), ClipAttrs(1.0, MAX_ELEMENTS), part="freedom")
    total = ctx.emit("math.mul", (variance, number), part="squares")
    return ctx.emit("math.div", (total, freedom), part="unbiased")


def _move_averages(
    ctx: LayerContext, param: Message, blobs: tuple[Value, ...], batch: tuple[Value, Value]
) -> None:
    fraction = param.number("moving_average_fraction")
    for blob, name, value in zip(blobs, ("mean", "variance"), batch, strict=False):
        before = ctx.state_so_far(blob)
        kept = ctx.emit("math.affine", (before,), AffineAttrs(fraction), part=f"{name}.kept")
        shape: Shape = blob.type.shape  # type: ignore[union-attr]
        own = ctx.reshape(value, shape, part=f"{name}.own")
        ctx.next_state(blob, ctx.emit("math.add", (kept, own), part=f"{name}.sum"))
    before = ctx.state_so_far(blobs[2])
    ctx.next_state(blobs[2], ctx.emit("math.affine", (before,), AffineAttrs(fraction, 1.0), part="count.sum"))


def _along_channels(ctx: LayerContext, value: Value, rank: int, part: str) -> Value:
    """(C) as (1, C, 1, ...), or as it is for a 1-axis input."""
    if rank == 1:
        return value
    shape = value.type.shape  # type: ignore[union-attr]
    return ctx.reshape(value, (1, shape[0], *(1,) * (rank - 2)), part=part)


@layer("Softmax")
def import_softmax(ctx: LayerContext) -> None:
    """``exp(x - m) / sum exp(x - m)`` along ``axis``, m being the largest x."""
    param = ctx.param("softmax_param")
    axis = ctx.axis("softmax_param.axis", len(ctx.shape()), param.integer("axis"))
    ctx.top(0, ctx.emit("nn.softmax", ctx.bottoms, SoftmaxAttrs(axis)))


@layer("Scale", bottoms=(1, 2))
def import_scale(ctx: LayerContext) -> None:
    """``x * s`` with s broadcast over ``num_axes`` axes from ``axis`` on, plus a bias with ``bias_term``.

    s is learned (it starts at 1), or the second bottom, whose own number of axes counts then. With
    ``num_axes`` 0 it is one number, with -1 it has all axes from ``axis`` on.
    """
    param = ctx.param("scale_param")
    factor, shape = _factor(ctx, param, "scale_param", default=1.0)
    y = ctx.emit("math.mul", (ctx.bottoms[0], factor), part="scaled" if param.flag("bias_term") else None)
    if param.flag("bias_term"):
        index = 0 if len(ctx.bottoms) == 2 else 1
        bias = ctx.param_value("bias", shape, index, param.message("bias_filler"))
        broadcast = factor.type.shape  # type: ignore[union-attr]
        y = ctx.emit("math.add", (y, ctx.reshape(bias, broadcast, part="bias")))
    ctx.top(0, y)


@layer("Bias", bottoms=(1, 2))
def import_bias(ctx: LayerContext) -> None:
    """``x + b`` with b broadcast as Scale broadcasts its factor; a learned b starts at 0."""
    bias, _ = _factor(ctx, ctx.param("bias_param"), "bias_param", default=0.0)
    ctx.top(0, ctx.emit("math.add", (ctx.bottoms[0], bias)))


@layer("Axpy", bottoms=(3, 3), source="SENet")
def import_axpy(ctx: LayerContext) -> None:
    """``a x + y`` with one a per sample and channel: bottoms a (N, C[, 1, 1]), x, y (SENet's fork)."""
    ctx.param("axpy_param")
    a, x, y = ctx.bottoms
    scale, shape = ctx.shape(0), ctx.shape(1)
    if len(shape) < 2 or scale[:2] != shape[:2] or any(d != 1 for d in scale[2:]):
        raise ctx.error(
            f"the first bottom must have one number per sample and channel of the second: "
            f"got {show_shape(scale)} for {show_shape(shape)}",
            "bottom",
        )
    if ctx.shape(2) != shape:
        raise ctx.error(f"cannot add {show_shape(ctx.shape(2))} to {show_shape(shape)}", "bottom", 2)
    factor = ctx.reshape(a, (*shape[:2], *(1,) * (len(shape) - 2)), part="factor")
    ctx.top(0, ctx.emit("math.add", (ctx.emit("math.mul", (x, factor), part="scaled"), y)))


@layer("Normalize", source="SSD")
def import_normalize(ctx: LayerContext) -> None:
    """``s x / sqrt(sum x^2 + eps)``: the sum over the channels, or with ``across_spatial`` over a sample.

    s is learned (it starts at 1): one for each channel, or one for all with ``channel_shared`` (SSD's fork).
    """
    param = ctx.param("norm_param")
    shape = ctx.shape()
    if len(shape) < 2:
        raise ctx.error(f"needs an input with at least 2 axes, got {len(shape)}", "bottom")
    (x,) = ctx.bottoms
    over = tuple(range(1, len(shape))) if param.flag("across_spatial") else (1,)
    square = ctx.emit("math.mul", (x, x), part="square")
    total = ctx.emit("tensor.reduce", (square,), ReduceAttrs("sum", over), part="sum")
    safe = ctx.emit("math.affine", (total,), AffineAttrs(1.0, param.number("eps")), part="safe")
    normal = ctx.emit(
        "math.div", (x, ctx.emit("math.sqrt", (safe,), SqrtAttrs(), part="norm")), part="normal"
    )
    shared = param.flag("channel_shared")
    filler = param.message("scale_filler") if param.has("scale_filler") else constant_filler(1.0)
    scale = ctx.param_value("scale", () if shared else (shape[1],), 0, filler)
    broadcast = (1, 1 if shared else shape[1], *(1,) * (len(shape) - 2))
    ctx.top(0, ctx.emit("math.mul", (normal, ctx.reshape(scale, broadcast, part="scales"))))


def _factor(ctx: LayerContext, param: Message, path: str, default: float) -> tuple[Value, Shape]:
    """The second operand of Scale or Bias, reshaped to broadcast, and the shape it had before."""
    shape = ctx.shape()
    given = ctx.shape(1) if len(ctx.bottoms) == 2 else None
    axis = 0 if given == () else ctx.axis(f"{path}.axis", len(shape), param.integer("axis"))
    count = len(given) if given is not None else param.integer("num_axes")
    if count < -1:
        raise ctx.error(f"num_axes must be -1, 0 or more, got {count}", f"{path}.num_axes")
    if count == -1:
        count = len(shape) - axis
    if axis + count > len(shape):
        where = f"{path}.num_axes" if given is None else "bottom"
        raise ctx.error(
            f"{count} axes from axis {axis} on are more than the input {show_shape(shape)} has",
            where,
            0 if given is None else 1,
        )
    own = shape[axis : axis + count]
    if given is not None and given != own:
        theirs, ours = show_shape(given), show_shape(own)
        message = f"the second bottom is {theirs}; from axis {axis} on the first is {ours}"
        raise ctx.error(message, "bottom", 1)
    if given is not None:
        value = ctx.bottoms[1]
    else:
        filler = param.message("filler") if param.has("filler") else constant_filler(default)
        value = ctx.param_value("scale" if path == "scale_param" else "bias", own, 0, filler)
    broadcast = (*(1,) * axis, *own, *(1,) * (len(shape) - axis - count))
    return ctx.reshape(value, broadcast, part="factor"), own
