"""The golden cases: nets and arrays of the original Caffe, made by running it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import netc

FOLDER = Path(__file__).parent / "goldens"
CASES = sorted(path.stem for path in FOLDER.glob("*.prototxt"))
REFERENCE_TOLERANCE = 1e-5
COMPILED_TOLERANCE = 1e-4
GRADIENTS = ("indiff/", "paramdiff/")
# below is what is left of a sum that cancels: such a gradient is 0
ROUNDING = 1e-6
# the original takes no gradient from the states that a recurrent layer exposes at its end
NOT_TAKEN = {"lstm_expose_hidden": ("hT", "cT")}


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


def gradients(case: str, arrays: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """The gradients by the keys of the golden."""
    module = netc.compile(
        FOLDER / f"{case}.prototxt", weights_of(arrays), phase=phase_of(case), training=True, **options
    )
    module.run(**under(arrays, "in/"))
    seeds = under(arrays, "outdiff/")
    seeds = {blob: seed for blob, seed in seeds.items() if blob not in NOT_TAKEN.get(case, ())}
    found = {f"indiff/{name}": array for name, array in module.backward(**seeds).items()}
    for layer, blobs in module.param_grads.items():
        found.update({f"paramdiff/{layer}/{i}": array for i, array in enumerate(blobs)})
    return found


def gradients_wanted(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The gradients that the original computed."""
    return {key: array for key, array in arrays.items() if key.startswith(GRADIENTS)}


def check(found: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float) -> None:
    """Everything wanted is there, but for rounding: relative to the largest of each array."""
    for key, want in wanted.items():
        if key not in found:  # nothing reaches this input
            assert not want.any(), key
            continue
        assert found[key].shape == want.shape, key
        size = np.max(np.abs(want))
        least = tolerance * (size if size > ROUNDING else 1.0)
        assert np.max(np.abs(found[key] - want)) <= least, key


WITH_GRADIENTS = [case for case in CASES if any(key.startswith(GRADIENTS) for key in load(case))]
