"""Ops on bf16 and on 8-bit codes: what their references compute, and what their type rules refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netc.ir.builder import infer_types
from netc.ir.core import Value
from netc.ir.diagnostics import OpError
from netc.ir.layout import Blocked
from netc.ir.opdef import Array, NoAttrs, opdef
from netc.ir.ops.bf16 import from_bits, to_bits
from netc.ir.ops.conv import ConvAttrs, conv_reference
from netc.ir.ops.int8 import AffineCode, Int8ConvAttrs, ZeroAttrs
from netc.ir.ops.pool import PoolAttrs
from netc.ir.ops.words import pack_words, unpack_words
from netc.ir.types import TensorType

T = TensorType
CONV = ConvAttrs((1, 1), ((1, 1), (0, 1)), (1, 1), 2)
INT8_CONV = Int8ConvAttrs((1, 1), ((1, 1), (0, 1)), (1, 1), 2, zero=100)
PLAIN = ConvAttrs((1, 1), ((0, 0), (0, 0)), (1, 1))
PLAIN_INT8 = Int8ConvAttrs((1, 1), ((0, 0), (0, 0)), (1, 1))


def run(name: str, operands: tuple[Array, ...], attrs: Any) -> tuple[Array, ...]:
    rule = opdef(name).reference
    assert rule is not None
    return rule(operands, attrs)


def int8_weight(w: Array, code: AffineCode) -> tuple[Array, Array, Array]:
    """Words, scale and start."""
    (step,) = run("nn.int8_scale", (w,), NoAttrs())
    (words,) = run("nn.int8_weight", (w, step), NoAttrs())
    return words, step * np.float32(code.scale), run("nn.int8_start", (words,), ZeroAttrs(code.zero))[0]


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_bf16_is_the_nearest_of_its_neighbours_and_ties_go_to_even() -> None:
    x = random(1000) * np.float32(2.0) ** np.random.default_rng(1).integers(-60, 60, 1000).astype(np.float32)
    bits = to_bits(x)
    error = np.abs(from_bits(bits).astype(np.float64) - x)
    for other in (bits - 1, bits + 1):
        assert (error <= np.abs(from_bits(other).astype(np.float64) - x)).all()
    ties = np.array([0x3F808000, 0x3F818000], np.uint32).view(np.float32)
    np.testing.assert_array_equal(to_bits(ties), [0x3F80, 0x3F82])


def test_what_no_bf16_can_be_near_is_infinite_and_a_nan_stays_one() -> None:
    x = np.array([3.4e38, -3.4e38, np.inf, np.nan], np.float32)
    x.view(np.uint32)[3] |= 1  # a NaN whose upper half alone would be infinite
    np.testing.assert_array_equal(from_bits(to_bits(x)), [np.inf, -np.inf, np.inf, np.nan])


@pytest.mark.parametrize(("dtype", "channels"), [("<u2", 7), ("i1", 9), ("i1", 8)])
def test_words_hold_neighbouring_channels_the_first_in_the_lowest_bits(dtype: str, channels: int) -> None:
    numbers = np.random.default_rng(0).integers(0, 100, (3, channels, 2, 2)).astype(dtype)
    words = pack_words(numbers)
    per_word = 4 // numbers.itemsize
    assert words.shape == (3, -(-channels // per_word), 2, 2)
    assert words.dtype == np.int32
    assert words[1, 0, 1, 0] & (2 ** (32 // per_word) - 1) == numbers[1, 0, 1, 0]
    np.testing.assert_array_equal(unpack_words(words, dtype, channels), numbers)


def test_a_bf16_convolution_is_the_convolution_of_the_rounded_factors() -> None:
    x, w, bias = random(2, 8, 5, 6), random(4, 4, 3, 2, seed=1), random(4, seed=2)
    (words,) = run("nn.bf16_weight", (w,), NoAttrs())
    (got,) = run("nn.bf16_conv", (to_bits(x), words, bias), CONV)
    (wanted,) = conv_reference((from_bits(to_bits(x)), from_bits(to_bits(w)), bias), CONV)
    np.testing.assert_array_equal(got, wanted)


def test_a_bf16_inner_product_is_near_that_of_f32() -> None:
    x, w, bias = random(3, 64), random(5, 64, seed=1), random(5, seed=2)
    (words,) = run("nn.bf16_weight", (w,), NoAttrs())
    (got,) = run("nn.bf16_inner_product", (to_bits(x), words, bias), NoAttrs())
    np.testing.assert_allclose(got, x @ w.T + bias, atol=0.1)


def test_codes_of_values_are_at_most_half_a_step_off_within_their_range() -> None:
    code = AffineCode(0.01, 100)
    x = np.linspace(-1.0, 1.55, 777, dtype=np.float32)
    (codes,) = run("math.to_u8", (x,), code)
    (back,) = run("math.from_u8", (codes,), code)
    assert codes.dtype == np.uint8
    assert np.abs(back - x).max() <= 0.005 + 1e-6
    (zero,) = run("math.to_u8", (np.zeros(1, np.float32),), code)
    np.testing.assert_array_equal(run("math.from_u8", (zero,), code)[0], [0.0])


def test_values_beyond_the_range_are_cut_and_a_nan_has_the_code_0() -> None:
    x = np.array([-1e30, 1e30, np.inf, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(run("math.to_u8", (x,), AffineCode(0.5, 7))[0], [0, 255, 255, 0, 0])


@pytest.mark.parametrize("zero", [0, 100])
def test_an_int8_convolution_is_near_that_of_f32_at_the_padding_too(zero: int) -> None:
    x, w, bias = random(2, 12, 5, 6), random(4, 6, 3, 2, seed=1), random(4, seed=2)
    x = np.abs(x) if zero == 0 else x
    code = AffineCode(float(np.abs(x).max()) / (255 - zero) * (1 if zero == 0 else 1.6), zero)
    words, scale, start = int8_weight(w, code)
    (codes,) = run("math.to_u8", (x,), code)
    attrs = Int8ConvAttrs(CONV.stride, CONV.pad, CONV.dilation, CONV.group, zero)
    (got,) = run("nn.int8_conv", (codes, words, scale, start, bias), attrs)
    (wanted,) = conv_reference((x, w, bias), CONV)
    assert np.abs(got - wanted).max() < 0.03 * np.abs(wanted).max()


def test_the_start_of_a_sum_over_codes_makes_it_one_over_codes_less_zero() -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 8)).astype(np.uint8)
    w, code = random(3, 8, seed=1), AffineCode(0.1, 77)
    words, scale, start = int8_weight(w, code)
    (got,) = run("nn.int8_inner_product", (x, words, scale, start), ZeroAttrs(77))
    codes = unpack_words(words, "i1", 8).astype(np.int64)
    np.testing.assert_allclose(got, (x.astype(np.int64) @ codes.T + start) * scale, rtol=1e-6)


def test_every_output_has_the_weight_scale_of_its_own_largest_weight() -> None:
    w = random(3, 4, 2, 2)
    w[1] *= 1000
    w[2] = 0
    words, scale, _ = int8_weight(w, AffineCode(0.5))
    codes = unpack_words(words, "i1", 4)
    assert np.abs(codes[0]).max() == np.abs(codes[1]).max() == 127
    assert (codes[2] == 0).all()
    np.testing.assert_allclose(codes * (scale / 0.5).reshape(3, 1, 1, 1), w, atol=1000 * 4 / 127)


def test_the_maximum_of_narrow_numbers_is_that_of_their_values() -> None:
    attrs = PoolAttrs("max", (3, 3), (2, 2), ((1, 1), (1, 1)))
    x = random(2, 3, 7, 6)
    (wanted,) = run("nn.pool", (from_bits(to_bits(x)),), attrs)
    np.testing.assert_array_equal(from_bits(run("nn.pool", (to_bits(x),), attrs)[0]), wanted)
    code = AffineCode(0.03, 120)
    codes = run("math.to_u8", (x,), code)[0]
    np.testing.assert_array_equal(
        run("nn.pool", (codes,), attrs)[0], run("math.to_u8", (run("nn.pool", (x,), attrs)[0],), code)[0]
    )


@pytest.mark.parametrize(
    ("op", "attrs", "types", "message"),
    [
        ("nn.bf16_conv", PLAIN, [T("f32", (1, 8, 4, 4)), T("i32", (4, 4, 1, 1))], "input of bf16"),
        ("nn.bf16_conv", PLAIN, [T("bf16", (1, 8, 4, 4)), T("f32", (4, 4, 1, 1))], "i32 words"),
        ("nn.bf16_conv", PLAIN, [T("bf16", (1, 8, 4, 4)), T("i32", (4, 3, 1, 1))], "words for 6"),
        ("nn.bf16_conv", PLAIN, [T("bf16", (1, 7, 4, 4)), T("i32", (4, 4, 1, 1))], "even number"),
        (
            "nn.bf16_conv",
            PLAIN,
            [T("bf16", (1, 8, 4, 4)), T("i32", (4, 4, 1, 1)), T("f32", (5,))],
            r"f32\[4\] expected",
        ),
        (
            "nn.int8_conv",
            PLAIN_INT8,
            [T("u8", (1, 8, 4, 4)), T("i32", (4, 2, 1, 1)), T("f32", (4,)), T("f32", (4,))],
            r"i32\[4\] expected",
        ),
        ("nn.int8_weight", NoAttrs(), [T("f32", (4, 8, 1, 1)), T("f32", (5,))], r"scale of f32\[4\]"),
        ("nn.int8_start", ZeroAttrs(1), [T("f32", (4, 8, 1, 1))], "i32 words"),
        ("math.to_u8", AffineCode(0.0), [T("f32", (4,))], "scale must be"),
        ("math.to_u8", AffineCode(1.0, 256), [T("f32", (4,))], "zero must be"),
        ("math.from_u8", AffineCode(1.0), [T("f32", (4,))], "operand of u8"),
        ("math.to_bf16", NoAttrs(), [T("u8", (4,))], "operand of f32"),
        ("nn.bf16_weight", NoAttrs(), [T("f32", (4, 8), Blocked(0, 4))], "row-major f32 weight"),
        ("nn.pool", PoolAttrs("ave", (2,), (2,), ((0, 0),)), [T("u8", (1, 8, 4))], "average of f32"),
    ],
)
def test_operands_that_do_not_fit_are_refused(
    op: str, attrs: Any, types: list[TensorType], message: str
) -> None:
    with pytest.raises(OpError, match=message):
        infer_types(op, tuple(Value(f"x{i}", t) for i, t in enumerate(types)), attrs)
