"""Convolution kernels: blocked, depthwise and generic, against the reference."""

from __future__ import annotations

import pytest
from harness import LANES, TARGETS
from windows import check_conv, conv

BLOCKED = [
    conv((1, 16, 5, 5), 16, 3, pad=1),
    conv((2, 20, 9, 11), 36, 3, pad=1),
    conv((2, 20, 9, 31), 36, 3, stride=2, pad=1),
    conv((1, 3, 19, 21), 40, 7, stride=2, pad=3, blocked_input=False),
    conv((1, 3, 23, 23), 24, 11, stride=4, blocked_input=False),
    conv((2, 32, 9, 11), 64, 3, pad=2, dilation=2, group=2),
    conv((2, 32, 9, 11), 64, 1),
    conv((1, 160, 14, 14), 112, 1),
    conv((1, 64, 7, 7), 48, 1, stride=2),
    conv((1, 16, 6, 40), 16, (1, 7), pad=((0, 0), (3, 3))),
    conv((1, 16, 6, 9), 16, (2, 3), pad=((0, 1), (2, 0))),
    conv((1, 16, 3, 3), 16, 3),
    conv((1, 48, 1, 1), 32, 1),
    conv((1, 832, 7, 7), 48, 1),  # rows of 13, and a last one of 10
    conv((2, 96, 13, 13), 40, 1),
    conv((2, 20, 9, 1), 16, 1),
    conv((1, 300, 7, 7), 32, 3, pad=1),
    conv((1, 16, 5, 70), 10, 5, pad=4, bias=False),
    conv((1, 1, 8, 9), 5, 3, pad=1, blocked_input=False),
]
DEPTHWISE = [
    conv((2, 20, 9, 31), 20, 3, pad=1, group=20),
    conv((1, 32, 15, 14), 32, 3, stride=2, pad=1, group=32),
    conv((1, 32, 15, 14), 32, 5, pad=2, group=32, bias=False),
    conv((1, 16, 12, 12), 16, 3, pad=2, dilation=2, group=16),
]
GENERIC = [
    conv((2, 6, 9, 11), 9, 3, pad=1, group=3, blocked=False, blocked_input=False),
    conv((1, 3, 8, 40), 5, 3, stride=2, pad=1, blocked=False, blocked_input=False),
    conv((1, 5, 7, 50), 4, 3, pad=2, dilation=2, blocked=False, blocked_input=False, bias=False),
    conv((2, 4, 33), 6, 5, pad=2, blocked=False, blocked_input=False),
    conv((1, 4, 5, 6, 18), 6, 3, pad=1, blocked=False, blocked_input=False),
    conv((1, 16, 6, 20), 3, 3, pad=1, blocked=False),
    conv((1, 4, 3, 3), 2, 3, pad=((2, 0), (0, 2)), blocked=False, blocked_input=False),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", BLOCKED, ids=str)
def test_a_blocked_convolution_computes_what_the_reference_does(case, target):
    check_conv(case, block=LANES[target], target=target)


@pytest.mark.parametrize("case", BLOCKED, ids=str)
def test_one_kernel_of_a_blocked_convolution_serves_any_size(case):
    check_conv(case, block=16, symbols=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", DEPTHWISE, ids=str)
def test_a_depthwise_convolution_computes_what_the_reference_does(case, target):
    check_conv(case, block=LANES[target], target=target)
    check_conv(case, block=LANES[target], target=target, symbols=True, threads=(2,))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", GENERIC, ids=str)
def test_a_generic_convolution_computes_what_the_reference_does(case, target):
    check_conv(case, block=LANES[target], target=target)
    check_conv(case, block=LANES[target], target=target, symbols=True, threads=(2,))


@pytest.mark.parametrize("case", [*BLOCKED[:9], BLOCKED[13], *DEPTHWISE, *GENERIC], ids=str)
def test_a_residual_sum_fuses_behind_a_convolution(case):
    check_conv(case, block=16, residual=True, threads=(1, 2))


@pytest.mark.parametrize("opt", [0, 2, 3])
def test_every_level_of_llvm_compiles_the_same_numbers(opt):
    check_conv(BLOCKED[1], block=16, opt=opt, threads=(2,))


def test_a_block_wider_than_a_register_works():
    check_conv(BLOCKED[1], block=16, target="cpu:sse2")
