"""Rows whose number a run decides: results are cut down to those that count, gradients filled up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netc.frontend.imported_net import CountedRows
from netc.runtime.memory import Array


def counted_rows_only(results: Mapping[str, Array], counted: Mapping[str, CountedRows]) -> dict[str, Array]:
    """The results without the rows that mean nothing, and without the counts themselves."""
    counts = {rows.count for rows in counted.values()}
    found = {name: array for name, array in results.items() if name not in counts}
    for name, rows in counted.items():
        if name in found:
            whole = (slice(None),) * rows.axis
            found[name] = found[name][(*whole, slice(int(results[rows.count].reshape(-1)[0])))].copy()
    return found


def filled_up(array: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """An array of the rows that count in the whole ``shape``, zeros behind; another array as it is."""
    rest = (*shape[:axis], *shape[axis + 1 :])
    if (
        array.ndim != len(shape)
        or array.shape[axis] > shape[axis]
        or rest
        != (
            *array.shape[:axis],
            *array.shape[axis + 1 :],
        )
    ):
        return array
    whole = np.zeros(shape, array.dtype)
    whole[(*(slice(None),) * axis, slice(array.shape[axis]))] = array
    return whole
