"""Deconvolution of a stride as one product a phase: outputs that the same taps reach are computed together.

Along an axis output q gets input i by tap t where ``q + pad = stride * i + t``. With
``q + pad = stride * u + r`` the taps are ``t = r + stride * j`` and the inputs ``i = u - j``: for each phase
r a convolution of stride 1 by every stride-th tap. Gathering all taps for all outputs would multiply by
zeros, ``stride`` times as often an axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from netc.backends.cuda.kernel import Kernel, Memory
from netc.backends.cuda.lower.product import GROUP, Direction, Product, declared
from netc.backends.cuda.text import c_dim, plus, split_index, times
from netc.ir.core import Op
from netc.ir.dim import Dim, floordiv, product


@dataclass(frozen=True, slots=True)
class _Geometry:
    """For each axis: ``stride``, low ``pad``, ``kernel``, ``size`` of the result. ``channels`` of a group."""

    stride: tuple[int, ...]
    pad: tuple[int, ...]
    kernel: tuple[int, ...]
    size: tuple[Dim, ...]
    channels: Dim

    @property
    def phases(self) -> int:
        """How many phases a group has."""
        return math.prod(self.stride)

    @property
    def taps(self) -> tuple[int, ...]:
        """How many taps a phase has at most."""
        return tuple(-(-k // s) for k, s in zip(self.kernel, self.stride, strict=True))

    @property
    def steps(self) -> tuple[Dim, ...]:
        """How many values u has."""
        return tuple(
            floordiv(n + (low - 1), s) + 1 for n, low, s in zip(self.size, self.pad, self.stride, strict=True)
        )

    def group(self, both: str) -> str:
        """The group that a block's number stands for, which counts groups and phases."""
        return f"({both} / {self.phases})"

    def offsets(self, both: str) -> list[str]:
        """The phase r along each axis."""
        found = split_index(f"({both} % {self.phases})", self.stride)
        return [f"({r})" if r != "0" else r for r in found]


def applies(anchor: Op) -> bool:
    """Whether the deconvolution has a stride and dense taps."""
    attrs = anchor.attrs
    return any(s > 1 for s in attrs.stride) and all(d == 1 for d in attrs.dilation)


def as_product(kernel: Kernel, anchor: Op) -> Product:
    """The products of an ``nn.deconv``: a group and a phase each."""
    x, w = (kernel.operand(v) for v in anchor.operands[:2])
    attrs = anchor.attrs
    shape = kernel.writes[0].type.shape
    outputs, channels = w.type.shape[1], product((x.type.shape[1],)) // attrs.group
    low = tuple(entry[0] for entry in attrs.pad)
    geometry = _Geometry(attrs.stride, low, w.type.static_shape[2:], shape[2:], channels)
    columns = (shape[0], *geometry.steps)

    def place(both: str, m: str, columns: Sequence[str]) -> list[str]:
        image, *steps = columns
        pixel = []
        for u, r, s, pad in zip(steps, geometry.offsets(both), geometry.stride, low, strict=True):
            q = plus(times(u, s), r)
            pixel.append(f"({q} - {pad})" if pad else f"({q})")
        return [image, plus(times(geometry.group(both), outputs), m), *pixel]

    def inside(both: str, columns: Sequence[str]) -> str:
        pixel = place(both, "0", columns)[2:]
        return " && ".join(
            f"unsigned({q}) < unsigned({c_dim(n)})" for q, n in zip(pixel, shape[2:], strict=True)
        )

    return Product(
        outputs,
        product(columns),
        product((channels, *geometry.taps)),
        attrs.group * geometry.phases,
        _Weight(w, geometry),
        _Input(x, geometry, columns),
        columns,
        place,
        kernel.bias(anchor),
        inside,
    )


@dataclass(frozen=True)
class _Side:
    """An operand of a phase's product: columns are channels and taps of the phase."""

    memory: Memory
    geometry: _Geometry
    fours: ClassVar[bool] = False

    @property
    def pointer(self) -> str:
        """The memory's pointer."""
        return self.memory.pointer

    @property
    def fields(self) -> tuple[str, ...]:
        """Where a row begins, and its first tap or its u along each axis."""
        return ("base", *(f"first{a}" for a in range(len(self.geometry.stride))))


@dataclass(frozen=True)
class _Weight(_Side):
    """The weight [C, O, *taps]: rows are outputs."""

    fast: ClassVar[Direction] = "column"

    def row(self, kernel: Kernel, index: str) -> list[str]:
        """Where the output's weights begin, and the first tap along each axis."""
        del kernel
        channel, output = self.memory.strides[:2]
        group = times(self.geometry.group(GROUP), channel * self.geometry.channels)
        return [plus(group, times(index, output)), *self.geometry.offsets(GROUP)]

    def column(self, kernel: Kernel, index: str) -> list[str]:
        """Where the channel begins, and how many taps on."""
        channel, *taps = split_index(index, (self.geometry.channels, *self.geometry.taps))
        strides = self.geometry.stride
        scaled = [times(j, s) for j, s in zip(taps, strides, strict=True)]
        return declared(kernel, [times(channel, self.memory.strides[0]), *scaled], self.pointer)

    def element(self, row: Sequence[str], column: Sequence[str]) -> tuple[str, str]:
        """The weight, where the phase has so many taps."""
        offset, conditions = plus(row[0], column[0]), []
        geometry = self.geometry
        for first, further, k, s, stride in zip(
            row[1:], column[1:], geometry.kernel, geometry.stride, self.memory.strides[2:], strict=True
        ):
            tap = plus(first, further)
            offset = plus(offset, times(tap, stride))
            if k % s:
                conditions.append(f"{tap} < {k}")
        return offset, " && ".join(conditions)


@dataclass(frozen=True)
class _Input(_Side):
    """The input [N, C, *S]: rows are (image, *u)."""

    positions: tuple[Dim, ...]
    fast: ClassVar[Direction] = "row"

    def row(self, kernel: Kernel, index: str) -> list[str]:
        """Where the image begins, and u along each axis."""
        del kernel
        image, *steps = split_index(index, self.positions)
        group = times(self.geometry.group(GROUP), self.memory.strides[1] * self.geometry.channels)
        return [plus(group, times(image, self.memory.strides[0])), *steps]

    def column(self, kernel: Kernel, index: str) -> list[str]:
        """Where the channel begins, and how many inputs back."""
        channel, *taps = split_index(index, (self.geometry.channels, *self.geometry.taps))
        return declared(kernel, [times(channel, self.memory.strides[1]), *taps], self.pointer)

    def element(self, row: Sequence[str], column: Sequence[str]) -> tuple[str, str]:
        """The input that the tap brings, where there is one."""
        offset, conditions = plus(row[0], column[0]), []
        sizes, strides = self.memory.type.shape[2:], self.memory.strides[2:]
        for u, back, size, stride in zip(row[1:], column[1:], sizes, strides, strict=True):
            at = f"({u} - {back})" if back != "0" else u
            conditions.append(f"unsigned({at}) < unsigned({c_dim(size)})")
            offset = plus(offset, times(at, stride))
        return offset, " && ".join(conditions)
