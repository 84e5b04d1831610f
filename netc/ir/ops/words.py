"""Words: 32 bits that hold neighbouring input channels of a weight, as instructions multiply them.

A weight [O,C,*K] of narrow numbers is kept as i32[O, ceil(C/n), *K], n numbers a word, the first in the
lowest bits; channels beyond C are 0. In a blocked layout the words of a block are a vector register.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import ceildiv
from netc.ir.opdef import Array
from netc.ir.types import TensorType

WORD_BYTES = 4
PIECE_BYTES = 1 << 19  # of a weight at a time


def cast_type(x: TensorType, source: str, to: str) -> TensorType:
    """The type of x, of dtype ``source``, cast to the dtype ``to``."""
    if x.dtype != source:
        raise OpError(f"an operand of {source} expected, got {x}")
    return TensorType(to, x.shape, x.layout)


def words_type(w: TensorType, per_word: int) -> TensorType:
    """The type of the words of a weight [O,C,*K]."""
    if w.dtype != "f32" or w.rank < 2 or w.layout is not None:
        raise OpError(f"a row-major f32 weight of (O, C, ...) expected, got {w}")
    return TensorType("i32", (w.shape[0], ceildiv(w.shape[1], per_word), *w.shape[2:]))


def weight_of_words(x: TensorType, words: TensorType, group: int, per_word: int) -> TensorType:
    """The f32 weight that words stand for, as a rule for f32 operands takes it."""
    if words.dtype != "i32" or words.rank < 2:
        raise OpError(f"a weight in i32 words of (O, C/{per_word}, ...) expected, got {words}")
    if x.rank < 2 or not isinstance(x.shape[1], int):
        raise OpError(f"an input with a known number of channels expected, got {x}")
    channels = x.shape[1] // max(1, group)
    if ceildiv(channels, per_word) != words.shape[1]:
        raise OpError(
            f"the weight {words} has words for {words.shape[1] * per_word} input channels, "
            f"a group of the input has {channels}"
        )
    return TensorType("f32", (words.shape[0], channels, *words.shape[2:]), words.layout)


def check_vectors(vectors: Sequence[TensorType], dtypes: Sequence[str], words: TensorType) -> None:
    """Each operand is [O] of its dtype, row-major or blocked like the weight."""
    for vector, dtype in zip(vectors, dtypes, strict=False):
        if vector.dtype != dtype or vector.shape != words.shape[:1]:
            raise OpError(f"{dtype}[{words.shape[0]}] expected, got {vector}")
        if vector.layout is not None and vector.layout != words.layout:
            raise OpError(f"{vector} is neither row-major nor blocked like the weight {words}")


def by_outputs(narrow: Callable[[slice], Array], w: Array, result: Array) -> Array:
    """Fill ``result``, whose first axis is that of the weight w, some outputs at a time: within the cache."""
    outputs = w.shape[0]
    step = max(1, PIECE_BYTES * outputs // max(1, w.nbytes))
    for first in range(0, outputs, step):
        here = slice(first, first + step)
        result[here] = narrow(here)
    return result


def empty_words(w: Array, per_word: int) -> Array:
    """Room for the words of a weight [O,C,*K]."""
    return np.empty((w.shape[0], -(-w.shape[1] // per_word), *w.shape[2:]), np.int32)


def pack_words(numbers: Array) -> Array:
    """[O,C,*K] of 1 or 2 bytes each as i32 [O, words, *K]."""
    per_word = WORD_BYTES // numbers.itemsize
    missing = -numbers.shape[1] % per_word
    if missing:
        padding = [(0, missing if axis == 1 else 0) for axis in range(numbers.ndim)]
        numbers = np.pad(numbers, padding)
    last = np.moveaxis(numbers, 1, -1)
    words = np.ascontiguousarray(last).view("<i4")
    return np.ascontiguousarray(np.moveaxis(words, -1, 1))


def unpack_words(words: Array, dtype: str, channels: int) -> Array:
    """The numbers [O,C,*K] of words; ``dtype`` is NumPy's."""
    last = np.ascontiguousarray(np.moveaxis(words, 1, -1)).view(dtype)
    return np.ascontiguousarray(np.moveaxis(last, -1, 1)[:, :channels])
