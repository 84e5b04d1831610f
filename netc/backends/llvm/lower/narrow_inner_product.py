"""Inner products of narrow factors: as :mod:`inner_product`, a word of K where that has a number.

One sample is bound by the reading of weights, which are two or four times fewer bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.conv_schedule import MacTile
from netc.backends.llvm.lower.inner_product import Columns
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.narrow import WholeSums, in_words, per_word
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.types import TensorType


def applies(anchor: Op) -> bool:
    """Blocked weights."""
    w = anchor.operands[1].type
    assert isinstance(w, TensorType)
    return w.layout is not None and all(isinstance(d, int) for d in w.shape)


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel: an inner product of bf16 or 8-bit factors and its elementwise ``tail``."""
    _lowering(anchor)(kernel, anchor, tail).emit()


def candidates(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> list[MacTile]:
    """Tiles near the model's choice, the most promising first."""
    return _lowering(anchor)(kernel, anchor, tail).candidates()


def _lowering(anchor: Op) -> type[_NarrowColumns]:
    return _Int8Columns if anchor.name == "nn.int8_inner_product" else _NarrowColumns


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
        self.sums = WholeSums(kernel, anchor, self.lanes, self.load_vector)
        # sums are as wide as results
        self.whole = kernel.b.recast(self.y.pointer, "i32")

    @property
    def partials(self) -> Value:
        return self.whole

    def start(self, block: Index) -> Value:
        return self.sums.start(block)

    def finished(self, total: Value, block: Index) -> Value:
        return self.sums.finished(total, block)
