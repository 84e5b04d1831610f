"""Fractionally strided convolution on blocked channels: a convolution of stride 1 for each phase of outputs.

Outputs whose row and column are the same modulo the spread meet the same taps, at inputs side by side. Phases
that meet no tap hold the bias alone. All phases of some rows are one item of work, so that the memory of
results is walked once.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.conv import ConvLowering
from netc.backends.llvm.lower.conv_plane import Plane, phase_planes
from netc.backends.llvm.lower.conv_schedule import MacTile
from netc.backends.llvm.lower.kernel import Kernel
from netc.ir.core import Op


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel: the convolution ``anchor`` and its elementwise ``tail``."""
    _FractionalConv(kernel, anchor, tail).emit()


def candidates(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> list[MacTile]:
    """Tiles near the model's choice, the most promising first."""
    return _FractionalConv(kernel, anchor, tail).candidates()


class _FractionalConv(ConvLowering):
    def choose(self) -> tuple[list[Plane], MacTile]:
        attrs = self.anchor.attrs
        (top, _), (left, _) = attrs.pad
        taps = self.taps_v, self.taps_h
        planes = phase_planes(self.b, self.x, self.y, taps, attrs.spread, (top, left))
        most = max(p.vertical.taps * p.horizontal.taps for p in planes)
        return planes, self.choose_tile(planes[0].static_columns, most)
