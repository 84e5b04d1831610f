"""Conversion between layouts: the same logical tensor, stored differently."""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.diagnostics import OpError
from netc.ir.layout import Blocked, Layout
from netc.ir.opdef import OpDef, define
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class LayoutAttrs:
    """The new layout: ``axis`` blocked by ``size`` elements; axis None (and size 1) is row-major."""

    axis: int | None
    size: int = 1

    @staticmethod
    def of(layout: Layout) -> LayoutAttrs:
        """The attributes that convert to a layout."""
        return LayoutAttrs(None) if layout is None else LayoutAttrs(layout.axis, layout.size)

    @property
    def layout(self) -> Layout:
        """The layout that they convert to."""
        return None if self.axis is None else Blocked(self.axis, self.size)


def _infer(operands: tuple[TensorType, ...], attrs: LayoutAttrs) -> tuple[TensorType, ...]:
    x = operands[0]
    if attrs.axis is None:
        if attrs.size != 1:
            raise OpError(f"size must be 1 for the row-major layout, got {attrs.size}", attr="size")
    elif not 0 <= attrs.axis < x.rank:
        raise OpError(f"axis must be within 0..{x.rank - 1} for {x}, got {attrs.axis}", attr="axis")
    elif attrs.size < 2:
        raise OpError(f"size must be >= 2, got {attrs.size}", attr="size")
    return (x.with_layout(attrs.layout),)


# not an `identity`: that speaks of memory, and memory is all that changes here
CONVERT = define(
    OpDef(
        "layout.convert",
        "tensor",
        "The same tensor in another layout; padding of a blocked result is zero.",
        ("x",),
        LayoutAttrs,
        infer=_infer,
        reference=lambda operands, _: operands,
    )
)
