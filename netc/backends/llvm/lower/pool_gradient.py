"""Gradients of poolings on a blocked layout: registers hold one input element each, lanes are channels.

With j the element's position in the padded input and q, r = divmod(j, stride), the windows that contain it
are q - t, where its tap is r + t * stride. So neighbouring elements of one phase r read neighbouring windows
through the same taps, and a register tile of some q times all phases shares what it loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.columns import Window
from netc.backends.llvm.lower.conv_schedule import rows_per_item
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.point import Point, finish_at
from netc.backends.llvm.lower.pool import window_divisor
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType

LARGEST_WINDOW = 16
LARGEST_PHASES = 8
QUOTIENTS = 4


def applies(anchor: Op) -> bool:
    """[N, C, H, W] blocked by channels, and windows whose taps along a row can be written out."""
    dy = anchor.operands[0].type
    assert isinstance(dy, TensorType)
    small = anchor.attrs.kernel[-1] <= LARGEST_WINDOW and anchor.attrs.stride[-1] <= LARGEST_PHASES
    return dy.rank == 4 and dy.layout is not None and small


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.max_pool_gradient`` or a ``nn.ave_pool_gradient``."""
    _PoolGradient(kernel, anchor, tail).emit()


def windows_over(kernel: Kernel, window: Window, index: Index, outputs: Index) -> tuple[Index, Index]:
    """The first and one past the last window that contain an element."""
    b = kernel.b
    position = b.iadd(index, window.before)
    first = b.idiv(b.imax(0, b.iadd(position, window.stride - window.taps)), window.stride)
    return first, b.imin(outputs, b.iadd(b.idiv(position, window.stride), 1))


def dense_count(anchor: Op) -> int | None:
    """By how much every sum of an average is divided; None where windows differ."""
    attrs, dy = anchor.attrs, anchor.operands[0].type
    assert isinstance(dy, TensorType)
    count = 1
    for size, out, k, s, pad in zip(
        attrs.spatial, dy.shape[2:], attrs.kernel, attrs.stride, attrs.pad, strict=True
    ):
        if any(pad) or not isinstance(size, int) or not isinstance(out, int) or (out - 1) * s + k > size:
            return None
        count *= k
    return count


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the result: which image, block, row."""

    image: Index
    block: Index
    row: Index


class _PoolGradient:
    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
        self.kernel, self.b, self.anchor, self.tail = kernel, kernel.b, anchor, tail
        self.dy = kernel.operand(anchor.operands[0])
        self.choice = kernel.operand(anchor.operands[1]) if len(anchor.operands) > 1 else None
        self.dx = kernel.writes[0]
        assert self.dy.type.layout is not None
        self.lanes = self.dy.type.layout.size
        attrs = anchor.attrs
        self.vertical, self.horizontal = (
            Window(attrs.kernel[i], attrs.stride[i], 1, attrs.pad[i][0], attrs.pad[i][1], overhangs=True)
            for i in range(2)
        )
        self.out_rows, self.out_columns = (self.b.dim(d) for d in self.dy.type.shape[2:])
        self.columns = self.b.dim(self.dx.type.shape[3])
        self.reach = (attrs.kernel[1] - 1) // attrs.stride[1]

    def emit(self) -> None:
        """Share some rows of a block of channels of an image."""
        b, kernel = self.b, self.kernel
        images, blocks, rows, columns = kernel.storage_extents(self.dx.type)
        items = (images if isinstance(images, int) else 1) * (blocks if isinstance(blocks, int) else 1)
        row_bytes = (columns if isinstance(columns, int) else 64) * self.lanes * 4
        size = rows_per_item(rows if isinstance(rows, int) else None, row_bytes, items, kernel.target)
        row_items = b.ceildiv(rows, size)
        first, last = kernel.share(b.imul(b.imul(images, blocks), row_items))
        with b.loop(first, last) as item:
            image, block, row_item = b.split(item.index, [images, blocks, row_items])
            start = b.imul(row_item, size)
            with b.loop(start, b.imin(b.iadd(start, size), rows)) as row:
                self.row(_Row(image, block, row.index))

    def row(self, row: _Row) -> None:
        """Edges quotient by quotient, in between tiles whose windows all exist."""
        b, w = self.b, self.horizontal
        first, stride = w.before // w.stride, w.stride
        last = b.iadd(b.idiv(b.iadd(self.columns, w.before - 1), stride), 1)
        inner = b.imin(max(self.reach, -(-w.before // stride)), last)
        end = b.imin(self.out_columns, b.idiv(b.iadd(self.columns, w.before), stride))
        end = b.imax(inner, b.imin(end, last))
        size = max(1, min(QUOTIENTS, (self.kernel.target.vector_registers // 2) // stride))
        whole = b.iadd(inner, b.imul(b.idiv(b.isub(end, inner), size), size))
        with b.loop(first, inner) as loop:
            self.tile(row, loop.index, 1, edge=True)
        with b.loop(inner, whole, size) as loop:
            self.tile(row, loop.index, size, edge=False)
        if size > 1:
            with b.loop(whole, end) as loop:
                self.tile(row, loop.index, 1, edge=False)
        with b.loop(end, last) as loop:
            self.tile(row, loop.index, 1, edge=True)

    def tile(self, row: _Row, quotient: Index, size: int, *, edge: bool) -> None:
        """All phases of some quotients; at an edge windows and elements may not exist."""
        b, stride = self.b, self.horizontal.stride
        pixels = [(q, r) for q in range(size) for r in range(stride)]
        zero = b.const(0.0, f"f32x{self.lanes}")
        above = windows_over(self.kernel, self.vertical, row.row, self.out_rows)
        with b.loop(*above, 1, [zero] * len(pixels)) as loop:
            seen = {
                d: self.window(row, loop.index, b.iadd(quotient, d), edge) for d in range(-self.reach, size)
            }
            tap_row = b.isub(b.iadd(row.row, self.vertical.before), b.imul(loop.index, self.vertical.stride))
            first_tap = b.imul(tap_row, self.horizontal.taps)
            totals = []
            for (q, r), total in zip(pixels, loop.carried, strict=True):
                for t, tap in enumerate(range(r, self.horizontal.taps, stride)):
                    total = b.add(total, self.part(seen[q - t], b.iadd(first_tap, tap)))
                totals.append(total)
            loop.carry(totals)
        for (q, r), total in zip(pixels, loop.results, strict=True):
            column = b.isub(b.iadd(b.imul(b.iadd(quotient, q), stride), r), self.horizontal.before)
            point = Point((row.image, row.block, row.row, column), self.dx.type.layout, 1, self.lanes)
            if not edge:
                self.finish(total, point)
                continue
            with b.when(b.icompare("ge", column, 0)), b.when(b.icompare("lt", column, self.columns)):
                self.finish(total, point)

    def finish(self, total: Value, point: Point) -> None:
        finish_at(self.kernel, self.anchor, total, self.tail, self.kernel.writes, point)

    def window(self, row: _Row, out_row: Index, column: Index, edge: bool) -> tuple[Value, Value | None]:
        """A window's gradient, 0 where it does not exist, and its choice; of an average, each tap's part."""
        b = self.b
        exists: Value | bool = True
        if edge:
            inside = b.imin(b.imax(column, 0), b.isub(self.out_columns, 1))
            exists = b.icompare("eq", inside, column)
            column = inside
        indices = [row.image, row.block, out_row, column]
        value = b.load(self.dy.pointer, b.linear(indices, self.dy.strides[:4]), self.lanes)
        value = b.select(exists, value, b.const(0.0, f"f32x{self.lanes}"))
        if self.choice is not None:
            at = b.linear(indices, self.choice.strides[:4])
            return value, b.load(self.choice.pointer, at, self.lanes)
        return b.mul(value, b.splat(self.share(out_row, column), self.lanes)), None

    def share(self, row: Index, column: Index) -> Value:
        """One over the divisor of a window."""
        b = self.b
        count = dense_count(self.anchor)
        if count is not None:
            return b.const(1 / count, "f32")
        attrs, extents = self.anchor.attrs, self.dx.type.shape[2:]
        rows = window_divisor(self.kernel, self.vertical, row, extents[0], attrs.count_padding)
        columns = window_divisor(self.kernel, self.horizontal, column, extents[1], attrs.count_padding)
        return b.div(b.const(1.0, "f32"), b.cast("to_float", b.value(b.imul(rows, columns)), "f32"))

    def part(self, window: tuple[Value, Value | None], tap: Index) -> Value:
        """What the element at a tap gets from a window."""
        b = self.b
        value, choice = window
        if choice is None:
            return value
        dtype = str(choice.type).partition("x")[0]
        number = b.const(tap, dtype) if isinstance(tap, int) else b.cast("truncate", tap, dtype)
        taken = b.compare("eq", choice, b.splat(number, self.lanes))
        return b.select(taken, value, b.const(0.0, f"f32x{self.lanes}"))
