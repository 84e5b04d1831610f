"""Cuts results down to the rows that count, where a run decides how many there are."""

from __future__ import annotations

from collections.abc import Mapping

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
