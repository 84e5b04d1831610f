"""Pooling kernels against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from harness import LANES, TARGETS, check_launch, launch_of, one_op, random
from windows import symbolic

from netc.ir.layout import Blocked
from netc.ir.ops.pool import GlobalPoolAttrs, PoolAttrs
from netc.ir.types import TensorType

# shape, kernel, stride, pad, round, count_padding
CASES = [
    ((2, 20, 9, 31), 3, 2, 0, "ceil", True),
    ((1, 32, 14, 13), 3, 2, 1, "ceil", True),
    ((1, 32, 14, 13), 3, 2, 1, "floor", True),
    ((1, 32, 14, 14), 3, 1, 1, "ceil", True),
    ((1, 16, 14, 14), 2, 2, 0, "ceil", True),
    ((1, 16, 13, 12), 5, 3, 2, "ceil", True),
    ((1, 16, 13, 12), 5, 3, 2, "ceil", False),
    ((1, 16, 13, 12), 11, 1, 0, "ceil", True),
    ((1, 5, 4, 4), 2, 3, 0, "ceil", True),
]


def pool_launch(case, kind, block, shape):
    _, kernel, stride, pad, rounding, count = case
    attrs = PoolAttrs(kind, (kernel,) * 2, (stride,) * 2, ((pad, pad),) * 2, rounding, count)
    x = TensorType("f32", shape, Blocked(1, block) if block else None)
    return launch_of([x], one_op("nn.pool", attrs))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["max", "ave"])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("blocked", [True, False])
def test_a_pool_computes_what_the_reference_does(case, kind, blocked, target):
    block = LANES[target] if blocked else 0
    launch = pool_launch(case, kind, block, case[0])
    check_launch(launch, [random(case[0])], target=target, threads=(1, 2))


@pytest.mark.parametrize("kind", ["max", "ave"])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("block", [0, 16])
def test_one_kernel_of_a_pool_serves_any_size(case, kind, block):
    shape, values = symbolic(case[0])
    check_launch(pool_launch(case, kind, block, shape), [random(case[0])], symbols=values, threads=(2,))


@pytest.mark.parametrize("kind", ["max", "ave"])
def test_a_pool_over_three_axes_computes_what_the_reference_does(kind):
    shape = (1, 3, 5, 6, 40)
    attrs = PoolAttrs(kind, (2, 3, 3), (2, 2, 1), ((0, 0), (1, 1), (1, 0)))
    check_launch(launch_of([TensorType("f32", shape)], one_op("nn.pool", attrs)), [random(shape)])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["max", "ave"])
@pytest.mark.parametrize("shape", [(2, 36, 7, 7), (1, 16, 3, 5), (3, 5, 1, 1), (1, 4, 9, 40)], ids=str)
@pytest.mark.parametrize("blocked", [True, False])
@pytest.mark.parametrize("symbols", [True, False])
def test_a_global_pool_computes_what_the_reference_does(shape, kind, blocked, symbols, target):
    dims, values = symbolic(shape) if symbols else (shape, {})
    x = TensorType("f32", dims, Blocked(1, LANES[target]) if blocked else None)
    launch = launch_of([x], one_op("nn.global_pool", GlobalPoolAttrs(kind)))
    check_launch(launch, [random(shape)], target=target, symbols=values, threads=(1, 2))


def test_a_maximum_passes_over_nan_as_the_original_does():
    x = random((1, 16, 4, 4))
    x[0, 3, 1, 1] = np.nan
    case = ((1, 16, 4, 4), 2, 2, 0, "ceil", True)
    from harness import run_launch

    run = run_launch(pool_launch(case, "max", 16, case[0]), [x])
    assert np.isfinite(run.outputs[0].logical()).all()
