"""Shapes as the rules of layers have them, and as messages show them."""

from __future__ import annotations

from collections.abc import Sequence

from netc.ir.dim import Dim

Shape = tuple[Dim, ...]


def show_shape(shape: Sequence[Dim]) -> str:
    """``2x3x8x8``, as messages show a shape."""
    return "x".join(map(str, shape)) or "a scalar"
