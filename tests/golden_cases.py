"""The golden cases: nets and arrays of the original Caffe, made by running it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "goldens"
CASES = sorted(path.stem for path in FOLDER.glob("*.prototxt"))
REFERENCE_TOLERANCE = 1e-5
COMPILED_TOLERANCE = 1e-4


def load(case: str) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(FOLDER / f"{case}.npz") as arrays:
        return dict(arrays)


def under(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def weights_of(arrays: Mapping[str, Any]) -> dict[str, list[Any]]:
    blobs: dict[str, dict[int, Any]] = {}
    for key, array in under(arrays, "param/").items():
        layer, _, index = key.rpartition("/")
        blobs.setdefault(layer, {})[int(index)] = array
    return {layer: [found[i] for i in sorted(found)] for layer, found in blobs.items()}


def phase_of(case: str) -> Any:
    return "TRAIN" if case.endswith("_train") else "TEST"
