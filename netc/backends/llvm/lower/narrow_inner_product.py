"""Inner products of narrow factors: as :mod:`inner_product`, a word of K where that has a number.

One sample is bound by the reading of weights, which are two or four times fewer bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.conv_schedule import MacTile
from netc.backends.llvm.lower.inner_product import Columns
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.narrow import in_words, per_word
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType


def applies(anchor: Op) -> bool:
    """Blocked weights."""
    w = anchor.operands[1].type
    assert isinstance(w, TensorType)
    return w.layout is not None and all(isinstance(d, int) for d in w.shape)


def lower_bf16(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel: an ``nn.bf16_inner_product`` and its elementwise ``tail``."""
    _NarrowColumns(kernel, anchor, tail).emit()


def lower_int8(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel: an ``nn.int8_inner_product`` and its elementwise ``tail``."""
    _Int8Columns(kernel, anchor, tail).emit()


def bf16_candidates(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> list[MacTile]:
    """Tiles near the model's choice, the most promising first."""
    return _NarrowColumns(kernel, anchor, tail).candidates()


def int8_candidates(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> list[MacTile]:
    """Tiles near the model's choice, the most promising first."""
    return _Int8Columns(kernel, anchor, tail).candidates()


class _NarrowColumns(Columns):
    """Factors of bf16: ``depth`` counts words."""

    def input(self) -> Memory:
        return in_words(self.kernel, super().input(), per_word(self.anchor))

    @property
    def transposed(self) -> bool:
        return False

    def multiply_add(self, x: Value, w: Value, total: Value) -> Value:
        return self.b.dot(x, w, total)


class _Int8Columns(_NarrowColumns):
    """Factors of u8 and i8: whole sums, which a scale makes numbers of."""

    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
        super().__init__(kernel, anchor, tail)
        _, _, self.scale, self.sums, *bias = (kernel.operand(v) for v in anchor.operands)
        self.shift = bias[0] if bias else None
        # sums are as wide as results
        self.whole = kernel.b.recast(self.y.pointer, "i32")

    @property
    def partials(self) -> Value:
        return self.whole

    def start(self, block: Index) -> Value:
        if not self.anchor.attrs.zero:
            return self.b.const(0, f"i32x{self.lanes}")
        return self.load_vector(self.sums, block)

    def finished(self, total: Value, block: Index) -> Value:
        b = self.b
        scale = self.load_vector(self.scale, block)
        value = b.cast("to_float", total, "f32")
        if self.shift is None:
            return b.mul(value, scale)
        return b.fma(value, scale, self.load_vector(self.shift, block))
