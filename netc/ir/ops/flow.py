"""What nets of optical flow compare and move images with: correlation, warping, resampling by filters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, ceildiv, evaluate
from netc.ir.opdef import Array, NoAttrs, OpDef, define
from netc.ir.types import TensorType

Filter = Literal["nearest", "linear", "cubic"]


@dataclass(frozen=True, slots=True)
class CorrelationAttrs:
    """Patches of ``kernel`` squared, ``stride`` apart, up to ``reach`` from the border of the padded image.

    Each is compared with those of the other image that lie off by ``shifts`` (down, across), in elements.
    ``pad`` and ``reach`` are (vertical, horizontal). ``kind`` is the product of elements or the size of their
    difference.
    """

    kernel: int
    stride: int
    pad: tuple[int, int]
    reach: tuple[int, int]
    shifts: tuple[tuple[int, int], ...]
    kind: Literal["product", "difference"]


@dataclass(frozen=True, slots=True)
class ResampleAttrs:
    """``size`` is the (height, width) of the result; ``wide`` stretches the filter where there are fewer."""

    size: tuple[Dim, Dim]
    kind: Filter
    wide: bool


def _check_planes(operands: tuple[TensorType, ...]) -> None:
    for x in operands:
        if x.rank != 4 or x.layout is not None:
            raise OpError(f"a row-major input of [N,C,H,W] expected, got {x}")


def _places(extent: Dim, axis: int, attrs: CorrelationAttrs) -> Dim:
    """How many patches there are along an axis of the image."""
    inside = extent + (2 * attrs.pad[axis] - 2 * attrs.reach[axis] - (attrs.kernel - 1))
    return ceildiv(inside, attrs.stride)


def _infer_correlation(operands: tuple[TensorType, ...], attrs: CorrelationAttrs) -> tuple[TensorType, ...]:
    _check_planes(operands)
    x, other = operands
    if other != x:
        raise OpError(f"two images of one type expected, got {x} and {other}")
    if attrs.kernel < 1 or attrs.kernel % 2 == 0:
        raise OpError(f"kernel must be odd, got {attrs.kernel}", attr="kernel")
    if attrs.stride < 1:
        raise OpError(f"stride must be >= 1, got {attrs.stride}", attr="stride")
    if attrs.kind not in ("product", "difference"):
        raise OpError(f"kind must be product or difference, got {attrs.kind}", attr="kind")
    if not attrs.shifts:
        raise OpError("one or more shifts expected", attr="shifts")
    for shift in attrs.shifts:
        if any(abs(by) > most for by, most in zip(shift, attrs.reach, strict=True)):
            raise OpError(f"shifts must be within {attrs.reach}, got {shift}", attr="shifts")
    places = [_places(extent, axis, attrs) for axis, extent in enumerate(x.shape[2:])]
    if any(isinstance(count, int) and count < 1 for count in places):
        raise OpError(f"no patch fits in {x} with a reach of {attrs.reach}", attr="reach")
    return (x.with_shape(x.shape[0], len(attrs.shifts), *places),)


def _correlation(operands: tuple[Array, ...], attrs: CorrelationAttrs) -> tuple[Array, ...]:
    pads = ((0, 0), (0, 0), *((p, p) for p in attrs.pad))
    first, second = (np.pad(x, pads) for x in operands)
    rows, columns = (
        evaluate(_places(extent, axis, attrs), {}) for axis, extent in enumerate(operands[0].shape[2:])
    )
    y = np.zeros((len(first), len(attrs.shifts), rows, columns), first.dtype)

    def patch(x: Array, top: int, left: int) -> Array:
        """An element of every patch: (N, C, rows, columns)."""
        return x[
            :, :, top : top + (rows - 1) * attrs.stride + 1 : attrs.stride,
            left : left + (columns - 1) * attrs.stride + 1 : attrs.stride,
        ]  # fmt: skip

    for i in range(attrs.kernel):
        for j in range(attrs.kernel):
            top, left = attrs.reach[0] + i, attrs.reach[1] + j
            own = patch(first, top, left)
            for index, (down, across) in enumerate(attrs.shifts):
                met = patch(second, top + down, left + across)
                terms = own * met if attrs.kind == "product" else np.abs(own - met)
                y[:, index] += terms.sum(axis=1)
    return (y / y.dtype.type(attrs.kernel**2 * first.shape[1]),)


def _infer_warp(operands: tuple[TensorType, ...], attrs: NoAttrs) -> tuple[TensorType, ...]:
    del attrs
    _check_planes(operands)
    x, flow = operands
    if flow.shape != (x.shape[0], 2, *x.shape[2:]):
        raise OpError(f"a flow of [N,2,H,W] expected for {x}, got {flow}")
    return (x,)


def _warp(operands: tuple[Array, ...], attrs: NoAttrs) -> tuple[Array, ...]:
    del attrs
    x, flow = operands
    height, width = x.shape[2:]
    across = np.arange(width, dtype=flow.dtype) + flow[:, 0]
    down = np.arange(height, dtype=flow.dtype)[:, np.newaxis] + flow[:, 1]
    inside = (across >= 0) & (down >= 0) & (across < width) & (down < height)
    across, down = np.where(inside, across, 0), np.where(inside, down, 0)
    left, top = across.astype(int), down.astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    u, v = (across - left)[:, np.newaxis], (down - top)[:, np.newaxis]
    n = np.arange(len(x))[:, np.newaxis, np.newaxis]

    def at(rows: Array, columns: Array) -> Array:
        return x[n, :, rows, columns].transpose(0, 3, 1, 2)

    y = (1 - v) * ((1 - u) * at(top, left) + u * at(top, right))
    y = y + v * ((1 - u) * at(bottom, left) + u * at(bottom, right))
    return (np.where(inside[:, np.newaxis], y, 0).astype(x.dtype),)


def _infer_resample(operands: tuple[TensorType, ...], attrs: ResampleAttrs) -> tuple[TensorType, ...]:
    _check_planes(operands)
    if attrs.kind not in ("nearest", "linear", "cubic"):
        raise OpError(f"kind must be nearest, linear or cubic, got {attrs.kind}", attr="kind")
    for extent in attrs.size:
        if isinstance(extent, int) and extent < 1:
            raise OpError(f"size must be >= 1, got {extent}", attr="size")
    (x,) = operands
    return (x.with_shape(*x.shape[:2], *attrs.size),)


def _filter(distance: Array, kind: Filter) -> Array:
    x = np.abs(distance)
    if kind == "linear":
        return np.asarray(np.maximum(1 - x, 0))
    near = x * x * (1.5 * x - 2.5) + 1
    far = x * (x * (-0.5 * x + 2.5) - 4) + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _weights(size: int, out: int, other_rate: float, attrs: ResampleAttrs, wide: bool) -> Array:
    """What each element of an axis contributes to each of the result, [out, in]; rows sum to 1 or are 0."""
    rate = size / out
    points = np.arange(out) * rate + other_rate / 2 - 0.5
    if attrs.kind == "nearest":
        picked = np.floor(np.abs(points) + 0.5) * np.sign(points)
        return np.asarray(np.eye(size)[picked.astype(int).clip(0, size - 1)])
    stretch = rate if wide else 1.0
    shares = _filter((points[:, np.newaxis] - np.arange(size)) / stretch, attrs.kind)
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shares, total, out=np.zeros_like(shares), where=total != 0))


def _resample(operands: tuple[Array, ...], attrs: ResampleAttrs) -> tuple[Array, ...]:
    (x,) = operands
    size = tuple(evaluate(d, {}) for d in attrs.size)
    rates = [extent / out for extent, out in zip(x.shape[2:], size, strict=True)]
    wide = attrs.wide and max(rates) > 1
    down = _weights(x.shape[2], size[0], rates[1], attrs, wide)
    across = _weights(x.shape[3], size[1], rates[0], attrs, wide)
    return (np.einsum("ih,nchw,jw->ncij", down, x, across, optimize=True).astype(x.dtype),)


def square_shifts(radius: int, step: int) -> tuple[tuple[int, int], ...]:
    """Every shift by up to ``radius`` steps down and across, row by row."""
    steps = range(-radius * step, radius * step + 1, step)
    return tuple((down, across) for down in steps for across in steps)


def grid_radius(reach: int, step: int) -> int:
    """How many steps lie within the reach."""
    return math.floor(reach / step)


CORRELATION = define(
    OpDef(
        "nn.correlation",
        "tensor",
        "y[n,s,i,j]: the mean, over the channels and the kernel's elements, of the product of a patch of x "
        "and the patch of other that is off by shift s, or of the size of their difference. Beyond the "
        "padding nothing is read. Dosovitskiy et al., FlowNet, 2015, section 3.",
        ("x", "other"),
        CorrelationAttrs,
        infer=_infer_correlation,
        reference=_correlation,
    )
)
WARP = define(
    OpDef(
        "nn.warp",
        "tensor",
        "y[n,c,i,j] = x at (i + flow[n,1,i,j], j + flow[n,0,i,j]), bilinear, and 0 where that is outside. "
        "Ilg et al., FlowNet 2.0, 2017, section 3.",
        ("x", "flow"),
        NoAttrs,
        infer=_infer_warp,
        reference=_warp,
    )
)
RESAMPLE = define(
    OpDef(
        "nn.resample",
        "tensor",
        "x at another height and width: each element of the result is a mean of elements around its place, "
        "(i + 1/2) in/out - 1/2, weighed by a filter of their distances: a triangle (linear) or Catmull and "
        "Rom's cubic. Where elements get fewer, wide stretches the filter to the distance of the places. As "
        "in FlowNet's layer the half element is that of the other axis.",
        ("x",),
        ResampleAttrs,
        infer=_infer_resample,
        reference=_resample,
    )
)
