"""Products of bfloat16 factors, added up in float32: f32's range with 8 bits of mantissa, half the memory.

NumPy has no such dtype: references hold the bits of a bf16 value as u16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, NoAttrs, OpDef, define
from netc.ir.ops.conv import ConvAttrs, conv_reference, infer_conv
from netc.ir.ops.inner_product import InnerProductAttrs, infer_inner_product
from netc.ir.ops.words import (
    by_outputs,
    cast_type,
    check_vectors,
    empty_words,
    pack_words,
    unpack_words,
    weight_of_words,
    words_type,
)
from netc.ir.types import TensorType

PER_WORD = 2
_QUIET_NAN = 0x7FC0


def to_bits(x: Array) -> Array:
    """The bits (u16) of f32 values rounded to the nearest bf16, ties to even."""
    bits = np.ascontiguousarray(x, "<f4").view("<u4")
    with np.errstate(over="ignore"):
        rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    return np.asarray(np.where(np.isnan(x), _QUIET_NAN, rounded), np.uint16)


def from_bits(bits: Array) -> Array:
    """The f32 values of bits."""
    return np.asarray(np.ascontiguousarray(bits.astype("<u4") << np.uint32(16)).view("<f4"))


def _check_input(x: TensorType) -> TensorType:
    """The f32 input that a bf16 one stands for."""
    if x.dtype != "bf16":
        raise OpError(f"an input of bf16 expected, got {x}")
    return TensorType("f32", x.shape, x.layout)


def _check_even(x: TensorType, group: int) -> None:
    if isinstance(x.shape[1], int) and x.shape[1] // max(1, group) % PER_WORD:
        raise OpError(f"an even number of channels a group expected, got {x}")


def _infer_conv(operands: tuple[TensorType, ...], attrs: ConvAttrs) -> tuple[TensorType, ...]:
    x, words, *bias = operands
    wide = _check_input(x)
    w = weight_of_words(x, words, attrs.group, PER_WORD)
    check_vectors(bias, ("f32",), words)
    types = infer_conv((wide, w, *bias), attrs)
    _check_even(x, attrs.group)
    return types


def _conv(operands: tuple[Array, ...], attrs: ConvAttrs) -> tuple[Array, ...]:
    x, words, *bias = operands
    w = from_bits(unpack_words(words, "<u2", x.shape[1] // attrs.group))
    return conv_reference((from_bits(x), w, *bias), attrs)


def _infer_inner_product(operands: tuple[TensorType, ...], attrs: NoAttrs) -> tuple[TensorType, ...]:
    del attrs
    x, words, *bias = operands
    wide = _check_input(x)
    w = weight_of_words(x, words, 1, PER_WORD)
    check_vectors(bias, ("f32",), words)
    types = infer_inner_product((wide, w, *bias), InnerProductAttrs())
    _check_even(x, 1)
    return types


def _inner_product(operands: tuple[Array, ...], _: NoAttrs) -> tuple[Array, ...]:
    x, words, *bias = operands
    y = np.matmul(from_bits(x), from_bits(unpack_words(words, "<u2", x.shape[1])).T)
    return (y + bias[0] if bias else y,)


def _weight(operands: tuple[Array, ...], _: Any) -> tuple[Array, ...]:
    (w,) = operands
    return (by_outputs(lambda here: pack_words(to_bits(w[here])), w, empty_words(w, PER_WORD)),)


TO_BF16 = define(
    OpDef(
        "math.to_bf16",
        "tensor",
        "The nearest bf16, ties to even; a NaN becomes the quiet NaN.",
        ("x",),
        NoAttrs,
        infer=lambda operands, _: (cast_type(operands[0], "f32", "bf16"),),
        reference=lambda operands, _: (to_bits(operands[0]),),
        vjp=NOT_DIFFERENTIABLE,
        elementwise=True,
    )
)
FROM_BF16 = define(
    OpDef(
        "math.from_bf16",
        "tensor",
        "A bf16 value as f32, which holds it exactly.",
        ("x",),
        NoAttrs,
        infer=lambda operands, _: (cast_type(operands[0], "bf16", "f32"),),
        reference=lambda operands, _: (from_bits(operands[0]),),
        vjp=NOT_DIFFERENTIABLE,
        elementwise=True,
    )
)
WEIGHT = define(
    OpDef(
        "nn.bf16_weight",
        "tensor",
        "A weight [O,C,*K] rounded to bf16, in i32 words of two neighbouring channels: [O, ceil(C/2), *K].",
        ("w",),
        NoAttrs,
        infer=lambda operands, _: (words_type(operands[0], PER_WORD),),
        reference=_weight,
        vjp=NOT_DIFFERENTIABLE,
    )
)
CONV = define(
    OpDef(
        "nn.bf16_conv",
        "tensor",
        "nn.conv of bf16 factors, products added up in f32. x bf16 [N,C,*S], w i32 [O,C/group/2,*K] from "
        "nn.bf16_weight, b f32 [O]; y f32.",
        ("x", "w", "b?"),
        ConvAttrs,
        infer=_infer_conv,
        reference=_conv,
        vjp=NOT_DIFFERENTIABLE,
    )
)
INNER_PRODUCT = define(
    OpDef(
        "nn.bf16_inner_product",
        "tensor",
        "nn.inner_product of bf16 factors, products added up in f32. x bf16 [M,K], w i32 [N,K/2] from "
        "nn.bf16_weight, b f32 [N]; y f32 [M,N].",
        ("x", "w", "b?"),
        NoAttrs,
        infer=_infer_inner_product,
        reference=_inner_product,
        vjp=NOT_DIFFERENTIABLE,
    )
)
