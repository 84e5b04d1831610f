"""Inner products of bf16 and 8-bit factors against their references, on every target that runs here."""

from __future__ import annotations

import numpy as np
import pytest
from harness import LANES, TARGETS, check_launch, launch_of, one_op, random
from narrow_weights import bf16_weight, int8_weight

from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.opdef import NoAttrs
from netc.ir.ops import bf16
from netc.ir.ops.int8 import AffineCode, ZeroAttrs
from netc.ir.types import TensorType

# samples, K, N; the last have several passes over K
SHAPES = [(1, 36, 40), (5, 128, 33), (16, 3000, 64)]


@pytest.mark.parametrize("target", ["cpu", *TARGETS])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_bf16_inner_product_adds_up_the_products_of_rounded_factors(
    shape: tuple[int, int, int], target: str
) -> None:
    m, k, n = shape
    blocked = Blocked(0, LANES.get(target, 16))
    words = bf16_weight(random((n, k), 1))
    types = [
        TensorType("bf16", (m, k)),
        TensorType("i32", words.shape, blocked),
        TensorType("f32", (n,), blocked),
    ]
    launch = launch_of(types, one_op("nn.bf16_inner_product", NoAttrs()))
    arrays = [bf16.to_bits(random((m, k))), words, random((n,), 2)]
    check_launch(launch, arrays, target=target, tolerance=1e-5)


@pytest.mark.parametrize("zero", [0, 128])
@pytest.mark.parametrize("target", ["cpu", *TARGETS])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_int8_inner_product_adds_up_exactly(shape: tuple[int, int, int], target: str, zero: int) -> None:
    m, k, n = shape
    samples = symbol("M") if m == 5 else m
    blocked = Blocked(0, LANES.get(target, 16))
    words, scale, start = int8_weight(random((n, k), 1), AffineCode(0.02, zero))
    types = [
        TensorType("u8", (samples, k)),
        TensorType("i32", words.shape, blocked),
        *(TensorType(dtype, (n,), blocked) for dtype in ("f32", "i32", "f32")),
    ]
    launch = launch_of(types, one_op("nn.int8_inner_product", ZeroAttrs(zero)))
    x = np.random.default_rng(3).integers(0, 256, (m, k)).astype(np.uint8)
    symbols = {"M": m} if m == 5 else {}
    check_launch(
        launch, [x, words, scale, start, random((n,), 2)], target=target, tolerance=5e-7, symbols=symbols
    )
