"""SSD's detections: boxes decoded, suppressed class by class, the best kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, exact_quotient, minimum
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.ops.boxes import best_first, suppress_adaptively, with_rows
from netc.ir.types import TensorType

BoxCode = Literal["corner", "center_size", "corner_size"]
ROW = 7  # image, label, score, x1, y1, x2, y2


@dataclass(frozen=True, slots=True)
class SsdDetectionsAttrs:
    """``background`` is a class without detections (-1: none), ``code`` says how locations are relative.

    ``shared``: one location a box for all classes. ``scaled``: locations were divided by the variances.
    ``score_threshold`` is the score that must be exceeded. ``candidates`` of a class enter its suppression,
    ``kept`` of an image leave it; -1 is all. Boxes whose anchor scores less than ``least_anchor_score`` are
    background.
    """

    classes: int
    background: int
    code: BoxCode
    shared: bool
    scaled: bool
    score_threshold: float
    overlap_threshold: float
    eta: float
    candidates: int
    kept: int
    least_anchor_score: float = 0.0


def _infer(operands: tuple[TensorType, ...], attrs: SsdDetectionsAttrs) -> tuple[TensorType, ...]:
    locations, scores, priors, *anchors = operands
    if attrs.classes < 1:
        raise OpError(f"classes must be >= 1, got {attrs.classes}", attr="classes")
    if not 0 < attrs.eta <= 1:
        raise OpError(f"eta must be above 0 and at most 1, got {attrs.eta:g}", attr="eta")
    if attrs.overlap_threshold < 0:
        raise OpError(
            f"the threshold must be >= 0, got {attrs.overlap_threshold:g}", attr="overlap_threshold"
        )
    for name in ("candidates", "kept"):
        if getattr(attrs, name) < -1:
            raise OpError(f"must be -1 or more, got {getattr(attrs, name)}", attr=name)
    if priors.rank != 3 or priors.shape[:2] != (1, 2):
        raise OpError(f"boxes of [1,2,4*P] expected, got {priors}")
    boxes = exact_quotient(priors.shape[2], 4)
    if boxes is None:
        raise OpError(f"boxes of [1,2,4*P] expected, got {priors}")
    per_box = 4 if attrs.shared else 4 * attrs.classes
    for what, type_, wanted in (
        ("locations", locations, boxes * per_box),
        ("scores", scores, boxes * attrs.classes),
    ):
        if type_.rank != 2 or type_.shape[1] != wanted:
            raise OpError(f"{what} of [N,{wanted}] expected for {boxes} boxes, got {type_}")
    if locations.shape[0] != scores.shape[0]:
        raise OpError(f"as many images in both expected, got {locations} and {scores}")
    for what, anchor, numbers in zip(("anchor scores", "anchor locations"), anchors, (2, 4), strict=False):
        if anchor.shape != (locations.shape[0], boxes * numbers):
            raise OpError(f"{what} of [{locations.shape[0]},{boxes * numbers}] expected, got {anchor}")
    rows = locations.shape[0] * _rows_per_image(boxes, attrs)
    return (TensorType(locations.dtype, (1, 1, rows, ROW)), TensorType("i32", (1,)))


def _rows_per_image(boxes: Dim, attrs: SsdDetectionsAttrs) -> Dim:
    found = boxes if attrs.candidates < 0 else minimum(boxes, max(attrs.candidates, 1))
    classes = attrs.classes - (0 <= attrs.background < attrs.classes)
    found = found * max(classes, 1)
    return found if attrs.kept < 0 else minimum(found, max(attrs.kept, 1))


def decode(locations: Array, priors: Array, variances: Array, code: BoxCode) -> Array:
    """The boxes [..., P, 4] that locations relative to the priors [..., P, 4] mean."""
    moved = locations * variances
    if code == "corner":
        return np.asarray(priors + moved)
    size = priors[..., 2:] - priors[..., :2]
    if code == "corner_size":
        return np.asarray(priors + moved * np.concatenate([size, size], axis=-1))
    centre = moved[..., :2] * size + (priors[..., :2] + priors[..., 2:]) / 2
    half = np.exp(moved[..., 2:]) * size / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def _reference(operands: tuple[Array, ...], attrs: SsdDetectionsAttrs) -> tuple[Array, ...]:
    locations, scores, priors, *anchors = operands
    images, boxes = len(locations), priors.shape[2] // 4
    corners, variances = priors[0].reshape(2, boxes, 4)
    if attrs.scaled:
        variances = np.ones_like(variances)
    # (images, classes or 1, boxes, 4)
    relative = locations.reshape(images, boxes, -1, 4).transpose(0, 2, 1, 3)
    if len(anchors) == 2:
        refined = decode(anchors[1].reshape(images, boxes, 4), corners, variances, attrs.code)
        corners = refined[:, np.newaxis]
    decoded = decode(relative, corners, variances, attrs.code)
    by_class = scores.reshape(images, boxes, attrs.classes).transpose(0, 2, 1)
    if anchors:
        object_score = anchors[0].reshape(images, 1, boxes, 2)[..., 1]
        nothing = np.arange(attrs.classes)[:, np.newaxis] == 0
        by_class = np.where(object_score < attrs.least_anchor_score, nothing, by_class)
    found = [row for n in range(images) for row in _of_image(n, decoded[n], by_class[n], attrs)]
    if not found:  # Caffe's sign for nothing: a row of -1 for each image
        found = [(n, *(-1,) * (ROW - 1)) for n in range(images)]
    rows_per_image = _rows_per_image(boxes, attrs)
    assert isinstance(rows_per_image, int)
    rows, count = with_rows(np.array(found, locations.dtype), images * rows_per_image)
    return (rows[np.newaxis, np.newaxis], count)


def _of_image(n: int, boxes: Array, scores: Array, attrs: SsdDetectionsAttrs) -> list[tuple[float, ...]]:
    """The rows of one image: class by class, in each the best first."""
    found: list[tuple[float, ...]] = []
    for label in range(attrs.classes):
        if label == attrs.background:
            continue
        (above,) = np.nonzero(scores[label] > attrs.score_threshold)
        order = above[best_first(scores[label][above])]
        if attrs.candidates >= 0:
            order = order[: attrs.candidates]
        candidates = boxes[0 if attrs.shared else label][order]
        for index in suppress_adaptively(candidates, attrs.overlap_threshold, attrs.eta):
            found.append((n, label, scores[label][order[index]], *candidates[index]))
    if 0 <= attrs.kept < len(found):
        best = best_first(np.array([row[2] for row in found]))[: attrs.kept]
        found = sorted((found[i] for i in best), key=lambda row: row[1])
    return found


SSD_DETECTIONS = define(
    OpDef(
        "detect.ssd",
        "tensor",
        "Detections (image, label, score, x1, y1, x2, y2) from locations [N,P*4] or [N,P*C*4], scores "
        "[N,P*C] and priors [1,2,P*4] with their variances. For each class but the background the boxes "
        "above the score threshold, best first, lose those that overlap a kept one by more than the "
        "overlap threshold; of each image the best ones are kept, sorted by class. As in Caffe the rows "
        "of all images follow each other in [1,1,K,7], and where nothing is found there is a row (image, "
        "-1, ...) for each image. Equal scores keep the order of their boxes, which Caffe leaves open. "
        "Liu et al., SSD, 2016, section 2. With anchor scores [N,P*2], boxes whose second one is below "
        "least_anchor_score are of class 0; with anchor locations [N,P*4] the priors are moved by those "
        "first. Zhang et al., RefineDet, 2018, section 3.",
        ("locations", "scores", "priors", "anchor_scores?", "anchor_locations?"),
        SsdDetectionsAttrs,
        infer=_infer,
        reference=_reference,
        vjp=NOT_DIFFERENTIABLE,
        counted_axis=2,
    )
)
