"""The boxes of the second and third YOLO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.ops.boxes import best_first, suppress, with_rows
from netc.ir.types import TensorType

ROW = 7  # image, label, score, x1, y1, x2, y2
BOX_NUMBERS = 5  # x, y, width, height, how sure


@dataclass(frozen=True, slots=True)
class YoloV2Attrs:
    """``anchors`` are (width, height) in cells. Scores must reach ``score_threshold``."""

    classes: int
    anchors: tuple[tuple[float, float], ...]
    score_threshold: float
    overlap_threshold: float


@dataclass(frozen=True, slots=True)
class YoloV3Attrs:
    """``anchors`` of each map are (width, height) in pixels, ``strides`` the pixels of a cell of each map.

    Scores must exceed ``score_threshold``.
    """

    classes: int
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    strides: tuple[int, ...]
    score_threshold: float
    overlap_threshold: float


def _result_types(
    maps: tuple[TensorType, ...], anchors: tuple[int, ...], classes: int, labels: int
) -> tuple[TensorType, ...]:
    if not maps:
        raise OpError("one or more maps expected, got none")
    if classes < 1:
        raise OpError(f"classes must be >= 1, got {classes}", attr="classes")
    rows: Dim = 0
    for x, count in zip(maps, anchors, strict=True):
        if count < 1:
            raise OpError("one or more anchors expected", attr="anchors")
        channels = count * (BOX_NUMBERS + classes)
        if x.rank != 4 or x.shape[1] != channels or x.shape[0] != maps[0].shape[0]:
            raise OpError(
                f"a map of [N,{channels},H,W] expected for {count} anchors and {classes} classes, got {x}"
            )
        rows = rows + x.shape[0] * x.shape[2] * x.shape[3] * (count * labels)
    return (TensorType(maps[0].dtype, (1, 1, rows, ROW)), TensorType("i32", (1,)))


def _infer_v2(operands: tuple[TensorType, ...], attrs: YoloV2Attrs) -> tuple[TensorType, ...]:
    return _result_types(operands, (len(attrs.anchors),) * len(operands), attrs.classes, 1)


def _infer_v3(operands: tuple[TensorType, ...], attrs: YoloV3Attrs) -> tuple[TensorType, ...]:
    if len(attrs.anchors) != len(operands):
        raise OpError(f"anchors for {len(operands)} maps expected, got {len(attrs.anchors)}", attr="anchors")
    if len(attrs.strides) != len(operands):
        raise OpError(f"{len(operands)} strides expected, got {len(attrs.strides)}", attr="strides")
    counts = tuple(len(a) for a in attrs.anchors)
    return _result_types(operands, counts, attrs.classes, attrs.classes)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), x.dtype)


def _cells(x: Array, anchors: Array, unit: tuple[float, float]) -> tuple[Array, Array]:
    """Boxes (x, y, width, height) as shares of the image, and raw scores, in the order n, y, x, anchor.

    ``unit`` are the width and height of the image in the unit of the anchors.
    """
    height, width = x.shape[2:]
    # (N, H, W, anchors, numbers)
    raw = x.reshape(len(x), len(anchors), -1, height, width).transpose(0, 3, 4, 1, 2)
    rows = np.arange(height)[:, np.newaxis, np.newaxis]
    columns = np.arange(width)[:, np.newaxis]
    boxes = np.stack(
        [
            (columns + _sigmoid(raw[..., 0])) / width,
            (rows + _sigmoid(raw[..., 1])) / height,
            np.exp(raw[..., 2]) * anchors[:, 0] / unit[0],
            np.exp(raw[..., 3]) * anchors[:, 1] / unit[1],
        ],
        axis=-1,
    )
    numbers = raw.shape[-1]
    return boxes.reshape(-1, 4).astype(x.dtype), raw[..., 4:].reshape(-1, numbers - 4)


def _detections(
    found: Iterator[tuple[Array, Array, Array]], images: int, capacity: Dim, threshold: float
) -> tuple[Array, ...]:
    """The rows of (boxes, labels, scores): suppressed whatever their class, labels counted from 1."""
    boxes, labels, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = best_first(scores)
    boxes, labels, scores = boxes[order], labels[order], scores[order]
    half = boxes[:, 2:] / 2
    corners = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    kept = suppress(corners, threshold, pixel=0, equal=True)
    columns = [np.zeros(len(kept)), labels[kept] + 1, scores[kept], *corners[kept].T]
    rows = np.stack(columns, axis=1)
    if not kept:
        rows = np.full((images, ROW), -1.0)
        rows[:, 0] = np.arange(images)
    assert isinstance(capacity, int)
    padded, count = with_rows(rows.astype(boxes.dtype), capacity)
    return (padded[np.newaxis, np.newaxis], count)


def _v2(operands: tuple[Array, ...], attrs: YoloV2Attrs) -> tuple[Array, ...]:
    anchors = np.array(attrs.anchors, operands[0].dtype)

    def found() -> Iterator[tuple[Array, Array, Array]]:
        for x in operands:
            boxes, raw = _cells(x, anchors, (x.shape[3], x.shape[2]))
            raised = np.exp(raw[:, 1:] - raw[:, 1:].max(axis=1, keepdims=True))
            chances = raised / raised.sum(axis=1, keepdims=True)
            labels = chances.argmax(axis=1)
            scores = _sigmoid(raw[:, 0]) * chances.max(axis=1)
            above = scores >= attrs.score_threshold
            yield boxes[above], labels[above], scores[above]

    capacity = sum(len(x) * len(anchors) * x.shape[2] * x.shape[3] for x in operands)
    return _detections(found(), len(operands[0]), capacity, attrs.overlap_threshold)


def _v3(operands: tuple[Array, ...], attrs: YoloV3Attrs) -> tuple[Array, ...]:
    def found() -> Iterator[tuple[Array, Array, Array]]:
        for x, anchors, stride in zip(operands, attrs.anchors, attrs.strides, strict=True):
            unit = (x.shape[3] * stride, x.shape[2] * stride)
            boxes, raw = _cells(x, np.array(anchors, x.dtype), unit)
            scores = _sigmoid(raw[:, 1:]) * _sigmoid(raw[:, :1])
            index, labels = np.nonzero(scores > attrs.score_threshold)
            yield boxes[index], labels, scores[index, labels]

    capacity = sum(
        len(x) * len(a) * x.shape[2] * x.shape[3] * attrs.classes
        for x, a in zip(operands, attrs.anchors, strict=True)
    )
    return _detections(found(), len(operands[0]), capacity, attrs.overlap_threshold)


_ROWS = (
    "Rows (0, class + 1, score, x1, y1, x2, y2) follow each other in [1,1,K,7], best first, and where "
    "nothing is found there is a row (image, -1, ...) for each image. As in the fork, a box loses to a "
    "better one whatever the classes and images of both are, and the image is always 0: run one image at "
    "a time."
)

YOLO_V2 = define(
    OpDef(
        "detect.yolo_v2",
        "tensor",
        "Boxes of maps [N,A*(5+C),H,W], which hold (tx, ty, tw, th, to, class scores) for each anchor: "
        "centre ((x + sigmoid tx) / W, (y + sigmoid ty) / H), size (aw exp tw / W, ah exp th / H), score "
        f"sigmoid to times the largest of softmax(class scores). {_ROWS} Redmon and Farhadi, YOLO9000, "
        "2016, section 2.",
        ("maps*",),
        YoloV2Attrs,
        infer=_infer_v2,
        reference=_v2,
        vjp=NOT_DIFFERENTIABLE,
        counted_axis=2,
    )
)
YOLO_V3 = define(
    OpDef(
        "detect.yolo_v3",
        "tensor",
        "Boxes of maps [N,A*(5+C),H,W] as in detect.yolo_v2, but anchors are in pixels, W cells being W "
        f"stride pixels, and every class has its own score sigmoid(to) sigmoid(class score). {_ROWS} "
        "Redmon and Farhadi, YOLOv3, 2018, section 2.",
        ("maps*",),
        YoloV3Attrs,
        infer=_infer_v3,
        reference=_v3,
        vjp=NOT_DIFFERENTIABLE,
        counted_axis=2,
    )
)
