"""Where rows lie that each op treats by itself: samples of a batch, regions of an image.

Each rule takes an op, the axis along which the rows lie, and which operands have them, and gives the axis of
the result; None where rows meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netc.ir.core import Func, Op, Value
from netc.ir.dim import product
from netc.ir.opdef import opdef
from netc.ir.types import TensorType


def row_axis(op: Op, axis: int, reads: frozenset[int]) -> int | None:
    """The axis of the rows in an op's results; ``reads`` are the operands that have them along ``axis``."""
    rule = _RULES.get(op.name, _elementwise if opdef(op.name).elementwise else _none)
    return rule(op, axis, reads)


def row_axes(func: Func) -> tuple[dict[str, int], int]:
    """The axis of the samples in each value that has them, and the index of the first op in which they meet.

    They lie along axis 0 of the inputs. Of ops with a body the values inside are among them. The index is the
    number of ops where samples never meet; values that are made later are not known.
    """
    axes = dict.fromkeys((value.name for value in func.inputs), 0)
    for index, op in enumerate(func.ops):
        if not _follow(op, axes):
            return axes, index
    return axes, len(func.ops)


def _follow(op: Op, axes: dict[str, int]) -> bool:
    """Add the results of an op to ``axes``; whether it treats every sample by itself."""
    if opdef(op.name).acts_once:
        return False
    reads = {index: axes[v.name] for index, v in enumerate(op.operands) if v.name in axes}
    if not reads:
        return True
    if op.body is not None:
        axes.update((op.body.args[index].name, axis) for index, axis in reads.items())
        if not all(_follow(inner, axes) for inner in op.body.ops):
            return False
        made = zip(op.results, op.body.results, strict=True)
        axes.update((result.name, axes[inner.name]) for result, inner in made if inner.name in axes)
        return True
    along = set(reads.values())
    found = row_axis(op, along.pop(), frozenset(reads)) if len(along) == 1 else None
    if found is None:
        return False
    axes.update((result.name, found) for result in op.results)
    return True


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


def _convert(op: Op, axis: int, _reads: frozenset[int]) -> int | None:
    layouts = (_type(op.operands[0]).layout, _type(op.result).layout)
    return axis if all(layout is None or layout.axis != axis for layout in layouts) else None


def _type(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


_RULES: Mapping[str, Callable[[Op, int, frozenset[int]], int | None]] = {
    "layout.convert": _convert,
    "nn.bf16_conv": _batch,
    "nn.bf16_inner_product": _batch,
    "nn.conv": _batch,
    "nn.deconv": _batch,
    "nn.dropout": _elementwise,
    "nn.fractional_conv": _batch,
    "nn.global_pool": _batch,
    "nn.inner_product": _batch,
    "nn.int8_conv": _batch,
    "nn.int8_inner_product": _batch,
    "nn.lrn": _batch,
    "nn.pool": _batch,
    "nn.ps_roi_pool": _regions,
    "nn.resize": _batch,
    "nn.roi_pool": _regions,
    "nn.softmax": _softmax,
    "nn.winograd_conv": _batch,
    "random.dropout": _elementwise,
    "tensor.concat": _concat,
    "tensor.reduce": _reduce,
    "tensor.reshape": _reshape,
    "tensor.slice": _slice,
    "tensor.transpose": _transpose,
}
