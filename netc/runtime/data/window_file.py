"""Reads window files: images, and windows on them with their class and overlap with an object.

An image's block is ``# index``, its path, channels, height, width and the number of windows, a line each;
then a line ``class overlap x1 y1 x2 y2`` for each window.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.ir.diagnostics import NetcError

_FIELDS = 6
_HEADER = 6  # lines
_LIMIT = 2**31


@dataclass(frozen=True)
class Windows:
    """``objects`` and ``background`` are rows (image, class, x1, y1, x2, y2); corners are inclusive."""

    images: tuple[str, ...]
    channels: int
    objects: NDArray[np.int64]
    background: NDArray[np.int64]


def read_windows(path: Path, object_overlap: float, background_overlap: float) -> Windows:
    """The windows with at least the one overlap, and those with less than the other; no others."""
    try:
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    except OSError as error:
        raise NetcError(f"{path}: {error.strerror or error}") from None
    images: list[str] = []
    blocks: list[NDArray[np.float64]] = []
    at, channels = 0, 0
    while at < len(lines):
        index, name, channels, count = _header(path, lines[at : at + _HEADER], at)
        if index != len(images):
            raise NetcError(f"{path}: image {index} where image {len(images)} was expected")
        at += _HEADER
        rows = _rows(path, lines[at : at + count], count, index)
        blocks.append(np.column_stack([np.full(count, index), rows]))
        images.append(name)
        at += count
    if not images:
        raise NetcError(f"{path}: the window file is empty")
    every = np.concatenate(blocks)
    overlap = every[:, 2].astype(np.float32)
    is_object = overlap >= np.float32(object_overlap)
    kinds = np.delete(every, 2, axis=1).astype(np.int64)
    objects, background = kinds[is_object], kinds[~is_object & (overlap < np.float32(background_overlap))]
    if len(objects) and objects[:, 1].min() < 1:
        raise NetcError(
            f"{path}: a window of class {objects[:, 1].min()} counts as an object; classes start at 1"
        )
    return Windows(tuple(images), channels, objects, background)


def _header(path: Path, lines: list[bytes], at: int) -> tuple[int, str, int, int]:
    try:
        mark, index = lines[0].split()
        channels, height, width, count = (int(line) for line in lines[2:_HEADER])
        if mark != b"#" or channels not in (1, 3) or min(height, width) < 1 or not 0 <= count < _LIMIT:
            raise ValueError
        return int(index), os.fsdecode(lines[1].strip()), channels, count
    except (ValueError, IndexError):
        message = f"{path}: filled line {at + 1}: expected '# index', a path, and four numbers, a line each"
        raise NetcError(message) from None


def _rows(path: Path, lines: list[bytes], count: int, index: int) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about numbers it cannot read, which the size shows
        try:
            found = np.fromstring(b" ".join(lines).decode("ascii", "replace"), np.float64, sep=" ")
        except ValueError:
            found = np.empty(0)
    if len(lines) != count or found.size != count * _FIELDS or not (np.abs(found) < _LIMIT).all():
        message = f"{path}: image {index}: expected {count} lines 'class overlap x1 y1 x2 y2'"
        raise NetcError(message)
    return found.reshape(count, _FIELDS)
