"""Deconvolution kernels against the reference."""

from __future__ import annotations

import pytest
from harness import LANES, TARGETS
from windows import check_conv, conv

PLAIN = {"blocked": False, "blocked_input": False}
CASES = [
    conv((2, 20, 5, 6), 36, 4, stride=2, pad=1, transposed=True),
    conv((1, 5, 4, 30), 21, 64, stride=32, transposed=True, blocked_input=False),
    conv((1, 16, 7, 20), 16, 3, pad=1, transposed=True),
    conv((1, 16, 7, 20), 16, 3, pad=2, dilation=2, transposed=True),
    conv((1, 16, 3, 3), 16, 2, stride=3, transposed=True, bias=False),
    conv((2, 20, 5, 19), 20, 4, stride=2, pad=1, group=20, transposed=True),
    conv((2, 6, 5, 7), 9, 3, stride=2, pad=1, group=3, transposed=True, **PLAIN),
    conv((1, 1, 6, 6), 1, 16, stride=8, pad=4, transposed=True, **PLAIN),
    conv((1, 3, 9), 4, 5, stride=3, pad=2, transposed=True, **PLAIN),
    conv((1, 3, 3, 4, 5), 4, 3, stride=2, pad=1, transposed=True, **PLAIN),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_deconvolution_computes_what_the_reference_does(case, target):
    check_conv(case, block=LANES[target], target=target, threads=(1, 2))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_kernel_of_a_deconvolution_serves_any_size(case):
    check_conv(case, block=16, symbols=True, threads=(2,))


@pytest.mark.parametrize("case", CASES[:2], ids=str)
def test_a_residual_sum_fuses_behind_a_deconvolution(case):
    check_conv(case, block=16, residual=True, threads=(2,))
