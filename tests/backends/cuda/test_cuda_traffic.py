"""What products ask of memory, as the emulator counts it: no bank conflicts, few sectors beyond the bytes used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_harness import lowered, needs_emulator
from emulator import Emulator
from emulator.profile import LineTraffic
from harness import launch_of, one_op
from windows import Conv, conv

from netc.backends.cuda.backend import translation_unit
from netc.ir.builder import infer_types
from netc.ir.core import Op, Value
from netc.ir.dim import evaluate
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.conv_gradient import ConvWeightGradientAttrs
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.types import BufferType, TensorType

pytestmark = needs_emulator
ALIGNED, GATHERED, CUT = (
    1.0,
    1.25,
    1.5,
)  # sectors for each needed: whole rows, windows in rows, odd or short rows


def conv_launch(case: Conv) -> Op:
    args, attrs = _conv(case)
    return launch_of(args, one_op("nn.deconv" if case.transposed else "nn.conv", attrs))


def gradient_launch(case: Conv) -> Op:
    args, attrs = _conv(case)
    (dy,) = infer_types("nn.conv", tuple(Value(f"p{i}", t) for i, t in enumerate(args)), attrs)
    assert isinstance(dy, TensorType)
    made = ConvWeightGradientAttrs(case.kernel, case.stride, case.pad, case.dilation, case.group)
    return launch_of([args[0], dy], one_op("nn.conv_weight_gradient", made))


def _conv(case: Conv) -> tuple[list[TensorType], ConvAttrs]:
    weight = (case.outputs, case.shape[1] // case.group, *case.kernel)
    attrs = ConvAttrs(case.stride, case.pad, case.dilation, case.group)
    return [TensorType("f32", case.shape), TensorType("f32", weight)], attrs


def inner_product_launch(samples: int, depth: int, outputs: int, transpose: bool = False) -> Op:
    weight = (depth, outputs) if transpose else (outputs, depth)
    args = [TensorType("f32", shape) for shape in ((samples, depth), weight)]
    return launch_of(args, one_op("nn.inner_product", InnerProductAttrs(transpose)))


PRODUCTS = {
    "conv 1x1": (conv_launch(conv((1, 48, 16, 16), 64, 1)), ALIGNED),
    "conv 3x3": (conv_launch(conv((1, 16, 28, 28), 64, 3, pad=1)), GATHERED),
    "conv 3x3 on short rows": (conv_launch(conv((4, 16, 7, 7), 64, 3, pad=1)), CUT),
    "gradient 1x1": (gradient_launch(conv((2, 48, 8, 8), 64, 1)), ALIGNED),
    "gradient 3x3": (gradient_launch(conv((1, 16, 28, 28), 64, 3, pad=1)), GATHERED),
    "inner product": (inner_product_launch(64, 128, 128), ALIGNED),
    "inner product transposed": (inner_product_launch(64, 128, 128, transpose=True), ALIGNED),
    "inner product of odd rows": (inner_product_launch(64, 127, 130), CUT),
}


def traffic(launch: Op, precision: Any) -> list[LineTraffic]:
    """What the first stage's first block asks for."""
    kernel = lowered(launch, precision)
    args = []
    for i in kernel.operands:
        type_ = launch.operands[i].type
        assert isinstance(type_, BufferType)
        args.append(np.zeros(type_.tensor.static_shape, np.float32))
    scratch = evaluate(kernel.scratch_bytes, {})
    if scratch:
        args.append(np.zeros(scratch // 4, np.float32))
    stage = kernel.stages[0]
    grid = [evaluate(d, {}) for d in stage.grid]
    emulator = Emulator(translation_unit([kernel.text]))
    return emulator.profile(stage.name, grid=grid, block=(stage.threads, 1, 1), args=args)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_no_lanes_of_a_product_meet_in_a_bank(name: str, precision: str) -> None:
    shared = [line for line in traffic(PRODUCTS[name][0], precision) if line.shared]
    assert shared
    assert not [str(line) for line in shared if line.excess > 1]


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_operands_of_a_product_are_read_in_few_sectors(name: str, precision: str) -> None:
    launch, allowed = PRODUCTS[name]
    copies = [line for line in traffic(launch, precision) if not line.shared and not line.write]
    assert sum(line.least for line in copies) > 0
    assert not [str(line) for line in copies if line.excess > allowed]
