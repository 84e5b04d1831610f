"""Windows that slide over spatial axes: the size rules and array views that conv and pool share.

Along one axis, ``in`` elements with ``lo`` and ``hi`` padded on, a kernel of ``k`` taps ``dilation``
apart covers ``dilation * (k - 1) + 1`` elements; window ``o`` begins at ``o * stride - lo``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, ceildiv, floordiv, minimum
from netc.ir.opdef import Array
from netc.ir.types import TensorType

Pads = tuple[tuple[int, int], ...]


def kernel_extent(kernel: int, dilation: int) -> int:
    """How many elements a dilated kernel covers."""
    return dilation * (kernel - 1) + 1


def floor_extent(size: Dim, covered: int, stride: int, pad: tuple[int, int]) -> Dim:
    """The number of windows that lie within the padded axis as a whole: convolution's rule."""
    return floordiv(size + (pad[0] + pad[1] - covered), stride) + 1


def ceil_extent(size: Dim, covered: int, stride: int, pad: tuple[int, int], *, clip: bool) -> Dim:
    """The number of windows needed to cover the padded axis: Caffe's pooling rule.

    ``clip`` drops a last window that would begin beyond ``size + pad[0]``; Caffe does so on every axis as
    soon as one axis is padded, and never otherwise.
    """
    count = ceildiv(size + (pad[0] + pad[1] - covered), stride) + 1
    return minimum(count, ceildiv(size + pad[0], stride)) if clip else count


def check_per_axis(what: str, values: tuple[object, ...], axes: int) -> None:
    """OpError unless there is one entry a spatial axis."""
    if len(values) != axes:
        raise OpError(f"{what} needs one entry for each of {axes} spatial axes, got {len(values)}", attr=what)


def check_at_least(what: str, values: tuple[int, ...], least: int) -> None:
    """OpError unless every value is ``least`` or more."""
    for value in values:
        if value < least:
            raise OpError(f"{what} must be >= {least}, got {value}", attr=what)


def check_window_attrs(stride: tuple[int, ...], pad: Pads, axes: int, *, extending: bool = False) -> None:
    """OpError unless stride and pad have an entry an axis, strides >= 1, pads >= 0.

    ``extending``: high pads may be negative, and add to the axis.
    """
    check_per_axis("stride", stride, axes)
    check_per_axis("pad", pad, axes)
    check_at_least("stride", stride, 1)
    for entry in pad:
        if len(entry) != 2:
            raise OpError(f"pad needs two numbers (low, high) for an axis, got {len(entry)}", attr="pad")
        check_at_least("pad", entry[:1] if extending else entry, 0)


def check_one_dtype(operands: tuple[TensorType, ...]) -> str:
    """The dtype of all operands; OpError if they differ."""
    dtypes = list(dict.fromkeys(t.dtype for t in operands))
    if len(dtypes) != 1:
        raise OpError(f"operands of one dtype expected, got {' and '.join(dtypes)}")
    return dtypes[0]


def taps(
    x: Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    low: tuple[int, ...],
    out: tuple[int, ...],
    fill: float,
) -> Iterator[tuple[tuple[Any, ...], Array]]:
    """For each position in the kernel: the elements of ``x`` (N, C, *S) that it meets, as (N, C, *out).

    Where a window leaves ``x`` it meets ``fill``; positions that meet nothing else are left out. Padding is
    never stored, so that a huge one costs nothing.
    """
    for tap, read, written in meetings(x.shape[2:], kernel, stride, dilation, low, out):
        seen = x[:, :, *read]
        if seen.shape[2:] != out:
            padded = np.full((*x.shape[:2], *out), fill, x.dtype)
            padded[:, :, *written] = seen
            seen = padded
        yield tap, seen


def meetings(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    low: tuple[int, ...],
    out: tuple[int, ...],
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
    """For each position in the kernel that meets elements of the input: it, the elements, their windows."""
    axes = [
        list(_axis_taps(*numbers)) for numbers in zip(size, kernel, stride, dilation, low, out, strict=True)
    ]
    for met in itertools.product(*axes):
        tap, read, written = zip(*met, strict=True)
        yield tap, read, written


def _axis_taps(
    size: int, kernel: int, stride: int, dilation: int, low: int, out: int
) -> Iterator[tuple[int, slice, slice]]:
    """Along one axis, for each tap that meets an element: the tap, the elements, the windows they are of."""
    following = 0
    for window in range(out - 1, -1, -1):  # the later the window, the lower its taps that meet something
        at = window * stride - low  # where its first tap is
        begin, end = max(following, -(at // dilation)), min(kernel, (size - 1 - at) // dilation + 1)
        following = max(following, end)
        for tap in range(begin, end):
            at = tap * dilation - low  # where it is in the first window
            first, last = max(0, -(at // stride)), min(out - 1, (size - 1 - at) // stride)
            yield tap, slice(at + first * stride, at + last * stride + 1, stride), slice(first, last + 1)
