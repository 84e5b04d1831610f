"""Writes weights in the format that a path's suffix asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from netc.frontend.hdf5_weights import write_hdf5
from netc.frontend.safetensors_weights import write_safetensors
from netc.frontend.weights import Array, Weights
from netc.frontend.write_caffemodel import write_caffemodel
from netc.ir.diagnostics import NetcError

Writer = Callable[[str, str, list[tuple[str, str, list[Array]]]], None]

_WRITERS: Mapping[str, Writer] = {
    ".caffemodel": write_caffemodel,
    ".h5": lambda path, _, layers: write_hdf5(path, layers),
    ".hdf5": lambda path, _, layers: write_hdf5(path, layers),
    ".safetensors": write_safetensors,
}
WEIGHT_SUFFIXES = tuple(_WRITERS)
_MATRIX_AXES = 2


def write_weights(path: str | os.PathLike[str], weights: Weights) -> None:
    """Write all blobs to a file; its suffix is one of ``WEIGHT_SUFFIXES``."""
    name = os.fspath(path)
    writer = next((w for suffix, w in _WRITERS.items() if name.lower().endswith(suffix)), None)
    if writer is None:
        raise NetcError(
            f"{name}: netc writes weights as {', '.join(WEIGHT_SUFFIXES)}",
            remedy="choose one of these suffixes",
        )
    layers = []
    for layer, blobs in weights.items():
        kind = weights.layer_types.get(layer, "")
        layers.append((layer, kind, [_with_modern_shape(kind, i, blob) for i, blob in enumerate(blobs)]))
    writer(name, weights.net_name, layers)


def _with_modern_shape(kind: str, index: int, blob: Array) -> Array:
    """Blobs of the first generations have four axes, where the current one has fewer."""
    axes = _MATRIX_AXES if kind == "InnerProduct" and index == 0 else 1
    is_bias = index == 1 and kind in ("Convolution", "Deconvolution", "InnerProduct")
    if not (is_bias or (kind == "InnerProduct" and index == 0)):
        return blob
    if blob.ndim > axes and all(extent == 1 for extent in blob.shape[: blob.ndim - axes]):
        return blob.reshape(blob.shape[blob.ndim - axes :])
    return blob
