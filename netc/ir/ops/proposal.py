"""Region proposals: the boxes that a region proposal network finds worth a look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, minimum
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.ops.boxes import best_first, suppress, with_rows
from netc.ir.types import TensorType

INFO_NUMBERS = 3  # height, width, scale


@dataclass(frozen=True, slots=True)
class ProposalAttrs:
    """``anchors`` are boxes (x1, y1, x2, y2) of the first cell, ``stride`` how far cells lie apart: pixels.

    ``candidates`` enter the suppression (0: all), ``kept`` leave it (0: all). Boxes with a side below
    ``min_size`` times the image's scale are dropped, or with ``zero_small`` sorted last with score 0.
    """

    anchors: tuple[tuple[float, float, float, float], ...]
    stride: int
    candidates: int
    kept: int
    overlap_threshold: float
    min_size: float
    zero_small: bool = False


def _infer(operands: tuple[TensorType, ...], attrs: ProposalAttrs) -> tuple[TensorType, ...]:
    scores, deltas, info = operands
    count = len(attrs.anchors)
    if count < 1:
        raise OpError("one or more anchors expected", attr="anchors")
    if attrs.stride < 1:
        raise OpError(f"stride must be >= 1, got {attrs.stride}", attr="stride")
    for name in ("candidates", "kept"):
        if getattr(attrs, name) < 0:
            raise OpError(f"must be 0 or more, got {getattr(attrs, name)}", attr=name)
    for what, type_, channels in (("scores", scores, 2 * count), ("deltas", deltas, 4 * count)):
        if type_.rank != 4 or type_.shape[:2] != (1, channels):
            raise OpError(f"{what} of [1,{channels},H,W] expected for {count} anchors, got {type_}")
    if scores.shape[2:] != deltas.shape[2:]:
        raise OpError(f"scores and deltas of one height and width expected, got {scores} and {deltas}")
    numbers = info.shape[-1] if info.rank == 2 else 0
    if numbers == 0 or info.shape[0] != 1 or (isinstance(numbers, int) and numbers < INFO_NUMBERS):
        raise OpError(f"the image's (height, width, scale) as [1,3] expected, got {info}")
    rows = _capacity(count * scores.shape[2] * scores.shape[3], attrs)
    return (
        TensorType(scores.dtype, (rows, 5)),
        TensorType(scores.dtype, (rows, 1)),
        TensorType("i32", (1,)),
    )


def _capacity(boxes: Dim, attrs: ProposalAttrs) -> Dim:
    for limit in (attrs.candidates, attrs.kept):
        boxes = minimum(boxes, limit) if limit else boxes
    return boxes


def _reference(operands: tuple[Array, ...], attrs: ProposalAttrs) -> tuple[Array, ...]:
    scores, deltas, info = operands
    count, (height, width) = len(attrs.anchors), scores.shape[2:]
    dtype = scores.dtype
    y, x = np.meshgrid(np.arange(height) * attrs.stride, np.arange(width) * attrs.stride, indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4).astype(dtype)
    # rows ordered by (y, x, anchor)
    anchors = (shifts + np.array(attrs.anchors, dtype)).reshape(-1, 4)
    moves = deltas[0].transpose(1, 2, 0).reshape(-1, 4)
    found = scores[0, count:].transpose(1, 2, 0).reshape(-1)

    size = anchors[:, 2:] - anchors[:, :2] + 1
    centre = anchors[:, :2] + size * dtype.type(0.5) + moves[:, :2] * size
    half = np.exp(moves[:, 2:]) * size * dtype.type(0.5)
    edge = np.array([info[0, 1] - 1, info[0, 0] - 1] * 2, dtype)
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    boxes = np.maximum(np.minimum(boxes, edge), 0).astype(dtype)
    # some forks give a scale for each axis
    scale = np.array([info[0, 3] if info.shape[1] > INFO_NUMBERS else info[0, 2], info[0, 2]], dtype)
    large = (boxes[:, 2:] - boxes[:, :2] + 1 >= dtype.type(attrs.min_size) * scale).all(axis=1)
    if attrs.zero_small:
        found = np.where(large, found, 0).astype(dtype)
    else:
        boxes, found = boxes[large], found[large]

    order = best_first(found)
    order = order[: attrs.candidates] if attrs.candidates else order
    boxes, found = boxes[order], found[order]
    kept = suppress(boxes, attrs.overlap_threshold, pixel=1, most=attrs.kept or -1)
    rois = np.concatenate([np.zeros((len(kept), 1), dtype), boxes[kept]], axis=1)
    capacity = _capacity(count * height * width, attrs)
    assert isinstance(capacity, int)
    rows, number = with_rows(rois, capacity)
    return (rows, with_rows(found[kept][:, np.newaxis], capacity)[0], number)


PROPOSAL = define(
    OpDef(
        "detect.proposals",
        "tensor",
        "Regions (0, x1, y1, x2, y2) in pixels and their scores, best first, from scores [1,2A,H,W] (A of "
        "background, then A of objects), moves [1,4A,H,W] (of the centre in sizes of the anchor, then "
        "logarithms of scales) and the image's (height, width, scale). Each cell's anchors are moved, cut "
        "at the image's edges, and lose those that overlap a better one by more than the threshold. Boxes "
        "are measured in pixels, both ends included. Equal scores keep the order (y, x, anchor), which "
        "the original leaves open. Ren et al., Faster R-CNN, 2015, section 3.",
        ("scores", "deltas", "info"),
        ProposalAttrs,
        infer=_infer,
        reference=_reference,
        vjp=NOT_DIFFERENTIABLE,
        counted_axis=0,
    )
)
