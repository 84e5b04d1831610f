"""Kernels that transform the weights of Winograd's convolution against the reference."""

from __future__ import annotations

import pytest
from harness import LANES, TARGETS, check_launch, launch_of, one_op, random

from netc.backends.llvm.lower.table import has_kernel
from netc.ir.ops.winograd import WinogradWeightAttrs
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import SIZES


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("tile", "taps"), SIZES)
@pytest.mark.parametrize(("blocks", "depth"), [(1, 1), (3, 5), (2, 32)])
def test_windows_are_transformed_in_whole_blocks(blocks, depth, tile, taps, target):
    lanes = LANES[target]
    w = TensorType("f32", (blocks * lanes, depth, taps, taps))
    launch = launch_of([w], one_op("nn.winograd_weight", WinogradWeightAttrs(tile, lanes)))
    check_launch(launch, [random(w.static_shape)], target=target, threads=(1, 2), tolerance=2e-6)


def test_other_numbers_of_output_channels_have_no_kernel():
    w = TensorType("f32", (17, 4, 3, 3))
    assert not has_kernel(launch_of([w], one_op("nn.winograd_weight", WinogradWeightAttrs(2, 16))))
