"""The maximum of bf16 and of 8-bit codes, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, launch_of, one_op, random, reference, run_launch

from netc.ir.layout import Blocked
from netc.ir.ops.bf16 import to_bits
from netc.ir.ops.pool import PoolAttrs
from netc.ir.types import TensorType


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"),
    [((3, 3), (2, 2), (0, 1)), ((2, 3), (1, 2), (1, 1)), ((9, 9), (4, 4), (0, 0))],
)
@pytest.mark.parametrize("dtype", ["bf16", "u8"])
@pytest.mark.parametrize("target", ["cpu", *TARGETS])
def test_the_maximum_of_narrow_numbers_is_the_references(
    target: str, dtype: str, kernel: Any, stride: Any, pad: tuple[int, int]
) -> None:
    shape = (2, 20, 13, 11)
    x = to_bits(random(shape))
    if dtype == "u8":
        x = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    attrs = PoolAttrs("max", kernel, stride, (pad, pad))
    type_ = TensorType(dtype, shape, Blocked(1, LANES.get(target, 16)))
    launch = launch_of([type_], one_op("nn.pool", attrs))
    (got,) = [m.logical() for m in run_launch(launch, [x], target=target).outputs]
    np.testing.assert_array_equal(got, reference(launch, [x])[0])
