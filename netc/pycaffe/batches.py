"""Runs a net over any number of rows, a batch at a time; the last batch is filled up with zeros."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.runtime.memory import Array

if TYPE_CHECKING:
    from netc.pycaffe.net import Net


def forward_in_batches(net: Net, blobs: Sequence[str], given: Mapping[str, Any]) -> dict[str, Array]:
    """The outputs and ``blobs``, with a row for each of the rows given."""
    if not given:
        raise NetcError("forward_all needs an array for each input")
    arrays = {name: np.asarray(array) for name, array in given.items()}
    parts: dict[str, list[Array]] = {}
    for batch in _batches(net, arrays):
        _append(parts, net.forward(blobs=blobs, **batch))
    return _joined(parts, len(next(iter(arrays.values()))))


def forward_backward_in_batches(
    net: Net, blobs: Sequence[str], diffs: Sequence[str], given: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The outputs and ``blobs``, then the gradients of the inputs and of ``diffs``."""
    arrays = {name: np.asarray(array) for name, array in given.items()}
    inputs = {name: array for name, array in arrays.items() if name not in net.outputs}
    tops = {name: array for name, array in arrays.items() if name in net.outputs}
    if not inputs:
        raise NetcError("forward_backward_all needs an array for each input")
    counts = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(counts) > 1:
        raise NetcError("forward_backward_all needs arrays with equally many rows")
    parts: dict[str, list[Array]] = {}
    gradients: dict[str, list[Array]] = {}
    seeds = _batches(net, tops) if tops else iter(())
    for batch in _batches(net, inputs):
        _append(parts, net.forward(blobs=blobs, **batch))
        _append(gradients, net.backward(diffs=diffs, **next(seeds, {})))
    rows = counts.pop()
    return _joined(parts, rows), _joined(gradients, rows)


def _batches(net: Net, arrays: Mapping[str, Array]) -> Iterator[dict[str, Any]]:
    size = next(iter(net.blobs.values())).shape[0]
    for start in range(0, len(next(iter(arrays.values()))), size):
        batch: dict[str, Any] = {}
        for name, array in arrays.items():
            rows = array[start : start + size]
            if len(rows) < size:
                rows = np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])
            batch[name] = rows
        yield batch


def _append(parts: dict[str, list[Array]], found: Mapping[str, Array]) -> None:
    for name, array in found.items():
        parts.setdefault(name, []).append(array.copy())


def _joined(parts: Mapping[str, Sequence[Array]], rows: int) -> dict[str, Array]:
    """The rows of all batches."""
    for name, arrays in parts.items():
        if not arrays[0].ndim:
            raise NetcError(f"the blob '{name}' is one number, without rows that could be joined")
    return {name: np.concatenate(arrays)[:rows] for name, arrays in parts.items()}
