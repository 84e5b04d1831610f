"""Convolution of narrow factors with blocked channels: :mod:`conv`, with a word where that has a number.

A word is 32 bits: two bf16 or four u8 of neighbouring channels, which lie side by side in a block. Weights
come in words. So loads, registers and loops are the same, and each instruction does two or four
times the work.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.conv import ConvLowering, MicroKernel
from netc.backends.llvm.lower.conv_schedule import MacTile
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.narrow import WholeSums, in_words, per_word
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType


def applies(anchor: Op) -> bool:
    """2-D, both kinds of channels blocked, groups of whole blocks, and blocks of whole words."""
    x, w = anchor.operands[0].type, anchor.operands[1].type
    assert isinstance(x, TensorType)
    assert isinstance(w, TensorType)
    if w.layout is None or w.layout.axis != 0 or w.rank != 4 or x.layout is None:
        return False
    size = w.layout.size
    group = anchor.attrs.group
    words = size // per_word(anchor)
    whole = w.static_shape[0] // group % size == 0 and words > 0 and w.static_shape[1] % words == 0
    return size % per_word(anchor) == 0 and (group == 1 or whole)


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel: an ``nn.bf16_conv`` or ``nn.int8_conv`` and its elementwise ``tail``."""
    _lowering(anchor)(kernel, anchor, tail).emit()


def candidates(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> list[MacTile]:
    """Tiles near the model's choice, the most promising first."""
    return _lowering(anchor)(kernel, anchor, tail).candidates()


def _lowering(anchor: Op) -> type[_NarrowConv]:
    return _Int8Conv if anchor.name == "nn.int8_conv" else _NarrowConv


class _NarrowConv(ConvLowering):
    """Factors of bf16: ``depth`` counts words."""

    def input(self) -> Memory:
        return in_words(self.kernel, super().input(), per_word(self.anchor))

    @property
    def in_block(self) -> int:
        return self.block // per_word(self.anchor)

    @property
    def one_pass(self) -> bool:
        return True

    def multiply_add(self, x: Value, w: Value, total: Value) -> Value:
        return self.b.dot(x, w, total)


class _Int8Conv(_NarrowConv):
    """Factors of u8 and i8: whole sums, which a scale makes numbers of."""

    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
        super().__init__(kernel, anchor, tail)
        self.sums = WholeSums(kernel, anchor, self.block, self.load_vector)

    @property
    def micro_kernel(self) -> type[MicroKernel]:
        attrs = self.anchor.attrs
        padded = any(any(pads) for pads in attrs.pad)
        return _PaddedMicroKernel if attrs.zero and padded else MicroKernel

    def start(self, vector: Index) -> Value:
        return self.sums.start(vector)

    def finished(self, total: Value, vector: Index) -> Value:
        return self.sums.finished(total, vector)


class _PaddedMicroKernel(MicroKernel):
    """A tile of an 8-bit convolution whose padding holds codes that are not 0.

    After the sum over the inputs, a second one over the taps that lie in the padding: at the edges alone.
    """

    def accumulate(self, start: Index, end: Index, totals: list[Value]) -> list[Value]:
        b = self.b
        vertical, horizontal = self.plane.vertical, self.plane.horizontal
        sums = super().accumulate(start, end, totals)
        first, last = vertical.tap_bounds(b, self.row, self.plane.in_rows)
        last = b.imax(first, last)
        with b.loop(start, end, 1, sums) as word:
            sums = list(word.carried)
            for begin, end in ((0, first), (last, vertical.taps)):
                with b.loop(begin, end, 1, sums) as row:
                    sums = list(row.carried)
                    for tap in range(horizontal.taps):
                        sums = self.padding(sums, word.index, row.index, tap, range(self.tile.size))
                    row.carry(sums)
                sums = list(row.results)
            if self.tile.taps is None or any(len(taps) < horizontal.taps for taps in self.tile.taps):
                with b.loop(first, last, 1, sums) as row:
                    row.carry(self.edges(list(row.carried), word.index, row.index))
                sums = list(row.results)
            word.carry(sums)
        return list(word.results)

    def edges(self, sums: list[Value], word: Index, row: Index) -> list[Value]:
        """The taps of a row that lie to the left or to the right of the input."""
        b, horizontal = self.b, self.plane.horizontal
        if self.tile.taps is None:
            first, last = horizontal.tap_bounds(b, self.column, self.plane.in_columns)
            for begin, end in ((0, first), (b.imax(first, last), horizontal.taps)):
                with b.loop(begin, end, 1, sums) as tap:
                    tap.carry(self.padding(list(tap.carried), word, row, tap.index, [0]))
                sums = list(tap.results)
            return sums
        for number in range(horizontal.taps):
            missing = [pixel for pixel, taps in enumerate(self.tile.taps) if number not in taps]
            sums = self.padding(sums, word, row, number, missing)
        return sums

    def padding(
        self, sums: list[Value], word: Index, row: Index, tap: Index, pixels: Sequence[int]
    ) -> list[Value]:
        """One tap that lies in the padding for some pixels."""
        b, conv = self.b, self.conv
        zero = conv.anchor.attrs.zero
        # four codes; as the signed number of these bits
        code = int.from_bytes(bytes([zero] * 4), "little", signed=True)
        x = b.const(code, f"i32x{conv.block}")
        at = b.iadd(self.weight_offset(word, row), b.imul(tap, conv.w.strides[3]))
        sums = list(sums)
        for vector in range(self.vectors) if pixels else ():
            w = b.load(conv.w.pointer, b.iadd(at, b.imul(vector, conv.w.strides[0])), conv.block)
            for pixel in pixels:
                cell = pixel * self.vectors + vector
                sums[cell] = conv.multiply_add(x, w, sums[cell])
        return sums
