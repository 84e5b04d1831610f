"""What a caller of a net passes by name: arrays for its inputs, gradients for its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.pycaffe.blob import Blob
from netc.runtime.shapes import show_shape


def write_inputs(given: Mapping[str, Any], inputs: Sequence[str], blobs: Mapping[str, Blob]) -> None:
    """Write an array into the blob of each input; NetcError unless all have one, of their shapes."""
    if set(given) != set(inputs):
        raise NetcError(
            f"arrays are given for {', '.join(given)}, and the net's inputs are "
            f"{', '.join(inputs) or 'none'}: they must be the same"
        )
    for name, value in given.items():
        array, blob = np.asarray(value), blobs[name]
        if not array.shape or array.shape[0] != blob.shape[0]:
            rows = array.shape[0] if array.shape else "no"
            raise NetcError(
                f"the input '{name}' has {rows} rows, and the batch size is {blob.shape[0]}",
                remedy=f"reshape the blob, net.blobs['{name}'].reshape(...), or use forward_all",
            )
        try:
            blob.data[...] = array
        except (ValueError, TypeError):
            raise NetcError(
                f"the input '{name}' is {show_shape(array.shape)} of {array.dtype}; expected "
                f"{show_shape(blob.shape)} numbers"
            ) from None


def write_output_diffs(given: Mapping[str, Any], outputs: Sequence[str], blobs: Mapping[str, Blob]) -> None:
    """Write a gradient into the blob of each output; NetcError unless all have one, of their shapes."""
    if set(given) != set(outputs):
        raise NetcError(
            f"gradients are given for {', '.join(given)}, and the net's outputs are "
            f"{', '.join(outputs)}: they must be the same"
        )
    for name, value in given.items():
        array, blob = np.asarray(value), blobs[name]
        if array.shape != blob.shape or array.dtype.kind not in "fiub":
            raise NetcError(
                f"the gradient of '{name}' is {show_shape(array.shape)} of {array.dtype}; expected "
                f"{show_shape(blob.shape)} numbers"
            )
        blob.diff[...] = array
