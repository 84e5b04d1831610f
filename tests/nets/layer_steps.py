"""Random layers of Caffe nets: each step appends one to a net, or says that it cannot stand there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from caffe_net import LARGEST, MOST_ELEMENTS, Blob, CaffeNet, Shape
from hypothesis import strategies as st

Step = Callable[[CaffeNet, Blob, st.DrawFn], bool]


def pick(draw: st.DrawFn, *choices: Any) -> Any:
    return draw(st.sampled_from(choices))


def _windows(extent: int, kernel: int, stride: int, pad: int, dilation: int = 1) -> int:
    return (extent + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1


def _pools(extent: int, kernel: int, stride: int, pad: int, up: bool) -> int:
    count = _windows(extent + (stride - 1 if up else 0), kernel, stride, pad)
    return count - (pad > 0 and (count - 1) * stride >= extent + pad)


# ---- windows over planes


def convolution(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    """Also with rectangular kernels, dilation, groups, and one group a channel."""
    if len(x.shape) != 4:
        return False
    channels, outputs = x.shape[1], pick(draw, 1, 4, 6, 8, 16)
    kernel = pick(draw, (1, 1), (3, 3), (3, 3), (2, 2), (1, 3))
    stride, pad, dilation = pick(draw, 1, 1, 2), pick(draw, 0, 1), pick(draw, 1, 1, 2)
    group = pick(draw, *(g for g in (1, 2, channels) if channels % g == 0 and outputs % g == 0))
    plane = [_windows(e, k, stride, pad, dilation) for e, k in zip(x.shape[2:], kernel, strict=True)]
    if min(plane) < 1:
        return False
    shape = (x.shape[0], outputs, *plane)
    return _add_conv(net, x, draw, "Convolution", shape, kernel, stride, pad, group, dilation)


def deconvolution(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    if len(x.shape) != 4:
        return False
    channels, outputs = x.shape[1], pick(draw, 1, 4, x.shape[1])
    kernel, stride, pad = pick(draw, 2, 3, 4), pick(draw, 1, 2), pick(draw, 0, 1)
    group = pick(draw, *(g for g in (1, channels) if outputs % g == 0))
    plane = [stride * (extent - 1) + kernel - 2 * pad for extent in x.shape[2:]]
    if min(plane) < 1:
        return False
    shape = (x.shape[0], outputs, *plane)
    return _add_conv(net, x, draw, "Deconvolution", shape, (kernel, kernel), stride, pad, group)


def _add_conv(
    net: CaffeNet, x: Blob, draw: st.DrawFn, kind: str, shape: Shape,
    kernel: tuple[int, int], stride: int, pad: int, group: int, dilation: int = 1,
) -> bool:  # fmt: skip
    sides = f"kernel_h: {kernel[0]} kernel_w: {kernel[1]}"
    sizes = f"kernel_size: {kernel[0]}" if kernel[0] == kernel[1] else sides
    numbers = (
        f"num_output: {shape[1]} {sizes} stride: {stride} pad: {pad} group: {group} dilation: {dilation}"
    )
    bias = "" if draw(st.booleans()) else "bias_term: false"
    return _add(net, kind, [x], [shape], 1.5 * x.size + 1, f"convolution_param {{ {numbers} {bias} }}")


def pooling(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    """Caffe rounds up, and leaves out a last window that begins in the padding."""
    if len(x.shape) != 4:
        return False
    method = pick(draw, "MAX", "AVE")
    if pick(draw, False, False, False, True):
        settings, plane = "global_pooling: true", [1, 1]
    else:
        kernel, stride, up = pick(draw, 2, 3), pick(draw, 1, 2), pick(draw, True, True, False)
        pad = pick(draw, 0, 1)
        if min(x.shape[2:]) + 2 * pad < kernel:
            return False
        plane = [_pools(extent, kernel, stride, pad, up) for extent in x.shape[2:]]
        rounding = "" if up else "round_mode: FLOOR"
        settings = f"kernel_size: {kernel} stride: {stride} pad: {pad} {rounding}"
    shape = (*x.shape[:2], *plane)
    return _add(net, "Pooling", [x], [shape], x.size, f"pooling_param {{ pool: {method} {settings} }}")


def lrn(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    if len(x.shape) != 4:
        return False
    region = pick(draw, "ACROSS_CHANNELS", "ACROSS_CHANNELS", "WITHIN_CHANNEL")
    settings = (
        f"local_size: {pick(draw, 3, 5)} alpha: 0.5 beta: {pick(draw, 0.75, 0.5)} norm_region: {region}"
    )
    return _add(net, "LRN", [x], [x.shape], x.size, f"lrn_param {{ {settings} }}")


# ---- normalisation and learned numbers a channel


def batch_norm(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    if len(x.shape) < 2:
        return False
    return _add(net, "BatchNorm", [x], [x.shape], 2 * x.size + 3, in_place=draw(st.booleans()))


def scale(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    """By learned numbers, or by another blob that has some of the axes."""
    if len(x.shape) < 2:
        return False
    bias = f"bias_term: {pick(draw, 'true', 'false')}"
    parts = {axis: x.shape[axis:] for axis in (0, 1)}
    fits = [
        (y, axis) for y in net.blobs for axis in parts if y != x and parts[axis][: len(y.shape)] == y.shape
    ]
    if fits and draw(st.booleans()):
        y, axis = pick(draw, *fits)
        settings = f"scale_param {{ axis: {axis} {bias} }}"
        return _add(net, "Scale", [x, y], [x.shape], x.size * y.size + 2, settings)
    in_place = draw(st.booleans())
    return _add(net, "Scale", [x], [x.shape], 2 * x.size + 2, f"scale_param {{ {bias} }}", in_place=in_place)


def bias(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    return len(x.shape) > 1 and _add(net, "Bias", [x], [x.shape], x.size + 2, in_place=draw(st.booleans()))


def prelu(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    settings = f"prelu_param {{ channel_shared: {pick(draw, 'true', 'false')} }}"
    in_place = draw(st.booleans())
    return len(x.shape) > 1 and _add(net, "PReLU", [x], [x.shape], 2 * x.size, settings, in_place=in_place)


def mvn(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    """With an eps that keeps what rounding makes of a constant plane small."""
    if len(x.shape) != 4:
        return False
    options = (
        f"normalize_variance: {pick(draw, 'true', 'false')} across_channels: {pick(draw, 'true', 'false')}"
    )
    return _add(net, "MVN", [x], [x.shape], 2 * x.size + 2, f"mvn_param {{ {options} eps: 0.1 }}")


def softmax(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    if not x.shape:
        return False
    axis = draw(st.integers(0, len(x.shape) - 1))
    return _add(net, "Softmax", [x], [x.shape], 1.0, f"softmax_param {{ axis: {axis} }}")


# ---- elementwise

_ACTIVATIONS: dict[str, tuple[str, Callable[[float], float]]] = {
    "AbsVal": ("", lambda size: size),
    "BNLL": ("", lambda size: size + 1),
    "Clip": ("clip_param { min: -0.5 max: 0.8 }", lambda size: 0.8),
    "Dropout": ("dropout_param { dropout_ratio: 0.3 }", lambda size: size),
    "ELU": ("elu_param { alpha: 0.5 }", lambda size: size),
    "Exp": ("exp_param { base: 2 scale: -0.1 shift: 0.5 }", lambda size: 2 ** (0.1 * size + 0.5)),
    "Power": ("power_param { scale: -0.5 shift: 0.3 }", lambda size: 0.5 * size + 0.3),
    "ReLU": ("", lambda size: size),
    "Sigmoid": ("", lambda size: 1.0),
    "Swish": ("swish_param { beta: 1.5 }", lambda size: size),
    "TanH": ("", lambda size: 1.0),
}


def activation(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    kind = draw(st.sampled_from(sorted(_ACTIVATIONS)))
    settings, size = _ACTIVATIONS[kind]
    return _add(net, kind, [x], [x.shape], size(x.size), settings, in_place=draw(st.booleans()))


def relu(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    """On its own because it is everywhere, and fuses."""
    settings = pick(draw, "", "", "relu_param { negative_slope: 0.1 }")
    return _add(net, "ReLU", [x], [x.shape], x.size, settings, in_place=draw(st.booleans()))


def square(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    settings = f"power_param {{ power: {pick(draw, 2, 3)} scale: 0.5 }}"
    return _add(net, "Power", [x], [x.shape], (0.5 * x.size) ** 3 + 1, settings)


def logarithm(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    """Of numbers of at least 1."""
    if not _add(net, "AbsVal", [x], [x.shape], x.size, in_place=draw(st.booleans())):
        return False
    return _add(net, "Log", [net.blobs[-1]], [x.shape], x.size, "log_param { shift: 1 }")


def eltwise(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    fits = [y for y in net.blobs if y.shape == x.shape]
    others = draw(st.lists(st.sampled_from(fits), min_size=1, max_size=2))
    both = [x, *others]
    kind = pick(draw, "SUM", "SUM", "PROD", "MAX")
    sizes = [each.size for each in both]
    size = math.prod(sizes) if kind == "PROD" else sum(sizes)
    coeffs = [f"coeff: {pick(draw, 1, -0.5)}" for _ in both] if kind == "SUM" and draw(st.booleans()) else []
    return _add(
        net, "Eltwise", both, [x.shape], size, f"eltwise_param {{ operation: {kind} {' '.join(coeffs)} }}"
    )


# ---- shapes


def concat(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    if not x.shape:
        return False
    axis = draw(st.integers(0, len(x.shape) - 1))
    fits = [
        y
        for y in net.blobs
        if len(y.shape) == len(x.shape) and _with(y.shape, axis, 0) == _with(x.shape, axis, 0)
    ]
    both = [x, *draw(st.lists(st.sampled_from(fits), min_size=1, max_size=2))]
    shape = _with(x.shape, axis, sum(each.shape[axis] for each in both))
    return _add(
        net, "Concat", both, [shape], max(each.size for each in both), f"concat_param {{ axis: {axis} }}"
    )


def slice_(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    axes = [axis for axis, extent in enumerate(x.shape) if extent > 1]
    if not axes:
        return False
    axis = draw(st.sampled_from(axes))
    point = draw(st.integers(1, x.shape[axis] - 1))
    shapes = [_with(x.shape, axis, point), _with(x.shape, axis, x.shape[axis] - point)]
    return _add(net, "Slice", [x], shapes, x.size, f"slice_param {{ axis: {axis} slice_point: {point} }}")


def split(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    return _add(net, "Split", [x], [x.shape, x.shape], x.size)


def crop(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    fits = [
        y for y in net.blobs
        if len(y.shape) == len(x.shape) == 4 and y.shape[:2] == x.shape[:2] and y.shape != x.shape
        and all(a <= b for a, b in zip(y.shape, x.shape, strict=True))
    ]  # fmt: skip
    if not fits:
        return False
    y = draw(st.sampled_from(fits))
    offsets = " ".join(f"offset: {draw(st.integers(0, x.shape[i] - y.shape[i]))}" for i in (2, 3))
    return _add(net, "Crop", [x, y], [y.shape], x.size, f"crop_param {{ axis: 2 {offsets} }}")


def flatten(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    if not x.shape:
        return False
    axis = draw(st.integers(0, len(x.shape) - 1))
    rest = math.prod(x.shape[axis:])
    return _add(net, "Flatten", [x], [(*x.shape[:axis], rest)], x.size, f"flatten_param {{ axis: {axis} }}")


def reshape(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    """Channels become two axes, or axes are added or joined."""
    if len(x.shape) < 2:
        return False
    n, c, rest = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    joined, flat, split = (n, c, rest), (n, c * rest, 1, 1), (n, 1, c, rest)
    shape, dims = pick(draw, (joined, (0, 0, -1)), (flat, (0, -1, 1, 1)), (split, (0, 1, c, -1)))
    text = " ".join(f"dim: {extent}" for extent in dims)
    return _add(net, "Reshape", [x], [shape], x.size, f"reshape_param {{ shape {{ {text} }} }}")


def permute(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    if not x.shape:
        return False
    order = draw(st.permutations(range(len(x.shape))))
    text = " ".join(f"order: {axis}" for axis in order)
    shape = tuple(x.shape[axis] for axis in order)
    return _add(net, "Permute", [x], [shape], x.size, f"permute_param {{ {text} }}")


def tile(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    if not x.shape:
        return False
    axis = draw(st.integers(0, len(x.shape) - 1))
    shape = _with(x.shape, axis, 2 * x.shape[axis])
    return _add(net, "Tile", [x], [shape], x.size, f"tile_param {{ axis: {axis} tiles: 2 }}")


def reduction(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    if not x.shape:
        return False
    axis = draw(st.integers(1, len(x.shape) - 1)) if len(x.shape) > 1 else 0
    kept, count = x.shape[:axis], math.prod(x.shape[axis:])
    kind, size = pick(draw, ("SUM", x.size), ("ASUM", x.size), ("MEAN", x.size), ("SUMSQ", x.size**2))
    coeff = 1 if kind == "MEAN" else 1 / count
    settings = f"reduction_param {{ operation: {kind} axis: {axis} coeff: {coeff:.6f} }}"
    return _add(net, "Reduction", [x], [kept], size, settings)


def inner_product(net: CaffeNet, x: Blob, draw: st.DrawFn) -> bool:
    if len(x.shape) < 2:
        return False
    axis = pick(draw, 1, 1, len(x.shape) - 1)
    outputs = pick(draw, 1, 5, 16)
    flags = f"bias_term: {pick(draw, 'true', 'false')} transpose: {pick(draw, 'true', 'false')}"
    settings = f"inner_product_param {{ num_output: {outputs} axis: {axis} {flags} }}"
    return _add(net, "InnerProduct", [x], [(*x.shape[:axis], outputs)], 2 * x.size + 1, settings)


def _with(shape: Shape, axis: int, extent: int) -> Shape:
    return (*shape[:axis], extent, *shape[axis + 1 :])


def _add(
    net: CaffeNet, kind: str, bottoms: list[Blob], shapes: list[Shape], size: float,
    settings: str = "", *, in_place: bool = False,
) -> bool:  # fmt: skip
    if size > LARGEST or any(math.prod(shape) > MOST_ELEMENTS for shape in shapes):
        return False
    net.add(kind, bottoms, shapes, size, settings, in_place=in_place)
    return True


# what nets are made of comes more often
STEPS: tuple[Step, ...] = (
    convolution, convolution, convolution, convolution, deconvolution, pooling, pooling, lrn,
    batch_norm, batch_norm, scale, scale, bias, prelu, mvn, softmax,
    activation, activation, relu, relu, relu, square, logarithm, eltwise, eltwise, eltwise,
    concat, concat, slice_, split, crop, flatten, reshape, permute, tile, reduction, inner_product, inner_product,
)  # fmt: skip
