"""Proposals of regions: Proposal, and the Python layer of the first Faster R-CNN that does the same."""

from __future__ import annotations

import math

from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.python import read_param_str
from netc.frontend.layers.registry import layer
from netc.frontend.message import Message
from netc.ir.core import Value
from netc.ir.ops.proposal import ProposalAttrs

_P = "proposal_param"
# py-faster-rcnn's configuration (fast_rcnn/config.py): candidates and kept boxes of a phase, ...
_PYTHON_LIMITS = {"TEST": (6000, 300), "TRAIN": (12000, 2000)}
_PYTHON_OVERLAP = 0.7
_PYTHON_MIN_SIZE = 16.0
# ... and its anchors (rpn/generate_anchors.py)
_PYTHON_BASE = 16
_PYTHON_RATIOS = (0.5, 1.0, 2.0)
_PYTHON_SCALES = (8.0, 16.0, 32.0)


@layer("Proposal", bottoms=(3, 3), tops=(1, 2), source="PVANet")
def import_proposal(ctx: LayerContext) -> None:
    """Regions (0, x1, y1, x2, y2) from scores (1, 2A, H, W), moves (1, 4A, H, W) and (height, width, scale).

    A second top is their scores (R). There are at most ``post_nms_topn``; see ``detect.proposals``. Boxes
    smaller than ``min_size`` get the score 0. PVANet's fork, which others took over.
    """
    param = ctx.param(_P)
    attrs = ProposalAttrs(
        anchors=_stated_anchors(ctx, param),
        stride=param.integer("feat_stride"),
        candidates=param.integer("pre_nms_topn"),
        kept=param.integer("post_nms_topn"),
        overlap_threshold=param.number("nms_thresh"),
        min_size=float(param.integer("min_size")),
        zero_small=True,
    )
    rois, scores = _propose(ctx, attrs)
    ctx.top(0, rois)
    if len(ctx.top_names) > 1:
        ctx.top(1, ctx.reshape(scores, scores.type.shape[:1], part="rows", top=1))  # type: ignore[union-attr]


@layer("Python:rpn.proposal_layer.ProposalLayer", bottoms=(3, 3), tops=(1, 2), source="py-faster-rcnn")
def import_python_proposal(ctx: LayerContext) -> None:
    """py-faster-rcnn's proposals, with the numbers of its configuration; a second top is the scores (R, 1).

    Smaller boxes are dropped. ``param_str`` gives ``feat_stride``, and ``scales`` and ``ratios`` in later
    forks.
    """
    settings = read_param_str(ctx)
    stride = settings.get("feat_stride", ())
    if len(stride) != 1 or stride[0] < 1 or stride[0] != int(stride[0]):
        raise ctx.error("param_str must give feat_stride, a positive integer", "python_param.param_str")
    ratios = settings.get("ratios", _PYTHON_RATIOS)
    scales = settings.get("scales", _PYTHON_SCALES)
    candidates, kept = _PYTHON_LIMITS[ctx.phase]
    attrs = ProposalAttrs(
        anchors=_anchors(_PYTHON_BASE, ratios, scales, halves_up=False),
        stride=int(stride[0]),
        candidates=candidates,
        kept=kept,
        overlap_threshold=_PYTHON_OVERLAP,
        min_size=_PYTHON_MIN_SIZE,
    )
    for index, value in enumerate(_propose(ctx, attrs)[: len(ctx.top_names)]):
        ctx.top(index, value)


def _propose(ctx: LayerContext, attrs: ProposalAttrs) -> tuple[Value, Value]:
    """The regions and their scores."""
    fields = {"stride": f"{_P}.feat_stride"} if ctx.type == "Proposal" else {}
    rois, scores, _count = ctx.emit_all("detect.proposals", ctx.bottoms, attrs, fields=fields)
    return rois, scores


def _stated_anchors(ctx: LayerContext, param: Message) -> tuple[tuple[float, float, float, float], ...]:
    lists = {}
    for field in ("ratio", "scale"):
        lists[field] = param.numbers(field)
        if not lists[field]:
            raise ctx.error(f"{field} is missing: anchors are made of a ratio and a scale each", _P)
        for index, value in enumerate(lists[field]):
            if value <= 0:
                raise ctx.error(f"{field} must be positive, got {value:g}", f"{_P}.{field}", index)
    return _anchors(param.integer("base_size"), lists["ratio"], lists["scale"], halves_up=True)


def _anchors(
    base: int, ratios: tuple[float, ...], scales: tuple[float, ...], *, halves_up: bool
) -> tuple[tuple[float, float, float, float], ...]:
    """The boxes of the first cell, one for each ratio (height to width) and scale.

    Sides are rounded before they are scaled: halves up in C++, to even numbers in NumPy.
    """

    def rounded(x: float) -> int:
        return math.floor(x + 0.5) if halves_up else round(x)

    centre = (base - 1) / 2
    boxes = []
    for ratio in ratios:
        width = rounded(math.sqrt(base * base / ratio))
        height = rounded(width * ratio)
        for scale in scales:
            w, h = (width * scale - 1) / 2, (height * scale - 1) / 2
            boxes.append((centre - w, centre - h, centre + w, centre + h))
    return tuple(boxes)
