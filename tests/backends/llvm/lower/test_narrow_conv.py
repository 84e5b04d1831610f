"""Convolutions of bf16 and 8-bit factors against their references, on every target that runs here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, Array, check_launch, launch_of, random, reference, run_launch
from narrow_weights import bf16_weight, int8_weight

from netc.backends.llvm.lower.table import other_schedules
from netc.backends.llvm.target import parse_target
from netc.ir.builder import FuncBuilder
from netc.ir.core import Op, Value
from netc.ir.dim import Dim, symbol
from netc.ir.layout import Blocked
from netc.ir.opdef import NoAttrs
from netc.ir.ops import bf16
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.elementwise import ReluAttrs
from netc.ir.ops.int8 import AffineCode, Int8ConvAttrs
from netc.ir.types import TensorType

# input, outputs, window, stride, pad, dilation, group
SHAPES: dict[str, tuple[Any, ...]] = {
    "1x1": ((2, 32, 7, 9), 48, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "3x3": ((1, 32, 9, 11), 32, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "stride": ((2, 16, 14, 13), 20, (3, 3), (2, 2), (1, 1), (1, 1), 1),
    "dilated": ((1, 48, 12, 10), 16, (3, 2), (1, 1), (2, 1), (2, 3), 1),
    "odd blocks": ((1, 38, 6, 6), 70, (5, 5), (1, 1), (2, 2), (1, 1), 1),
    "groups": ((1, 64, 6, 5), 96, (3, 3), (1, 1), (1, 1), (1, 1), 2),
    "one output": ((3, 64, 4, 4), 33, (4, 4), (1, 1), (0, 0), (1, 1), 1),
}


def attrs_of(shape: tuple[Any, ...], **more: int) -> dict[str, Any]:
    _, _, _, stride, pad, dilation, group = shape
    return {"stride": stride, "pad": tuple((p, p) for p in pad), "dilation": dilation, "group": group, **more}


def types_of(shape: tuple[Any, ...], dtype: str, per_word: int, lanes: int) -> list[TensorType]:
    x, outputs, window, *_, group = shape
    words = -(-(x[1] // group) // per_word)
    return [
        TensorType(dtype, x, Blocked(1, lanes)),
        TensorType("i32", (outputs, words, *window), Blocked(0, lanes)),
    ]


def weight(shape: tuple[Any, ...]) -> Array:
    x, outputs, window, *_, group = shape
    return random((outputs, x[1] // group, *window), 1)


def bf16_case(shape: tuple[Any, ...], lanes: int, narrow_result: int = 0) -> tuple[Op, list[Array]]:
    x, w = bf16.to_bits(random(shape[0])), weight(shape)
    words = bf16_weight(w)
    bias = random(w.shape[:1], 2)

    def build(b: FuncBuilder, args: list[Value]) -> Value:
        y = b.add1("nn.bf16_conv", args, ConvAttrs(**attrs_of(shape)), hint="y")
        r = b.add1("math.relu", [y], ReluAttrs(), hint="r")
        return b.add1("math.to_bf16", [r], NoAttrs(), hint="q") if narrow_result else r

    types = [*types_of(shape, "bf16", 2, lanes), TensorType("f32", bias.shape, Blocked(0, lanes))]
    return launch_of(types, build), [x, words, bias]


def int8_case(
    shape: tuple[Any, ...], lanes: int, zero: int, sizes: tuple[Dim, Dim, Dim] | None = None
) -> tuple[Op, list[Array]]:
    """``sizes`` are symbols for the number of images, the height and the width."""
    w = weight(shape)
    code = AffineCode(0.02, zero)
    x = np.random.default_rng(3).integers(0, 256, shape[0]).astype(np.uint8)
    words, scale, start = int8_weight(w, code)
    arrays = [x, words, scale, start, random(scale.shape, 2)]

    def build(b: FuncBuilder, args: list[Value]) -> Value:
        return b.add1("nn.int8_conv", args, Int8ConvAttrs(**attrs_of(shape, zero=zero)), hint="y")

    images, words_of = types_of(shape, "u8", 4, lanes)
    if sizes is not None:
        images = TensorType("u8", (sizes[0], shape[0][1], *sizes[1:]), images.layout)
    vectors = [TensorType(d, scale.shape, Blocked(0, lanes)) for d in ("f32", "i32", "f32")]
    return launch_of([images, words_of, *vectors], build), arrays


@pytest.mark.parametrize("target", ["cpu", *TARGETS])
@pytest.mark.parametrize("name", SHAPES)
def test_a_bf16_convolution_adds_up_the_products_of_rounded_factors(name: str, target: str) -> None:
    launch, arrays = bf16_case(SHAPES[name], LANES.get(target, 16))
    check_launch(launch, arrays, target=target, tolerance=1e-5)


@pytest.mark.parametrize("zero", [0, 128])
@pytest.mark.parametrize("target", ["cpu", *TARGETS])
@pytest.mark.parametrize("name", SHAPES)
def test_an_int8_convolution_adds_up_exactly(name: str, target: str, zero: int) -> None:
    launch, arrays = int8_case(SHAPES[name], LANES.get(target, 16), zero)
    check_launch(launch, arrays, target=target, tolerance=5e-7)


@pytest.mark.parametrize("name", ["1x1", "3x3"])
@pytest.mark.parametrize("factors", ["bf16", "int8"])
def test_every_schedule_computes_the_same_to_the_bit(name: str, factors: str) -> None:
    case = bf16_case if factors == "bf16" else int8_case
    launch, arrays = case(SHAPES[name], 16, 0)
    others = other_schedules(launch, parse_target("cpu:avx512"))
    assert others
    (expected,) = run_launch(launch, arrays, target="cpu:avx512", threads=(2,)).run(2)
    for other in others[:: max(1, len(others) // 3)]:
        tried = replace(launch, attrs=replace(launch.attrs, schedule=other))
        (found,) = run_launch(tried, arrays, target="cpu:avx512", threads=(2,)).run(2)
        np.testing.assert_array_equal(found, expected, other)


def test_a_convolution_writes_the_narrow_numbers_that_the_next_one_reads() -> None:
    launch, arrays = bf16_case(SHAPES["3x3"], 16, narrow_result=1)
    run = run_launch(launch, arrays, target="cpu")
    (wanted,) = reference(launch, arrays)
    got = run.outputs[0].logical()
    assert got.dtype == np.uint16
    # another order of summation may end in the neighbouring bf16
    assert np.abs(got.astype(int) - wanted.astype(int)).max() <= 1


def test_sizes_may_be_symbols() -> None:
    n, h, w = symbol("N"), symbol("H"), symbol("W")
    for name in ("1x1", "3x3"):
        launch, arrays = int8_case(SHAPES[name], 16, 128, sizes=(n, h, w))
        x = arrays[0]
        symbols = {"N": x.shape[0], "H": x.shape[2], "W": x.shape[3]}
        check_launch(launch, arrays, target="cpu", tolerance=5e-7, symbols=symbols)
