"""Random numbers as a pure function of a state: (seed, step), two integers that the caller keeps.

The numbers are those of the counter-based generator Philox 4x32 with 10 rounds (Salmon, Moraes, Dror and
Shaw, 2011): element i of draw ``stream`` at ``step`` is word ``i mod 4`` of the block at the counter
``(i / 4, stream, step)`` under the key ``seed``. So they depend on no order of evaluation and on no
number of threads, and every step has new ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, NoAttrs, OpDef, define
from netc.ir.types import TensorType

STATE = TensorType("i64", (2,))

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_FRACTION_BITS = 24  # what a float32 below 1 holds exactly


@dataclass(frozen=True, slots=True)
class UniformAttrs:
    """``tensor`` is the type of the result; draws of one net differ in ``stream`` >= 0."""

    tensor: TensorType
    stream: int


def philox(counter: tuple[Array, Array, Array, Array], key: tuple[int, int]) -> tuple[Array, ...]:
    """Four words of 32 bits for each counter of four such words, all as uint64."""
    a, b, c, d = counter
    for turn in range(_ROUNDS):
        k0, k1 = (np.uint64((k + turn * s) & 0xFFFFFFFF) for k, s in zip(key, _KEY_STEPS, strict=True))
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (second >> _WORD) ^ b ^ k0, second & _LOW, (first >> _WORD) ^ d ^ k1, first & _LOW
    return a, b, c, d


def _check_state(operands: tuple[TensorType, ...]) -> None:
    if operands[0] != STATE:
        raise OpError(f"a state {STATE} (seed, step) expected, got {operands[0]}")


def _infer_uniform(operands: tuple[TensorType, ...], attrs: UniformAttrs) -> tuple[TensorType, ...]:
    _check_state(operands)
    if attrs.stream < 0:
        raise OpError(f"stream must be >= 0, got {attrs.stream}", attr="stream")
    if attrs.tensor.dtype not in ("f32", "f64") or attrs.tensor.layout is not None:
        raise OpError(f"a row-major tensor of f32 or f64 expected, got {attrs.tensor}", attr="tensor")
    return (attrs.tensor,)


def _uniform(operands: tuple[Array, ...], attrs: UniformAttrs) -> tuple[Array, ...]:
    seed, step = (int(v) & 0xFFFFFFFFFFFFFFFF for v in operands[0])
    shape = attrs.tensor.static_shape
    size = int(np.prod(shape, dtype=np.int64))
    blocks = np.arange(-(-size // 4), dtype=np.uint64)
    words = (attrs.stream, step & 0xFFFFFFFF, step >> 32)
    stream, low, high = (np.full_like(blocks, word) for word in words)
    drawn = philox((blocks, stream, low, high), (seed & 0xFFFFFFFF, seed >> 32))
    bits = np.stack(drawn, axis=-1).reshape(-1)[:size] >> np.uint64(32 - _FRACTION_BITS)
    return ((bits.astype(np.float32) * np.float32(2.0**-_FRACTION_BITS)).reshape(shape),)


def _infer_next(operands: tuple[TensorType, ...], attrs: NoAttrs) -> tuple[TensorType, ...]:
    del attrs
    _check_state(operands)
    return (STATE,)


def _next(operands: tuple[Array, ...], attrs: NoAttrs) -> tuple[Array, ...]:
    del attrs
    return (operands[0] + np.array([0, 1], operands[0].dtype),)


UNIFORM = define(
    OpDef(
        "random.uniform",
        "tensor",
        "Numbers drawn evenly from [0, 1), multiples of 2^-24: a pure function of the state (seed, step), "
        "the stream and the position.",
        ("state",),
        UniformAttrs,
        infer=_infer_uniform,
        reference=_uniform,
        vjp=NOT_DIFFERENTIABLE,
    )
)
NEXT = define(
    OpDef(
        "random.next",
        "tensor",
        "The state of the next step: (seed, step + 1).",
        ("state",),
        NoAttrs,
        infer=_infer_next,
        reference=_next,
        vjp=NOT_DIFFERENTIABLE,
    )
)
