"""Kernels of Winograd's convolution against the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from harness import LANES, TARGETS, added_and_rectified, check_launch, launch_of, random

from netc.backends.llvm.lower.winograd_schedule import winograd_keeps_weights
from netc.backends.llvm.target import parse_target
from netc.ir.builder import infer_types
from netc.ir.core import Op, Value
from netc.ir.dim import evaluate, symbol
from netc.ir.layout import Blocked
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.winograd import WinogradConvAttrs
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import SIZES

# shape, outputs, pad, group
CASES = [
    ((1, 16, 8, 8), 16, ((1, 1), (1, 1)), 1),  # whole tiles
    ((1, 20, 7, 9), 37, ((1, 1), (1, 1)), 1),  # channels and tiles that overhang
    ((3, 16, 5, 6), 80, ((0, 0), (0, 0)), 1),  # a chunk over several images
    ((1, 32, 1, 1), 16, ((2, 2), (2, 2)), 1),  # all padding but one element
    ((2, 64, 6, 6), 32, ((2, 1), (0, 3)), 2),  # groups
    ((1, 16, 30, 41), 16, ((1, 1), (1, 1)), 1),  # many chunks
    ((1, 700, 4, 8), 48, ((1, 1), (1, 1)), 1),  # several passes over the channels
]
TOLERANCES = {4: 4e-6, 6: 4e-5, 8: 4e-5}  # by extent


def check(
    case: Any,
    tile: int,
    taps: int,
    *,
    block: int,
    many: bool = False,
    transformed: bool = True,
    **options: Any,
) -> None:
    """Convolution + residual sum + ReLU; ``many``: the number of images is a symbol.

    With ``transformed`` the weights are, else the kernel does that.
    """
    extents, outputs, pad, group = case
    shape = (symbol("N"), *extents[1:]) if many else extents
    symbols = {"N": extents[0]} if many else {}
    x = TensorType("f32", shape, Blocked(1, block))
    depth = extents[1] // group
    weights = (outputs, (tile + taps - 1) ** 2, depth) if transformed else (outputs, depth, taps, taps)
    u = TensorType("f32", weights, Blocked(0, block))
    b = TensorType("f32", (outputs,), Blocked(0, block))
    attrs = WinogradConvAttrs(tile, taps, pad, group)
    operands = tuple(Value(f"v{i}", t) for i, t in enumerate((x, u, b)))
    (y,) = infer_types("nn.winograd_conv", operands, attrs)

    arrays = [random(extents, 1), random(u.static_shape, 2), random((outputs,), 3)]
    residual = random(tuple(evaluate(d, symbols) for d in y.shape), 4)
    launch = launch_of([x, u, b, y], added_and_rectified("nn.winograd_conv", attrs))
    tolerance = TOLERANCES[tile + taps - 1]
    check_launch(launch, [*arrays, residual], symbols=symbols, tolerance=tolerance, **options)


@pytest.mark.parametrize(("tile", "taps"), SIZES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_winograd_convolution_computes_what_the_reference_does(case, target, tile, taps):
    lanes = LANES[target]
    if case[-1] > 1 and case[0][1] // case[-1] % lanes:
        pytest.skip("blocks straddle groups")
    check(case, tile, taps, block=lanes, target=target)


@pytest.mark.parametrize(("tile", "taps"), SIZES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", [CASES[1], CASES[4], CASES[6]], ids=str)
def test_a_kernel_may_transform_its_weights_itself(case, target, tile, taps):
    lanes = LANES[target]
    if case[-1] > 1 and case[0][1] // case[-1] % lanes:
        pytest.skip("blocks straddle groups")
    check(case, tile, taps, block=lanes, target=target, transformed=False)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_kernel_serves_any_number_of_images(case):
    check(case, 4, 3, block=16, many=True, threads=(2,))


@pytest.mark.parametrize(
    ("shape", "outputs", "tile", "kept"),
    [
        ((1, 512, 28, 28), 512, 4, True),  # 38 MB that are read once
        ((16, 512, 28, 28), 512, 4, False),  # each chunk would transform them again
        ((1, 512, 7, 7), 512, 2, False),  # too few tiles use a weight
        ((1, 256, 28, 28), 256, 4, False),  # they stay in the cache
        ((symbol("N"), 512, 28, 28), 512, 4, False),
    ],
)
def test_large_weights_that_are_used_once_a_run_are_kept_as_they_are(shape, outputs, tile, kept):
    small = parse_target("cpu:avx512")
    for target in (small, replace(small, l3_bytes=32 << 20)):
        assert winograd_keeps_weights(convolution(shape, outputs), tile, target) is kept


def convolution(shape: tuple[Any, ...], outputs: int) -> Op:
    x, w = TensorType("f32", shape), TensorType("f32", (outputs, shape[1], 3, 3))
    operands = (Value("x", x), Value("w", w))
    attrs = ConvAttrs((1, 1), ((1, 1), (1, 1)), (1, 1))
    (y,) = infer_types("nn.conv", operands, attrs)
    return Op("nn.conv", operands, attrs, (Value("y", y),), None, None)
