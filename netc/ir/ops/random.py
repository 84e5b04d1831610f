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

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
FRACTION_BITS = 24  # what a float32 below 1 holds exactly


@dataclass(frozen=True, slots=True)
class UniformAttrs:
    """``tensor`` is the type of the result; draws of one net differ in ``stream`` >= 0."""

    tensor: TensorType
    stream: int


@dataclass(frozen=True, slots=True)
class RandomDropoutAttrs:
    """``ratio`` in [0, 1) is the chance of an element to become 0; draws of one net differ in ``stream``."""

    ratio: float
    stream: int


def philox(counter: tuple[Array, Array, Array, Array], key: tuple[int, int]) -> tuple[Array, ...]:
    """Four words of 32 bits for each counter of four such words, all as uint64."""
    a, b, c, d = counter
    one, two = map(np.uint64, MULTIPLIERS)
    for turn in range(ROUNDS):
        k0, k1 = (np.uint64((k + turn * s) & 0xFFFFFFFF) for k, s in zip(key, KEY_STEPS, strict=True))
        first, second = a * one, c * two
        a, b, c, d = (second >> _WORD) ^ b ^ k0, second & _LOW, (first >> _WORD) ^ d ^ k1, first & _LOW
    return a, b, c, d


def _check_state(state: TensorType) -> None:
    if state != STATE:
        raise OpError(f"a state {STATE} (seed, step) expected, got {state}")


def _check_stream(stream: int) -> None:
    if not 0 <= stream < 2**32:
        raise OpError(f"stream must be >= 0 and less than 2^32, got {stream}", attr="stream")


def _infer_uniform(operands: tuple[TensorType, ...], attrs: UniformAttrs) -> tuple[TensorType, ...]:
    _check_state(operands[0])
    _check_stream(attrs.stream)
    if attrs.tensor.dtype not in ("f32", "f64") or attrs.tensor.layout is not None:
        raise OpError(f"a row-major tensor of f32 or f64 expected, got {attrs.tensor}", attr="tensor")
    return (attrs.tensor,)


def _drawn(state: Array, stream_number: int, shape: tuple[int, ...]) -> Array:
    """Whole numbers below 2^24, as uint64."""
    seed, step = (int(v) & 0xFFFFFFFFFFFFFFFF for v in state)
    size = int(np.prod(shape, dtype=np.int64))
    blocks = np.arange(-(-size // 4), dtype=np.uint64)
    words = (stream_number, step & 0xFFFFFFFF, step >> 32)
    stream, low, high = (np.full_like(blocks, word) for word in words)
    drawn = philox((blocks, stream, low, high), (seed & 0xFFFFFFFF, seed >> 32))
    bits = np.stack(drawn, axis=-1).reshape(-1)[:size] >> np.uint64(32 - FRACTION_BITS)
    return bits.reshape(shape)


def _uniform(operands: tuple[Array, ...], attrs: UniformAttrs) -> tuple[Array, ...]:
    bits = _drawn(operands[0], attrs.stream, attrs.tensor.static_shape)
    return (bits.astype(np.float32) * np.float32(2.0**-FRACTION_BITS),)


def least_kept(ratio: float) -> int:
    """The least number drawn, of those below 2^24, that exceeds a ratio (as a float32) of them."""
    return int(np.float32(ratio) * np.float32(2.0**FRACTION_BITS)) + 1


def _infer_dropout(operands: tuple[TensorType, ...], attrs: RandomDropoutAttrs) -> tuple[TensorType, ...]:
    _check_state(operands[1])
    _check_stream(attrs.stream)
    if not 0 <= attrs.ratio < 1:
        raise OpError(f"ratio must be >= 0 and < 1, got {attrs.ratio}", attr="ratio")
    return (operands[0],)


def _dropout(operands: tuple[Array, ...], attrs: RandomDropoutAttrs) -> tuple[Array, ...]:
    x, state = operands
    kept = _drawn(state, attrs.stream, x.shape) >= least_kept(attrs.ratio)
    # a product, as in the original: what is no number stays none
    return (x * np.where(kept, x.dtype.type(1 / (1 - attrs.ratio)), x.dtype.type(0)),)


def _infer_next(operands: tuple[TensorType, ...], attrs: NoAttrs) -> tuple[TensorType, ...]:
    del attrs
    _check_state(operands[0])
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
DROPOUT = define(
    OpDef(
        "random.dropout",
        "tensor",
        "x / (1 - ratio) where the number that random.uniform draws at the element's position exceeds the "
        "ratio, else x * 0. Keeps x's layout; positions are those of the logical tensor.",
        ("x", "state"),
        RandomDropoutAttrs,
        infer=_infer_dropout,
        reference=_dropout,
        in_place=(0,),
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
