"""Pooling of regions of interest: boxes of any size become grids of one size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import Array, OpDef, define
from netc.ir.types import TensorType

ROI_NUMBERS = 5  # sample, x1, y1, x2, y2
LARGEST = 2**30  # coordinates beyond are cut before they become integers
# region, its sample, the bin's row and column in the grid, and the rows and columns of elements it covers
Bin = tuple[int, int, int, int, slice, slice]
SMALLEST_SIDE = 0.1  # R-FCN's least side of a region, in elements of the feature map


@dataclass(frozen=True, slots=True)
class RoiPoolAttrs:
    """``pooled`` is the result's (height, width); ``scale`` leads from the boxes' pixels to x's elements."""

    pooled: tuple[int, int]
    scale: float


@dataclass(frozen=True, slots=True)
class PsRoiPoolAttrs:
    """``channels`` of the result, whose height and width are ``group``; ``scale`` as in ``nn.roi_pool``."""

    channels: int
    group: int
    scale: float


def _check_operands(x: TensorType, rois: TensorType) -> None:
    if x.rank != 4:
        raise OpError(f"an input of [N,C,H,W] expected, got {x}")
    if x.layout is not None or rois.layout is not None:
        raise OpError(f"row-major operands expected, got {x} and {rois}")
    if rois.rank != 2 or rois.shape[1] != ROI_NUMBERS:
        raise OpError(f"regions of [R,5] (sample, x1, y1, x2, y2) expected, got {rois}")


def infer_roi_pool(operands: tuple[TensorType, ...], attrs: RoiPoolAttrs) -> tuple[TensorType, ...]:
    """The type rule of ``nn.roi_pool``."""
    x, rois = operands
    _check_operands(x, rois)
    if min(attrs.pooled) < 1:
        raise OpError(f"pooled must be >= 1, got {list(attrs.pooled)}", attr="pooled")
    return (TensorType(x.dtype, (rois.shape[0], x.shape[1], *attrs.pooled)),)


def infer_ps_roi_pool(operands: tuple[TensorType, ...], attrs: PsRoiPoolAttrs) -> tuple[TensorType, ...]:
    """The type rule of ``nn.ps_roi_pool``."""
    x, rois = operands
    _check_operands(x, rois)
    if attrs.channels < 1:
        raise OpError(f"channels must be >= 1, got {attrs.channels}", attr="channels")
    if attrs.group < 1:
        raise OpError(f"group must be >= 1, got {attrs.group}", attr="group")
    wanted = attrs.channels * attrs.group * attrs.group
    if x.shape[1] != wanted:
        raise OpError(f"an input of {wanted} channels expected, got {x}")
    return (TensorType(x.dtype, (rois.shape[0], attrs.channels, attrs.group, attrs.group)),)


def _rounded(x: Array) -> Array:
    """C's round: halves away from zero."""
    return np.asarray(np.sign(x) * np.floor(np.abs(x) + x.dtype.type(0.5)))


def _sample(roi: Array, samples: int) -> int:
    index = int(roi[0])
    if not 0 <= index < samples:
        raise ValueError(f"a region lies in sample {index} of {samples}")
    return index


def _bins(start: Any, size: Any, bins: int, extent: int, shift: int = 0) -> list[slice]:
    """The elements of each bin along an axis of ``extent`` elements: rounded outward, shifted and cut."""
    step = size / start.dtype.type(bins)
    index = np.arange(bins + 1).astype(start.dtype)
    begin = np.floor(index[:-1] * step + start).clip(-LARGEST, LARGEST).astype(int) + shift
    end = np.ceil(index[1:] * step + start).clip(-LARGEST, LARGEST).astype(int) + shift
    ends = zip(begin.clip(0, extent).tolist(), end.clip(0, extent).tolist(), strict=True)
    return [slice(*each) for each in ends]


def roi_bins(rois: Array, shape: tuple[int, ...], attrs: RoiPoolAttrs) -> Iterator[Bin]:
    """The bins of ``nn.roi_pool`` that are not empty."""
    for n, roi in enumerate(rois):
        corners = _rounded(roi[1:] * roi.dtype.type(attrs.scale))
        size = np.maximum(corners[2:] - corners[:2] + 1, 1)
        left, top = corners[:2].clip(-LARGEST, LARGEST).astype(int).tolist()
        zero = roi.dtype.type(0)
        columns = _bins(zero, size[0], attrs.pooled[1], shape[3], left)
        rows = _bins(zero, size[1], attrs.pooled[0], shape[2], top)
        yield from _grid(n, _sample(roi, shape[0]), rows, columns)


def ps_roi_bins(rois: Array, shape: tuple[int, ...], attrs: PsRoiPoolAttrs) -> Iterator[Bin]:
    """The bins of ``nn.ps_roi_pool`` that are not empty."""
    for n, roi in enumerate(rois):
        scale = roi.dtype.type(attrs.scale)
        start = _rounded(roi[1:3]) * scale
        size = np.maximum((_rounded(roi[3:]) + 1) * scale - start, roi.dtype.type(SMALLEST_SIDE))
        columns = _bins(start[0], size[0], attrs.group, shape[3])
        rows = _bins(start[1], size[1], attrs.group, shape[2])
        yield from _grid(n, _sample(roi, shape[0]), rows, columns)


def _grid(region: int, sample: int, rows: list[slice], columns: list[slice]) -> Iterator[Bin]:
    for (i, down), (j, across) in itertools.product(enumerate(rows), enumerate(columns)):
        if down.stop > down.start and across.stop > across.start:
            yield region, sample, i, j, down, across


def _roi_pool(operands: tuple[Array, ...], attrs: RoiPoolAttrs) -> tuple[Array, ...]:
    x, rois = operands
    out = np.zeros((len(rois), x.shape[1], *attrs.pooled), x.dtype)
    for n, sample, i, j, rows, columns in roi_bins(rois, x.shape, attrs):
        out[n, :, i, j] = x[sample, :, rows, columns].max(axis=(1, 2))
    return (out,)


def _ps_roi_pool(operands: tuple[Array, ...], attrs: PsRoiPoolAttrs) -> tuple[Array, ...]:
    x, rois = operands
    group = attrs.group
    parts = x.reshape(len(x), attrs.channels, group, group, *x.shape[2:])
    out = np.zeros((len(rois), attrs.channels, group, group), x.dtype)
    for n, sample, i, j, rows, columns in ps_roi_bins(rois, x.shape, attrs):
        out[n, :, i, j] = parts[sample, :, i, j, rows, columns].mean(axis=(1, 2))
    return (out,)


ROI_POOL = define(
    OpDef(
        "nn.roi_pool",
        "tensor",
        "For each region (sample, x1, y1, x2, y2) of rois [R,5] the maximum of each of pooled bins of x "
        "[N,C,H,W]. The corners times scale are rounded, halves away from zero, and both included; bin i "
        "covers floor(i s) to ceil((i+1) s) of a side, s = side / bins, cut at the edges of x. An empty "
        "bin gives 0. Girshick, Fast R-CNN, 2015, section 2.1.",
        ("x", "rois"),
        RoiPoolAttrs,
        infer=infer_roi_pool,
        reference=_roi_pool,
    )
)
PS_ROI_POOL = define(
    OpDef(
        "nn.ps_roi_pool",
        "tensor",
        "For each region of rois [R,5] and bin (i, j) of a group x group grid the average of that bin, "
        "for result channel c taken from channel (c group + i) group + j of x [N,channels*group^2,H,W]. "
        "The corners are rounded before they are scaled, and bins are rounded outward: Dai et al., R-FCN, "
        "2016, section 2. An empty bin gives 0.",
        ("x", "rois"),
        PsRoiPoolAttrs,
        infer=infer_ps_roi_pool,
        reference=_ps_roi_pool,
    )
)
