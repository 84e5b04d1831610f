"""Results whose number of rows a run decides: detections, proposals, and what is computed from each of them.

Such a value has a fixed shape, that of the most rows possible: the first rows count, the others are
computed along and mean nothing. The op that finds the rows says how many in its last result. This file
follows the rows to the results of the net, where a run cuts off what does not count. On the way every op must
treat each row by itself; one that does not is an error, because the rows that mean nothing would reach
others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netc.frontend.imported_net import CountedRows
from netc.ir.core import Op, Value
from netc.ir.diagnostics import NetcError
from netc.ir.opdef import opdef
from netc.ir.row_axis import row_axis


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows lie along ``axis``, ``count`` is how many there are."""

    axis: int
    count: Value


def counted_results(
    ops: Iterable[Op], results: Mapping[str, Value], seeds: Mapping[str, Value]
) -> tuple[dict[str, CountedRows], dict[str, Value]]:
    """Which results have counted rows, and the counts as more results; NetcError where rows would mix.

    ``seeds`` are further values, by name, whose first rows (axis 0) count, and how many.
    """
    rows: dict[str, _Rows] = {}
    for op in ops:
        axis = opdef(op.name).counted_axis
        reads = {i: rows[v.name] for i, v in enumerate(op.operands) if v.name in rows}
        if axis is not None and not reads:
            rows.update((r.name, _Rows(axis, op.results[-1])) for r in op.results[:-1])
        elif reads:
            kept = _follow(op, reads)
            rows.update((r.name, kept) for r in op.results)
        rows.update((r.name, _Rows(0, seeds[r.name])) for r in op.results if r.name in seeds)
    counted: dict[str, CountedRows] = {}
    counts: dict[str, Value] = {}
    for name, value in results.items():
        found = rows.get(value.name)
        if found is not None:
            counted[name] = CountedRows(found.axis, found.count.name)
            counts[found.count.name] = found.count
    return counted, counts


def _follow(op: Op, reads: Mapping[int, _Rows]) -> _Rows:
    """Where the rows lie in the results of an op."""
    first = next(iter(reads.values()))
    axis: int | None = None
    if all(r == first for r in reads.values()):
        axis = row_axis(op, first.axis, frozenset(reads))
    if axis is None:
        raise NetcError(
            f"{op.name} cannot take rows whose number a run decides: it does not treat each of them by "
            "itself",
            location=op.location,
            remedy="end the net before this layer, and compute the rest from the rows that a run gives",
        )
    return _Rows(axis, first.count)
