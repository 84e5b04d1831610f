"""What the lowerings of products of narrow factors share: inputs in words of 32 bits, whole sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.ir.core import Op, Value
from netc.ir.dim import Dim
from netc.ir.loop_builder import Index
from netc.ir.ops.words import WORD_BYTES
from netc.ir.types import DTYPE_BYTES, TensorType


def per_word(anchor: Op) -> int:
    """How many inputs of a product share a word."""
    x = anchor.operands[0].type
    assert isinstance(x, TensorType)
    return WORD_BYTES // DTYPE_BYTES[x.dtype]


def in_words(kernel: Kernel, memory: Memory, size: int) -> Memory:
    """Memory of narrow numbers, ``size`` of which share a word, as words: strides count those.

    The innermost numbers must be whole words; the type stays that of the numbers.
    """

    def shorter(stride: Index, dim: Dim) -> tuple[Index, Dim]:
        return kernel.b.idiv(stride, size), dim // size

    pairs = [shorter(s, d) for s, d in zip(memory.strides[:-1], memory.stride_dims[:-1], strict=True)]
    return replace(
        memory,
        pointer=kernel.b.recast(memory.pointer, "i32"),
        strides=(*(s for s, _ in pairs), memory.strides[-1]),
        stride_dims=(*(d for _, d in pairs), memory.stride_dims[-1]),
    )


class WholeSums:
    """What the i32 sums of an 8-bit product begin with, and the f32 results that they become.

    They come as vectors of ``lanes`` outputs; ``load_vector`` loads a number for each output of a vector.
    """

    def __init__(
        self, kernel: Kernel, anchor: Op, lanes: int, load_vector: Callable[[Memory, Index], Value]
    ) -> None:
        self.b, self.lanes, self.load_vector = kernel.b, lanes, load_vector
        self.from_zero = not anchor.attrs.zero
        _, _, self.scale, self.starts, *bias = (kernel.operand(v) for v in anchor.operands)
        self.bias = bias[0] if bias else None

    def start(self, vector: Index) -> Value:
        """What the sums of a vector begin with."""
        if self.from_zero:
            return self.b.const(0, f"i32x{self.lanes}")
        return self.load_vector(self.starts, vector)

    def finished(self, total: Value, vector: Index) -> Value:
        """The results of a vector: scale * total + bias."""
        b = self.b
        scale = self.load_vector(self.scale, vector)
        value = b.cast("to_float", total, "f32")
        if self.bias is None:
            return b.mul(value, scale)
        return b.fma(value, scale, self.load_vector(self.bias, vector))
