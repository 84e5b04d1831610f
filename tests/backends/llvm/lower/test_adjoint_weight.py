"""Kernels of the weight of the adjoint convolution against the reference."""

from __future__ import annotations

import pytest
from harness import LANES, TARGETS, check_launch, launch_of, one_op, random

from netc.ir.ops.adjoint_weight import AdjointWeightAttrs
from netc.ir.types import TensorType

CASES = [
    ((20, 36, 3, 3), 1),
    ((5, 3, 2, 3), 1),
    ((48, 32, 1, 1), 1),
    ((64, 32, 3, 3), 2),
    ((20, 1, 3, 3), 20),
    ((32, 1, 5), 16),
    ((12, 6, 3, 3), 3),
    ((6, 4, 2, 2, 3), 1),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize(("shape", "group"), CASES, ids=str)
def test_channels_are_swapped_and_taps_reversed(shape, group, blocked, target):
    attrs = AdjointWeightAttrs(group, LANES[target] if blocked else 1)
    launch = launch_of([TensorType("f32", shape)], one_op("nn.adjoint_weight", attrs))
    run = check_launch(launch, [random(shape)], target=target, threads=(1, 2))
    if blocked:
        assert (run.outputs[0].padding() == 0).all()
