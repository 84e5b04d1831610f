"""The gradients of pooled regions: bins of all regions, summed where they overlap. Row-major only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.ops.roi import (
    PsRoiPoolAttrs,
    RoiPoolAttrs,
    infer_ps_roi_pool,
    infer_roi_pool,
    ps_roi_bins,
    roi_bins,
)
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class PsRoiPoolGradientAttrs:
    """``extents`` are the input's (samples, height, width); the rest are the attributes of the pooling."""

    extents: tuple[Dim, Dim, Dim]
    channels: int
    group: int
    scale: float

    def pooling(self) -> PsRoiPoolAttrs:
        """The attributes of the pooling."""
        return PsRoiPoolAttrs(self.channels, self.group, self.scale)


def _check_gradient(dy: TensorType, pooled: TensorType) -> None:
    if dy != pooled:
        raise OpError(f"the gradient of a result of {pooled} expected, got {dy}")


def _infer_roi_pool(operands: tuple[TensorType, ...], attrs: RoiPoolAttrs) -> tuple[TensorType, ...]:
    dy, x, rois = operands
    _check_gradient(dy, *infer_roi_pool((x, rois), attrs))
    return (x,)


def _roi_pool(operands: tuple[Array, ...], attrs: RoiPoolAttrs) -> tuple[Array, ...]:
    dy, x, rois = operands
    dx = np.zeros_like(x)
    channels = np.arange(x.shape[1])
    for n, sample, i, j, rows, columns in roi_bins(rois, x.shape, attrs):
        part = x[sample, :, rows, columns]
        # the first of equal numbers, in row-major order
        down, across = np.unravel_index(part.reshape(len(channels), -1).argmax(axis=1), part.shape[1:])
        dx[sample, channels, rows.start + down, columns.start + across] += dy[n, :, i, j]
    return (dx,)


def _infer_ps_roi_pool(
    operands: tuple[TensorType, ...], attrs: PsRoiPoolGradientAttrs
) -> tuple[TensorType, ...]:
    dy, rois = operands
    for extent in attrs.extents:
        if isinstance(extent, int) and extent < 1:
            raise OpError(f"extents must be >= 1, got {extent}", attr="extents")
    samples, height, width = attrs.extents
    x = dy.with_shape(samples, attrs.channels * attrs.group * attrs.group, height, width)
    _check_gradient(dy, *infer_ps_roi_pool((x, rois), attrs.pooling()))
    return (x,)


def _ps_roi_pool(operands: tuple[Array, ...], attrs: PsRoiPoolGradientAttrs) -> tuple[Array, ...]:
    dy, rois = operands
    group = attrs.group
    samples, height, width = (evaluate(d, {}) for d in attrs.extents)
    shape = (samples, attrs.channels * group * group, height, width)
    dx = np.zeros(shape, dy.dtype)
    parts = dx.reshape(samples, attrs.channels, group, group, height, width)
    for n, sample, i, j, rows, columns in ps_roi_bins(rois, shape, attrs.pooling()):
        elements = (rows.stop - rows.start) * (columns.stop - columns.start)
        share = dy[n, :, i, j] / dy.dtype.type(elements)
        parts[sample, :, i, j, rows, columns] += share[:, np.newaxis, np.newaxis]
    return (dx,)


ROI_POOL_GRADIENT = define(
    OpDef(
        "nn.roi_pool_gradient",
        "tensor",
        "dx = for each bin of nn.roi_pool dy at the first element of x that is its maximum, summed over the "
        "regions.",
        ("dy", "x", "rois"),
        RoiPoolAttrs,
        infer=_infer_roi_pool,
        reference=_roi_pool,
        vjp=NOT_DIFFERENTIABLE,
    )
)
PS_ROI_POOL_GRADIENT = define(
    OpDef(
        "nn.ps_roi_pool_gradient",
        "tensor",
        "dx = for each bin of nn.ps_roi_pool dy shared evenly among its elements, summed over the regions.",
        ("dy", "rois"),
        PsRoiPoolGradientAttrs,
        infer=_infer_ps_roi_pool,
        reference=_ps_roi_pool,
        vjp=NOT_DIFFERENTIABLE,
    )
)
