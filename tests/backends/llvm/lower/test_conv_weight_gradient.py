"""Kernels of the gradient of a convolution's weight against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, check_launch, launch_of, one_op, random
from windows import Conv, conv, symbolic

from netc.ir.builder import infer_types
from netc.ir.core import Value
from netc.ir.dim import evaluate
from netc.ir.layout import Blocked
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.conv_gradient import ConvWeightGradientAttrs
from netc.ir.types import TensorType

BLOCKED = [
    conv((1, 16, 5, 5), 16, 3, pad=1),
    conv((2, 20, 9, 11), 36, 3, pad=1),
    conv((2, 20, 9, 31), 36, 3, stride=2, pad=1),
    conv((2, 32, 9, 11), 64, 3, pad=2, dilation=2, group=2),
    conv((2, 32, 9, 11), 64, 1),
    conv((3, 80, 14, 14), 112, 1),
    conv((1, 64, 7, 7), 48, 1, stride=2),
    conv((5, 32, 3, 3), 48, 3, pad=1),
    conv((1, 16, 6, 40), 16, (1, 7), pad=((0, 0), (3, 3))),
    conv((1, 16, 6, 9), 16, (2, 3), pad=((0, 1), (2, 0))),
    conv((3, 48, 1, 1), 32, 1),
    conv((1, 16, 5, 70), 10, 5, pad=4),
    conv((1, 16, 2, 2), 16, 5, pad=3),
]
ROW_MAJOR = [
    conv((2, 3, 19, 21), 40, 7, stride=2, pad=3, blocked_input=False),
    conv((1, 3, 23, 23), 96, 11, stride=4, blocked_input=False),
    conv((2, 1, 8, 9), 5, 3, pad=1, blocked_input=False),
    conv((1, 3, 8, 9), 64, 3, pad=1, blocked_input=False),
    conv((2, 3, 4, 3), 20, 5, pad=4, blocked_input=False),
    conv((1, 3, 5, 80), 16, (1, 40), pad=((0, 0), (3, 20)), blocked_input=False),
]
DEPTHWISE = [
    conv((2, 20, 9, 31), 20, 3, pad=1, group=20),
    conv((1, 32, 15, 14), 32, 3, stride=2, pad=1, group=32),
    conv((1, 32, 15, 14), 32, 5, pad=2, group=32),
    conv((1, 16, 12, 12), 16, 3, pad=2, dilation=2, group=16),
]
GENERIC = [
    conv((2, 6, 9, 11), 9, 3, pad=1, group=3, blocked=False, blocked_input=False),
    conv((1, 3, 8, 40), 5, 3, stride=2, pad=1, blocked=False, blocked_input=False),
    conv((1, 5, 7, 50), 4, 3, pad=2, dilation=2, blocked=False, blocked_input=False),
    conv((2, 4, 33), 6, 5, pad=2, blocked=False, blocked_input=False),
    conv((1, 4, 5, 6, 18), 6, 3, pad=1, blocked=False, blocked_input=False),
    conv((1, 16, 6, 20), 3, 3, pad=1, blocked=False),
    conv((1, 4, 3, 3), 2, 3, pad=((2, 0), (0, 2)), blocked=False, blocked_input=False),
    conv((2, 6, 5, 6), 6, 3, pad=1, group=3, blocked_input=False),
    conv((2, 6, 5, 6), 6, 3, pad=1, group=2),
]


def check(case: Conv, *, block: int, symbols: bool = False, **options: Any) -> None:
    shape, values = symbolic(case.shape) if symbols else (case.shape, {})
    weight = TensorType("f32", (case.outputs, case.shape[1] // case.group, *case.kernel))
    attrs = ConvAttrs(case.stride, case.pad, case.dilation, case.group)
    operands = (Value("x", TensorType("f32", shape)), Value("w", weight))
    (y,) = infer_types("nn.conv", operands, attrs)
    x = TensorType("f32", shape, Blocked(1, block) if case.blocked_input else None)
    dy = y.with_layout(Blocked(1, block) if case.blocked else None)
    made = ConvWeightGradientAttrs(case.kernel, case.stride, case.pad, case.dilation, case.group)
    launch = launch_of([x, dy], one_op("nn.conv_weight_gradient", made))
    extents = tuple(evaluate(d, values) for d in y.shape)
    summed = extents[0] * int(np.prod(extents[2:]))
    arrays = [random(case.shape), random(extents, 1)]
    check_launch(launch, arrays, symbols=values, tolerance=2e-6 * max(1.0, summed**0.5 / 20), **options)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", [*BLOCKED, *ROW_MAJOR, *DEPTHWISE, *GENERIC], ids=str)
def test_the_gradient_of_a_weight_is_what_the_reference_computes(case, target):
    check(case, block=LANES[target], target=target)


@pytest.mark.parametrize("case", [*BLOCKED, *ROW_MAJOR, *DEPTHWISE, *GENERIC], ids=str)
def test_one_kernel_serves_any_size(case):
    check(case, block=16, symbols=True, threads=(2,))


def test_a_block_wider_than_a_register_works():
    check(BLOCKED[1], block=16, target="cpu:sse2")
