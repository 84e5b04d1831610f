"""The planes of a convolution: which rows and columns of outputs are computed from which inputs and taps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.columns import Window
from netc.backends.llvm.lower.conv_schedule import ceildiv
from netc.backends.llvm.lower.kernel import Memory
from netc.ir.dim import Dim
from netc.ir.loop_builder import Index, LoopBuilder


@dataclass(frozen=True, slots=True)
class Phase:
    """Along one axis: outputs ``start + step * i``, and taps of the weight ``first_tap + tap_step * t``."""

    start: int = 0
    step: int = 1
    first_tap: int = 0
    tap_step: int = 1


@dataclass(frozen=True, slots=True)
class Plane:
    """Rows x columns of inputs and outputs, with the windows along each.

    Where a window is a single point, the plane is one long row and may be cut into other rows than its own:
    ``recut`` says so; ``one_column`` that its own rows have one element; ``last_columns`` how many
    the last row has where that is fewer.
    """

    rows: Index
    columns: Index
    in_rows: Index
    in_columns: Index
    static_columns: int | None
    static_in_columns: int | None
    vertical: Window
    horizontal: Window
    in_row_stride: Index
    recut: bool = False
    one_column: bool = False
    last_columns: int | None = None
    row_phase: Phase = Phase()
    column_phase: Phase = Phase()

    @property
    def empty(self) -> bool:
        """Whether no output meets a tap, as happens between the inputs of a fractional convolution."""
        return self.vertical.taps == 0 or self.horizontal.taps == 0

    def output(self, b: LoopBuilder, row: Index, column: Index) -> tuple[Index, Index]:
        """The row and the column of the result."""
        if self.recut:
            along = b.iadd(b.imul(row, self.columns), column)
            # an index along an axis of one element counts as 0
            return (along, 0) if self.one_column else (0, along)
        rows, columns = self.row_phase, self.column_phase
        return (
            b.iadd(b.imul(row, rows.step), rows.start),
            b.iadd(b.imul(column, columns.step), columns.start),
        )

    def weight_tap(self, b: LoopBuilder, tap_row: Index, tap: Index) -> tuple[Index, Index]:
        """Where a tap of the windows stands in the weight."""
        rows, columns = self.row_phase, self.column_phase
        return (
            b.iadd(b.imul(tap_row, rows.tap_step), rows.first_tap),
            b.iadd(b.imul(tap, columns.tap_step), columns.first_tap),
        )


def plane_of_rows(b: LoopBuilder, x: Memory, y: Memory, vertical: Window, horizontal: Window) -> Plane:
    """The plane as it is."""
    width, out_width = x.type.shape[3], y.type.shape[3]
    known = isinstance(width, int) and isinstance(out_width, int)
    return Plane(
        rows=b.dim(y.type.shape[2]),
        columns=b.dim(out_width),
        in_rows=b.dim(x.type.shape[2]),
        in_columns=b.dim(width),
        static_columns=out_width if known and isinstance(out_width, int) else None,
        static_in_columns=width if known and isinstance(width, int) else None,
        vertical=vertical,
        horizontal=horizontal,
        in_row_stride=x.strides[2],
    )


def can_recut(plane: Plane, memories: Sequence[Memory]) -> bool:
    """Whether windows are single points, and rows follow each other in all that is read or written along."""
    one = Window(1, 1, 1, 0, 0)
    return plane.vertical == plane.horizontal == one and all(memory.rows_follow for memory in memories)


def recut_plane(b: LoopBuilder, x: Memory, extent: Dim, rows: int) -> Plane:
    """A 1x1 plane as ``rows`` rows of equal length, but for the last one."""
    one = Window(1, 1, 1, 0, 0)
    known = ceildiv(extent, rows) if isinstance(extent, int) else None
    last = extent - (rows - 1) * known if isinstance(extent, int) and known is not None else None
    columns = known if known is not None else b.dim(extent)
    stride = b.imul(columns, x.strides[3])
    return Plane(
        rows,
        columns,
        rows,
        columns,
        known,
        known,
        one,
        one,
        stride,
        recut=True,
        one_column=x.type.shape[3] == 1,
        last_columns=last if last != known else None,
    )


def phase_planes(
    b: LoopBuilder,
    x: Memory,
    y: Memory,
    taps: tuple[int, int],
    spread: tuple[int, int],
    before: tuple[int, int],
) -> list[Plane]:
    """The planes of a fractionally strided convolution: outputs that meet the same taps.

    Between the inputs of an axis lie ``spread - 1`` zeros, so output o meets the taps t for which
    ``o - before + t`` is a multiple of ``spread``; neighbouring outputs of a phase at neighbouring inputs.
    """
    axes = []
    for axis in (0, 1):
        found = []
        for start in range(spread[axis]):
            first = (before[axis] - start) % spread[axis]
            met = max(0, -(-(taps[axis] - first) // spread[axis]))
            lead = (before[axis] - start - first) // spread[axis]
            window = Window(met, 1, 1, lead, 0, overhangs=True)
            found.append((Phase(start, spread[axis], first, spread[axis]), window))
        axes.append(found)
    width, out_width = x.type.shape[3], y.type.shape[3]
    planes = []
    for rows, vertical in axes[0]:
        for columns, horizontal in axes[1]:
            if isinstance(out_width, int) and columns.start >= out_width:
                continue
            known = isinstance(out_width, int) and isinstance(width, int)
            outputs = phase_extent(b, out_width, columns)
            planes.append(
                Plane(
                    rows=phase_extent(b, y.type.shape[2], rows),
                    columns=outputs,
                    in_rows=b.dim(x.type.shape[2]),
                    in_columns=b.dim(width),
                    static_columns=outputs if known and isinstance(outputs, int) else None,
                    static_in_columns=width if known and isinstance(width, int) else None,
                    vertical=vertical,
                    horizontal=horizontal,
                    in_row_stride=x.strides[2],
                    row_phase=rows,
                    column_phase=columns,
                )
            )
    return planes


def phase_extent(b: LoopBuilder, extent: Dim, phase: Phase) -> Index:
    """How many outputs of a phase an axis has."""
    return b.idiv(b.imax(0, b.iadd(b.dim(extent), phase.step - 1 - phase.start)), phase.step)
