"""ONNX nodes for what moves windows over planes: convolution, pooling, resizing, regions of interest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np

from netc.backends.onnx.graph import OnnxGraph, Rule, emit, operands, static_extents, tensor_of
from netc.ir.core import Op
from netc.ir.diagnostics import NetcError
from netc.ir.ops.pool import PoolAttrs, pool_extents, window_counts


def _steps(attrs: Any) -> dict[str, list[int]]:
    """Where windows lie: the attributes that convolutions share."""
    return {
        "strides": list(attrs.stride),
        "pads": [lo for lo, _ in attrs.pad] + [hi for _, hi in attrs.pad],
        "dilations": list(attrs.dilation),
    }


def _conv(kind: str) -> Rule:
    def rule(graph: OnnxGraph, op: Op) -> None:
        kernel = static_extents(op, tensor_of(op.operands[1]).shape[2:], "a kernel")
        emit(graph, op, kind, kernel_shape=kernel, group=op.attrs.group, **_steps(op.attrs))

    return rule


def _window(op: Op) -> dict[str, Any]:
    """Caffe's sizes by padding: as many elements on the far side as the last window needs."""
    a: PoolAttrs = op.attrs
    sizes = static_extents(op, tensor_of(op.operands[0]).shape[2:], "pooling")
    out = [extent for extent in pool_extents(tuple(sizes), a) if isinstance(extent, int)]
    low = [lo for lo, _ in a.pad]
    needed = [
        (o - 1) * s + k - size - lo
        for o, s, k, size, lo in zip(out, a.stride, a.kernel, sizes, low, strict=True)
    ]
    high = [max(0, each) for each in needed]
    if any(hi >= k for hi, k in zip(high, a.kernel, strict=True)):
        raise NetcError(f"{op.name}: the last window is empty, which ONNX lacks", location=op.location)
    return {"kernel_shape": list(a.kernel), "strides": list(a.stride), "pads": low + high}


def _pool(graph: OnnxGraph, op: Op) -> None:
    a: PoolAttrs = op.attrs
    window = _window(op)
    if a.kind == "max":
        emit(graph, op, "MaxPool", **window)
        return
    spatial = zip(tensor_of(op.operands[0]).shape[2:], tensor_of(op.result).shape[2:], strict=True)
    counts = [
        window_counts(size, o, k, s, p, a.count_padding)
        for (size, o), k, s, p in zip(spatial, a.kernel, a.stride, a.pad, strict=True)
        if isinstance(size, int) and isinstance(o, int)
    ]
    divisor = reduce(np.multiply.outer, counts)
    volume = math.prod(a.kernel)
    if np.all(divisor == volume):
        emit(graph, op, "AveragePool", count_include_pad=1, **window)
        return
    result = graph.name(op.result)
    mean = graph.step("AveragePool", operands(graph, op), result, count_include_pad=1, **window)
    # the divisors of windows at the border are Caffe's, not the kernel's size
    correction = (volume / divisor).astype(np.float32)[None, None]
    graph.node("Mul", [mean, graph.constant(result, correction)], result)


def _global_pool(graph: OnnxGraph, op: Op) -> None:
    emit(graph, op, "GlobalMaxPool" if op.attrs.kind == "max" else "GlobalAveragePool")


def _lrn(graph: OnnxGraph, op: Op) -> None:
    a = op.attrs
    emit(graph, op, "LRN", size=a.size, alpha=a.alpha, beta=a.beta, bias=a.k)


def _pool_mask(graph: OnnxGraph, op: Op) -> None:
    """The second result of MaxPool counts through the whole tensor; this op counts in each plane."""
    result = graph.name(op.result)
    plane = math.prod(static_extents(op, tensor_of(op.operands[0]).shape[2:], "pooling"))
    unused, indices = graph.fresh(f"{result}.max"), graph.fresh(f"{result}.indices")
    window = _window(op)
    node = graph.onnx.helper.make_node("MaxPool", operands(graph, op), [unused, indices], **window)
    graph.nodes.append(node)
    inside = graph.step("Mod", [indices, graph.integers(result, plane)], result)
    graph.as_floats(inside, op)


def _im2col(graph: OnnxGraph, op: Op) -> None:
    """A convolution whose kernels pick one tap each."""
    a = op.attrs
    (channels,) = static_extents(op, tensor_of(op.operands[0]).shape[1:2], "im2col")
    taps = math.prod(a.kernel)
    one_channel = np.eye(taps, dtype=np.float32).reshape(taps, 1, *a.kernel)
    kernels = graph.constant(graph.name(op.result), np.concatenate([one_channel] * channels))
    emit(graph, op, "Conv", kernels, group=channels, **_steps(a))


def _max_unpool(graph: OnnxGraph, op: Op) -> None:
    near = graph.name(op.result)
    x, mask = operands(graph, op)
    shape = static_extents(op, tensor_of(op.operands[0]).shape, "unpooling")
    size = static_extents(op, op.attrs.size, "unpooling")
    rows = graph.integers(near, [*shape[:2], math.prod(shape[2:])])
    zeros = graph.constant(near, np.zeros((*shape[:2], math.prod(size)), np.float32))
    places = graph.step("Reshape", [graph.cast(mask, near, "int64"), rows], near)
    values = graph.step("Reshape", [x, rows], near)
    flat = graph.step("ScatterElements", [zeros, places, values], near, axis=2)
    graph.node("Reshape", [flat, graph.integers(near, [*shape[:2], *size])], near)


_COORDINATES = {"corners": "align_corners", "half_pixel": "half_pixel", "origin": "asymmetric"}


def _resize(graph: OnnxGraph, op: Op) -> None:
    a = op.attrs
    near = graph.name(op.result)
    sizes = static_extents(op, tensor_of(op.result).shape, "resizing")
    kind: dict[str, Any] = {"mode": "linear"}
    if a.kind == "nearest":
        # the element at floor(p + 1/2), or at floor(p)
        rounding = "floor" if a.coordinates == "origin" else "round_prefer_ceil"
        kind = {"mode": "nearest", "nearest_mode": rounding}
    emit(
        graph,
        op,
        "Resize",
        "",  # no region, and no scales: the sizes say it all
        "",
        graph.integers(near, sizes),
        coordinate_transformation_mode=_COORDINATES[a.coordinates],
        **kind,
    )


def _roi_pool(graph: OnnxGraph, op: Op) -> None:
    emit(graph, op, "MaxRoiPool", pooled_shape=list(op.attrs.pooled), spatial_scale=op.attrs.scale)


RULES: Mapping[str, Rule] = {
    "nn.conv": _conv("Conv"),
    "nn.deconv": _conv("ConvTranspose"),
    "nn.global_pool": _global_pool,
    "nn.im2col": _im2col,
    "nn.lrn": _lrn,
    "nn.max_unpool": _max_unpool,
    "nn.pool": _pool,
    "nn.pool_mask": _pool_mask,
    "nn.resize": _resize,
    "nn.roi_pool": _roi_pool,
}
