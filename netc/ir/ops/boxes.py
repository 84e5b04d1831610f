"""Boxes: how much two overlap, and which of many are left when the overlapping ones go.

A box is a row (x1, y1, x2, y2). Some papers count pixels, so that a box from 3 to 3 is one wide; others
measure lengths. ``pixel`` is what to add to a difference: 1 or 0.
"""

from __future__ import annotations

import numpy as np

from netc.ir.opdef import Array


def areas(boxes: Array, pixel: int) -> Array:
    """The area of each box [n, 4]; 0 for a box that ends before it begins."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.where((sides < 0).any(axis=1), 0, (sides[:, 0] + pixel) * (sides[:, 1] + pixel))


def overlaps(box: Array, boxes: Array, pixel: int) -> Array:
    """Intersection over union of one box [4] with each of many [n, 4]; 0 where they do not touch."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    sides = np.maximum(high - low + pixel, 0)
    common = sides[:, 0] * sides[:, 1]
    union = areas(box[np.newaxis], pixel) + areas(boxes, pixel) - common
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(common > 0, common / union, 0).astype(boxes.dtype)


def suppress(boxes: Array, threshold: float, *, pixel: int, equal: bool = False, most: int = -1) -> list[int]:
    """Which boxes stay, best first: each takes away later ones that overlap it by more than ``threshold``.

    ``equal``: also those that overlap it by exactly that. At most ``most`` stay; -1 is no limit.
    """
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    for index in range(len(boxes)):
        if len(kept) == most:
            break
        if not alive[index]:
            continue
        kept.append(index)
        overlap = overlaps(boxes[index], boxes[index + 1 :], pixel)
        alive[index + 1 :] &= ~(overlap >= threshold if equal else overlap > threshold)
    return kept


def suppress_adaptively(boxes: Array, threshold: float, eta: float) -> list[int]:
    """Which boxes stay, best first: those that overlap no kept one by more than the threshold.

    After each kept box a threshold above 0.5 is multiplied by ``eta``.
    """
    kept: list[int] = []
    for index in range(len(boxes)):
        if kept and overlaps(boxes[index], boxes[kept], 0).max() > threshold:
            continue
        kept.append(index)
        if eta < 1 and threshold > 0.5:
            threshold *= eta
    return kept


def best_first(scores: Array) -> Array:
    """The order from the largest score to the smallest; equal ones keep their order."""
    return np.argsort(-scores, kind="stable")


def with_rows(rows: Array, capacity: int) -> tuple[Array, Array]:
    """(capacity, ...) with the rows first and zeros behind, and the number of rows as i32[1]."""
    padded = np.zeros((capacity, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded, np.array([len(rows)], np.int32)
