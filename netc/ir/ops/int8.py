"""Products of 8-bit factors, added up exactly in 32-bit integers.

An activation x is u8: x = scale * (q - zero), the same scale and zero for a whole tensor. A weight is i8 with
a scale for each output channel and no zero point: w[o] = scale[o] * q[o], |q| <= 127.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, NoAttrs, OpDef, define
from netc.ir.ops.conv import ConvAttrs, conv_reference, infer_conv
from netc.ir.ops.inner_product import InnerProductAttrs, infer_inner_product
from netc.ir.ops.window import Pads
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

PER_WORD = 4
LARGEST_WEIGHT = 127
LARGEST_INPUT = 255
LEAST_SCALE = 1e-30  # it has an inverse in f32
MAX_PRODUCTS = (2**31 - 1) // (2 * LARGEST_INPUT * LARGEST_WEIGHT)  # of a sum, with what it starts with


@dataclass(frozen=True, slots=True)
class AffineCode:
    """x = ``scale`` * (q - ``zero``) for the u8 code q of a value x."""

    scale: float
    zero: int = 0

    @property
    def inverse(self) -> np.float32:
        """1 / scale, as it is multiplied with."""
        return np.float32(1) / np.float32(self.scale)


@dataclass(frozen=True, slots=True)
class Int8ConvAttrs:
    """As of nn.conv; ``zero`` is the code of 0 in the input, which the padding holds too."""

    stride: tuple[int, ...]
    pad: Pads
    dilation: tuple[int, ...]
    group: int = 1
    zero: int = 0

    @property
    def plain(self) -> ConvAttrs:
        """The attributes of nn.conv."""
        return ConvAttrs(self.stride, self.pad, self.dilation, self.group)


@dataclass(frozen=True, slots=True)
class ZeroAttrs:
    """``zero`` is the code of 0 in the input."""

    zero: int = 0


def _check_zero(zero: int) -> None:
    if not 0 <= zero <= LARGEST_INPUT:
        raise OpError(f"zero must be within 0..{LARGEST_INPUT}, got {zero}", attr="zero")


def _check_code(code: AffineCode) -> None:
    _check_zero(code.zero)
    if not LEAST_SCALE <= code.scale <= 1 / LEAST_SCALE:
        most = 1 / LEAST_SCALE
        raise OpError(f"scale must be within {LEAST_SCALE}..{most}, got {code.scale}", attr="scale")


def _infer_to(operands: tuple[TensorType, ...], attrs: AffineCode) -> tuple[TensorType, ...]:
    _check_code(attrs)
    return (cast_type(operands[0], "f32", "u8"),)


def _infer_from(operands: tuple[TensorType, ...], attrs: AffineCode) -> tuple[TensorType, ...]:
    _check_code(attrs)
    return (cast_type(operands[0], "u8", "f32"),)


def _to(operands: tuple[Array, ...], attrs: AffineCode) -> tuple[Array, ...]:
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = operands[0] * attrs.inverse
        low, high = np.float32(-attrs.zero), np.float32(LARGEST_INPUT - attrs.zero)
        # a NaN is not above the least
        cut = np.where(scaled > low, np.minimum(scaled, high), low)
    return (np.asarray(np.rint(cut) + attrs.zero, np.uint8),)


def _from(operands: tuple[Array, ...], attrs: AffineCode) -> tuple[Array, ...]:
    return ((operands[0].astype(np.float32) - np.float32(attrs.zero)) * np.float32(attrs.scale),)


def _infer_scale(operands: tuple[TensorType, ...], _: NoAttrs) -> tuple[TensorType, ...]:
    (w,) = operands
    words_type(w, PER_WORD)
    return (TensorType("f32", w.shape[:1]),)


def _infer_weight(operands: tuple[TensorType, ...], _: NoAttrs) -> tuple[TensorType, ...]:
    w, scale = operands
    words = words_type(w, PER_WORD)
    if scale != TensorType("f32", w.shape[:1]):
        raise OpError(f"a scale of f32[{w.shape[0]}] expected, got {scale}")
    return (words,)


def _infer_start(operands: tuple[TensorType, ...], attrs: ZeroAttrs) -> tuple[TensorType, ...]:
    (words,) = operands
    _check_zero(attrs.zero)
    if words.dtype != "i32" or words.rank < 2 or words.layout is not None:
        raise OpError(f"a row-major weight in i32 words of (O, C/{PER_WORD}, ...) expected, got {words}")
    return (TensorType("i32", words.shape[:1]),)


def _scale(operands: tuple[Array, ...], _: NoAttrs) -> tuple[Array, ...]:
    (w,) = operands
    flat = w.reshape(w.shape[0], -1)
    largest = np.maximum(flat.max(axis=1), -flat.min(axis=1)).astype(np.float32)
    return (np.where(largest > 0, largest / np.float32(LARGEST_WEIGHT), np.float32(1)).astype(np.float32),)


def _weight(operands: tuple[Array, ...], _: NoAttrs) -> tuple[Array, ...]:
    w, scale = operands
    spread = scale.reshape(-1, *[1] * (w.ndim - 1))

    def codes(here: slice) -> Array:
        whole = np.rint(w[here] / spread[here])
        return pack_words(np.clip(whole, -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int8))

    return (by_outputs(codes, w, empty_words(w, PER_WORD)),)


def _start(operands: tuple[Array, ...], attrs: ZeroAttrs) -> tuple[Array, ...]:
    (words,) = operands
    codes = np.ascontiguousarray(words).reshape(words.shape[0], -1).view(np.int8)
    return ((-attrs.zero * codes.sum(axis=1, dtype=np.int64)).astype(np.int32),)


def _check_operands(operands: tuple[TensorType, ...], zero: int) -> TensorType:
    """The f32 input that a u8 one stands for."""
    x, words, scale, start, *bias = operands
    _check_zero(zero)
    if x.dtype != "u8":
        raise OpError(f"an input of u8 expected, got {x}")
    check_vectors((scale, start, *bias), ("f32", "i32", "f32"), words)
    return TensorType("f32", x.shape, x.layout)


def _infer_conv(operands: tuple[TensorType, ...], attrs: Int8ConvAttrs) -> tuple[TensorType, ...]:
    x, words, *rest = operands
    w = weight_of_words(x, words, attrs.group, PER_WORD)
    return infer_conv((_check_operands(operands, attrs.zero), w, *rest[2:]), attrs.plain)


def _infer_inner_product(operands: tuple[TensorType, ...], attrs: ZeroAttrs) -> tuple[TensorType, ...]:
    x, words, *rest = operands
    w = weight_of_words(x, words, 1, PER_WORD)
    if isinstance(x.shape[1], int) and x.shape[1] % PER_WORD:
        raise OpError(f"a multiple of {PER_WORD} values a sample expected, got {x}")
    wide = _check_operands(operands, attrs.zero)
    return infer_inner_product((wide, w, *rest[2:]), InnerProductAttrs())


def _finish(sums: Array, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    """Sums of products of codes, as f32 values of the result."""
    _, _, scale, _, *bias = operands
    shape = (1, -1, *[1] * (sums.ndim - 2))
    y = sums.astype(np.float32) * scale.reshape(shape)
    return (y + bias[0].reshape(shape) if bias else y,)


def _conv(operands: tuple[Array, ...], attrs: Int8ConvAttrs) -> tuple[Array, ...]:
    x, words = operands[:2]
    w = unpack_words(words, "i1", x.shape[1] // attrs.group)
    # float64 holds these sums exactly; the padding's 0 is the code ``zero``, less zero
    (sums,) = conv_reference((x.astype(np.float64) - attrs.zero, w.astype(np.float64)), attrs.plain)
    return _finish(sums, operands)


def _inner_product(operands: tuple[Array, ...], attrs: ZeroAttrs) -> tuple[Array, ...]:
    x, words = operands[:2]
    w = unpack_words(words, "i1", x.shape[1])
    return _finish(np.matmul(x.astype(np.float64) - attrs.zero, w.T.astype(np.float64)), operands)


TO_U8 = define(
    OpDef(
        "math.to_u8",
        "tensor",
        "The code of x: x / scale (as a product with 1 / scale), rounded to the nearest whole number, ties "
        "to even, plus zero, cut to 0..255. The code of a NaN is 0.",
        ("x",),
        AffineCode,
        infer=_infer_to,
        reference=_to,
        vjp=NOT_DIFFERENTIABLE,
        elementwise=True,
    )
)
FROM_U8 = define(
    OpDef(
        "math.from_u8",
        "tensor",
        "scale * (x - zero): the value of a code.",
        ("x",),
        AffineCode,
        infer=_infer_from,
        reference=_from,
        vjp=NOT_DIFFERENTIABLE,
        elementwise=True,
    )
)
SCALE = define(
    OpDef(
        "nn.int8_scale",
        "tensor",
        "What a step of the codes of a weight [O,C,*K] is worth, for each output: its largest weight is 127 "
        "of them. 1 where all weights are 0.",
        ("w",),
        NoAttrs,
        infer=_infer_scale,
        reference=_scale,
        vjp=NOT_DIFFERENTIABLE,
    )
)
WEIGHT = define(
    OpDef(
        "nn.int8_weight",
        "tensor",
        "A weight [O,C,*K] in steps of the scale [O], rounded to i8, in i32 words of four neighbouring "
        "channels: [O, ceil(C/4), *K].",
        ("w", "scale"),
        NoAttrs,
        infer=_infer_weight,
        reference=_weight,
        vjp=NOT_DIFFERENTIABLE,
    )
)
START = define(
    OpDef(
        "nn.int8_start",
        "tensor",
        "-zero times the sum of an output's weights in words: what a sum over codes begins with, [O].",
        ("w",),
        ZeroAttrs,
        infer=_infer_start,
        reference=_start,
        vjp=NOT_DIFFERENTIABLE,
    )
)
CONV = define(
    OpDef(
        "nn.int8_conv",
        "tensor",
        "y[n,o,p] = b[o] + scale[o] * (nn.conv of the codes x - zero and w). x u8 [N,C,*S]; w i32 "
        "[O,C/group/4,*K] from nn.int8_weight; scale f32 [O] of both codes; start i32 [O] of nn.int8_start, "
        "what a sum over x instead of x - zero begins with; b f32 [O]; y f32.",
        ("x", "w", "scale", "start", "b?"),
        Int8ConvAttrs,
        infer=_infer_conv,
        reference=_conv,
        vjp=NOT_DIFFERENTIABLE,
    )
)
INNER_PRODUCT = define(
    OpDef(
        "nn.int8_inner_product",
        "tensor",
        "y[m,n] = b[n] + scale[n] * sum over k of (x[m,k] - zero) * w[n,k]. x u8 [M,K]; w i32 [N,K/4], scale "
        "f32 [N], of both codes; start i32 [N] from nn.int8_start; b f32 [N]; y f32 [M,N].",
        ("x", "w", "scale", "start", "b?"),
        ZeroAttrs,
        infer=_infer_inner_product,
        reference=_inner_product,
        vjp=NOT_DIFFERENTIABLE,
    )
)
