"""Results whose number of rows a run decides: detections, proposals, and what is computed from each of them.

Such a value has a fixed shape, that of the most rows possible: the first rows count, the others are
computed along and mean nothing. The op that finds the rows says how many in its last result. This file
follows the rows to the results of the net, where a run cuts off what does not count. On the way every op must
treat each row by itself; one that does not is an error, because the rows that mean nothing would reach
others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from netc.frontend.imported_net import CountedRows
from netc.ir.core import Op, Value
from netc.ir.diagnostics import NetcError
from netc.ir.dim import product
from netc.ir.opdef import opdef
from netc.ir.types import TensorType


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
        rule = _RULES.get(op.name, _elementwise if opdef(op.name).elementwise else _none)
        axis = rule(op, first.axis, frozenset(reads))
    if axis is None:
        raise NetcError(
            f"{op.name} cannot take rows whose number a run decides: it does not treat each of them by "
            "itself",
            location=op.location,
            remedy="end the net before this layer, and compute the rest from the rows that a run gives",
        )
    return _Rows(axis, first.count)


# Rules: (op, axis of the rows, which operands have them) -> the axis of the result, None where rows mix.


def _none(_op: Op, _axis: int, _reads: frozenset[int]) -> int | None:
    return None


def _elementwise(op: Op, axis: int, _reads: frozenset[int]) -> int | None:
    del op
    return axis


def _batch(_op: Op, axis: int, reads: frozenset[int]) -> int | None:
    """Samples of a batch do not meet."""
    return 0 if axis == 0 and reads == {0} else None


def _regions(_op: Op, axis: int, reads: frozenset[int]) -> int | None:
    return 0 if axis == 0 and reads == {1} else None


def _softmax(op: Op, axis: int, _reads: frozenset[int]) -> int | None:
    return axis if op.attrs.axis != axis else None


def _reduce(op: Op, axis: int, _reads: frozenset[int]) -> int | None:
    return axis if axis not in op.attrs.axes else None


def _transpose(op: Op, axis: int, _reads: frozenset[int]) -> int | None:
    found: int = op.attrs.perm.index(axis)
    return found


def _reshape(op: Op, axis: int, _reads: frozenset[int]) -> int | None:
    """The axis of as many elements with as many before it."""
    old, new = _type(op.operands[0]).shape, _type(op.result).shape
    for candidate, extent in enumerate(new):
        if extent == old[axis] and product(new[:candidate]) == product(old[:axis]):
            return candidate
    return None


def _concat(op: Op, axis: int, _reads: frozenset[int]) -> int | None:
    return axis if op.attrs.axis != axis else None


def _slice(op: Op, axis: int, _reads: frozenset[int]) -> int | None:
    return axis if _type(op.result).shape[axis] == _type(op.operands[0]).shape[axis] else None


def _type(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


_RULES: Mapping[str, Callable[[Op, int, frozenset[int]], int | None]] = {
    "random.dropout": _elementwise,
    "nn.conv": _batch,
    "nn.deconv": _batch,
    "nn.dropout": _elementwise,
    "nn.global_pool": _batch,
    "nn.inner_product": _batch,
    "nn.lrn": _batch,
    "nn.pool": _batch,
    "nn.ps_roi_pool": _regions,
    "nn.resize": _batch,
    "nn.roi_pool": _regions,
    "nn.softmax": _softmax,
    "tensor.concat": _concat,
    "tensor.reduce": _reduce,
    "tensor.reshape": _reshape,
    "tensor.slice": _slice,
    "tensor.transpose": _transpose,
}
