"""What the lowerings of products of narrow factors share: inputs in words of 32 bits."""

from __future__ import annotations

from dataclasses import replace

from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.ir.core import Op
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
