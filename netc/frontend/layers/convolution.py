"""Convolution, Deconvolution, the forks' depthwise convolution, and Im2col.

The settings of all of them are Caffe's ``convolution_param``, read by :func:`read_window`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.frontend.layers.same_padding import same_pads, stated_same
from netc.frontend.message import Message
from netc.ir.core import Value
from netc.ir.dim import Dim, product
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.im2col import Im2colAttrs

_P = "convolution_param"
_FIELDS = {name: f"{_P}.{name}" for name in ("stride", "pad", "dilation", "group")}
_SIDES = ("pad_t", "pad_b", "pad_l", "pad_r")


@dataclass(frozen=True, slots=True)
class Window:
    """Extents of the sliding window, one per spatial axis; ``pad`` is (before, after)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]


@layer("Convolution", bottoms=(1, None), tops=(1, None), paired=True)
def import_convolution(ctx: LayerContext) -> None:
    """``out[n,o] = b[o] + sum_i w[o,i] * x[n,i]`` (cross-correlation) over groups of channels.

    Output extent: ``floor((in + pads - (dilation (k - 1) + 1)) / stride) + 1``. Several bottoms share one
    weight. Axes before ``axis`` are batch, those after it spatial, any number of them. Caffe divides
    towards zero, so that a kernel slightly larger than the padded input still gives one output that
    reads beyond the padding; that is refused here.
    """
    param = ctx.param(_P)
    _import(ctx, param, param.integer("group"))


@layer(
    "DepthwiseConvolution",
    "ConvolutionDepthwise",
    bottoms=(1, None),
    tops=(1, None),
    paired=True,
    source="MobileNet",
)
def import_depthwise_convolution(ctx: LayerContext) -> None:
    """A Convolution with as many groups as input channels, where ``group`` does not say otherwise.

    Two forks have it under two names; most files state ``group`` as well, some only ``num_output``.
    """
    param = ctx.param(_P)
    axis = ctx.axis(f"{_P}.axis", len(ctx.shape()), param.integer("axis"))
    channels = ctx.shape()[axis]
    if param.has("group") or not isinstance(channels, int):
        _import(ctx, param, param.integer("group"))
    else:
        _import(ctx, param, channels)


@layer("Deconvolution", bottoms=(1, None), tops=(1, None), paired=True)
def import_deconvolution(ctx: LayerContext) -> None:
    """The gradient of a Convolution with respect to its input: every input element paints its kernel.

    Output extent: ``stride (in - 1) + dilation (k - 1) + 1 - pads``. The weight is
    (in, out / group, k...): input and output trade places against Convolution.
    """
    param = ctx.param(_P)
    _import(ctx, param, param.integer("group"), transposed=True)


@layer("Im2col")
def import_im2col(ctx: LayerContext) -> None:
    """What each window of a Convolution sees, as channels: (N, C k..., out...), 0 in the padding."""
    param = ctx.param(_P)
    shape = ctx.shape()
    axis = ctx.axis(f"{_P}.axis", len(shape), param.integer("axis"))
    window = read_window(ctx, param, len(shape) - axis - 1)
    _check_fits(ctx, window, shape[axis + 1 :])
    attrs = Im2colAttrs(window.kernel, window.stride, window.pad, window.dilation)
    ctx.top(0, _with_one_batch_axis(ctx, "nn.im2col", ctx.bottoms[0], (), attrs, axis, 0))


def _import(ctx: LayerContext, param: Message, group: int, *, transposed: bool = False) -> None:
    shape = ctx.shape()
    axis = ctx.axis(f"{_P}.axis", len(shape), param.integer("axis"))
    window = read_window(ctx, param, len(shape) - axis - 1)
    _check_same_shapes(ctx)
    channels, outputs = _check_channels(ctx, param, shape[axis], group)
    if not transposed:
        _check_fits(ctx, window, shape[axis + 1 :])

    ends = (channels, outputs // group) if transposed else (outputs, channels // group)
    weight = ctx.param_value("weight", (*ends, *window.kernel), 0, param.message("weight_filler"))
    operands = [weight]
    if param.flag("bias_term"):
        operands.append(ctx.param_value("bias", (outputs,), 1, param.message("bias_filler")))
    attrs = ConvAttrs(window.stride, window.pad, window.dilation, group)
    op = "nn.deconv" if transposed else "nn.conv"
    for index, bottom in enumerate(ctx.bottoms):
        ctx.top(index, _with_one_batch_axis(ctx, op, bottom, operands, attrs, axis, index))


def _with_one_batch_axis(
    ctx: LayerContext,
    op: str,
    x: Value,
    params: Sequence[Value],
    attrs: ConvAttrs | Im2colAttrs,
    axis: int,
    top: int,
) -> Value:
    """Apply the op to (N, C, spatial...), where N stands for all axes before ``axis``."""
    shape = ctx.shape(top)
    if axis == 1:
        return ctx.emit(op, (x, *params), attrs, top=top, fields=_FIELDS)
    flat = ctx.reshape(x, (product(shape[:axis]), *shape[axis:]), part="batch", top=top)
    y = ctx.emit(op, (flat, *params), attrs, part="flat", top=top, fields=_FIELDS)
    return ctx.reshape(y, (*shape[:axis], *y.type.shape[1:]), top=top)  # type: ignore[union-attr]


def read_window(ctx: LayerContext, param: Message, axes: int) -> Window:
    """Kernel, stride, pad and dilation for ``axes`` spatial axes, as Caffe reads them.

    Each is one number for all axes or one per axis, or for two axes a pair of fields ``_h`` and ``_w``.
    A missing one of the pair is zero to the original, which is of use for the pad only.
    """
    if axes < 1:
        raise ctx.error(f"needs an input with spatial axes, got one of shape {show_shape(ctx.shape())}")
    kernel = _extents(ctx, param, "kernel_size", "kernel", axes, None)
    stride = _extents(ctx, param, "stride", "stride", axes, 1)
    dilation = _extents(ctx, param, "dilation", None, axes, 1)
    for field, values in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if min(values) < 1:
            raise ctx.error(f"{field} must be at least 1, got {min(values)}", _path(param, field))
    if stated_same(ctx, _P):
        if ctx.type == "Deconvolution":
            raise ctx.refuse(f"{_P}.pad_type")
        pads = same_pads(ctx, _P, ctx.shape()[-axes:], kernel, stride, dilation)
    else:
        pads = _pads(ctx, param, axes)
    return Window(kernel, stride, pads, dilation)


def _pads(ctx: LayerContext, param: Message, axes: int) -> tuple[tuple[int, int], ...]:
    if not any(param.has(side) for side in _SIDES):
        return tuple((p, p) for p in _extents(ctx, param, "pad", "pad", axes, 0))
    side = next(side for side in _SIDES if param.has(side))
    if any(param.has(f) for f in ("pad", "pad_h", "pad_w")):
        raise ctx.error("either pad or pads per side can be given, not both", f"{_P}.{side}")
    if axes != 2:
        raise ctx.error(f"pads per side need 2 spatial axes, got {axes}", f"{_P}.{side}")
    top, bottom, left, right = (param.integer(s) for s in _SIDES)
    return ((top, bottom), (left, right))


def _extents(
    ctx: LayerContext, param: Message, field: str, pair: str | None, axes: int, default: int | None
) -> tuple[int, ...]:
    given = param.integers(field)
    if pair is not None and (param.has(f"{pair}_h") or param.has(f"{pair}_w")):
        named = f"{_P}.{pair}_{'h' if param.has(f'{pair}_h') else 'w'}"
        if given:
            raise ctx.error(f"either {field} or {pair}_h and {pair}_w can be given, not both", named)
        if axes != 2:
            raise ctx.error(f"{pair}_h and {pair}_w need 2 spatial axes, got {axes}", named)
        if default != 0 and not (param.has(f"{pair}_h") and param.has(f"{pair}_w")):
            raise ctx.error(f"both {pair}_h and {pair}_w are needed", named)
        return (param.integer(f"{pair}_h"), param.integer(f"{pair}_w"))
    if not given and default is not None:
        return (default,) * axes
    if len(given) not in (1, axes):
        problem = "is missing" if not given else f"is given {len(given)} times for {axes} spatial axes"
        raise ctx.error(f"{field} {problem}; give one for all axes or one for each", f"{_P}.{field}")
    return given if len(given) == axes else given * axes


def _path(param: Message, field: str) -> str:
    pair = field.removesuffix("_size")
    names = [field] if field == "dilation" else [field, f"{pair}_h", f"{pair}_w"]
    return f"{_P}.{next((n for n in names if param.has(n)), field)}"


def _check_channels(ctx: LayerContext, param: Message, channels: Dim, group: int) -> tuple[int, int]:
    outputs = param.integer("num_output")
    if outputs < 1:
        got = f"got {outputs}" if param.has("num_output") else "it is missing"
        raise ctx.error(f"num_output must be at least 1; {got}", f"{_P}.num_output")
    if not isinstance(channels, int):
        raise ctx.error(f"the number of input channels must be fixed, got {channels}")
    if group < 1:
        raise ctx.error(f"group must be at least 1, got {group}", f"{_P}.group")
    if channels % group:
        raise ctx.error(f"the input has {channels} channels, not a multiple of group {group}", f"{_P}.group")
    if outputs % group:
        raise ctx.error(f"num_output {outputs} is not a multiple of group {group}", f"{_P}.num_output")
    return channels, outputs


def _check_same_shapes(ctx: LayerContext) -> None:
    first = ctx.shape()
    for index in range(1, len(ctx.bottoms)):
        if ctx.shape(index) != first:
            raise ctx.error(
                f"all bottoms must have one shape: '{ctx.bottom_names[0]}' is {show_shape(first)}, "
                f"'{ctx.bottom_names[index]}' is {show_shape(ctx.shape(index))}",
                "bottom",
                index,
            )


def _check_fits(ctx: LayerContext, window: Window, sizes: Shape) -> None:
    for size, k, (lo, hi), d in zip(sizes, window.kernel, window.pad, window.dilation, strict=True):
        reach = d * (k - 1) + 1
        if isinstance(size, int) and reach > size + lo + hi:
            dilated = f" dilated by {d} (reach {reach})" if d > 1 else ""
            raise ctx.error(
                f"kernel {k}{dilated} is larger than the padded input: {size} + {lo} + {hi}",
                _path(ctx.param(_P), "kernel_size"),
            )
