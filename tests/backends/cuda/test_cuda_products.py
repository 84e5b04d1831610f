"""CUDA kernels of convolutions, their gradients and inner products, against the reference, in the emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_harness import check_launch, needs_emulator
from harness import launch_of, one_op, random
from windows import Conv, conv, symbolic

from netc.ir.builder import FuncBuilder, infer_types
from netc.ir.core import Value
from netc.ir.dim import evaluate, symbol
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.conv_gradient import ConvWeightGradientAttrs
from netc.ir.ops.elementwise import ReluAttrs
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.types import BufferType, TensorType, contiguous_strides

pytestmark = needs_emulator
PRECISIONS = ["fp32", "tf32", "bf16", "fp16"]

CONVOLUTIONS = [
    conv((2, 20, 9, 11), 36, 3, pad=1),
    conv((2, 20, 9, 13), 36, 3, stride=2, pad=1),
    conv((1, 3, 19, 21), 40, 7, stride=2, pad=3),
    conv((2, 32, 9, 11), 64, 3, pad=2, dilation=2, group=2),
    conv((2, 32, 8, 10), 64, 1),
    conv((1, 300, 7, 7), 32, 3, pad=1),
    conv((1, 64, 7, 7), 48, 1, stride=2),
    conv((1, 16, 6, 9), 16, (2, 3), pad=((0, 1), (2, 0))),
    conv((1, 5, 7, 20), 4, 5, pad=4, bias=False),
    conv((2, 4, 33), 6, 5, pad=2),
    conv((1, 4, 5, 6, 8), 6, 3, pad=1),
    conv((1, 1, 8, 9), 5, 3, pad=1),
]
DIRECT = [
    conv((2, 20, 9, 13), 20, 3, pad=1, group=20),
    conv((1, 8, 15, 14), 16, 3, stride=2, pad=1, group=8),
    conv((1, 6, 12, 12), 6, 3, pad=2, dilation=2, group=2, bias=False),
]
DECONVOLUTIONS = [
    conv((2, 20, 5, 6), 36, 4, stride=2, pad=1, transposed=True),
    conv((1, 5, 4, 6), 21, 8, stride=4, transposed=True),
    conv((1, 16, 7, 9), 16, 3, pad=2, dilation=2, transposed=True),
    conv((1, 16, 3, 3), 16, 2, stride=3, transposed=True, bias=False),
    conv((2, 20, 5, 9), 20, 4, stride=2, pad=1, group=20, transposed=True),
    conv((2, 24, 5, 7), 36, 3, stride=2, pad=((1, 0), (1, -1)), group=2, transposed=True),
    conv((1, 3, 9), 4, 5, stride=3, pad=2, transposed=True),
]


def check_conv(
    case: Conv, *, symbols: bool = False, residual: bool = False, views: bool = False, **options: Any
) -> Any:
    """conv (+ residual sum) + leaky ReLU."""
    shape, values = symbolic(case.shape) if symbols else (case.shape, {})
    channels = case.shape[1]
    weight = (case.outputs, channels // case.group, *case.kernel)
    if case.transposed:
        weight = (channels, case.outputs // case.group, *case.kernel)
    x, w, b = TensorType("f32", shape), TensorType("f32", weight), TensorType("f32", (case.outputs,))
    attrs = ConvAttrs(case.stride, case.pad, case.dilation, case.group)
    name = "nn.deconv" if case.transposed else "nn.conv"
    args: list[Any] = [x, w, b] if case.bias else [x, w]
    own = len(args)
    operands = tuple(Value(f"p{i}", t) for i, t in enumerate(args))
    (result,) = infer_types(name, operands, attrs)
    assert isinstance(result, TensorType)

    def build(builder: FuncBuilder, given: list[Value]) -> Value:
        y = builder.add1(name, given[:own], attrs, hint="y")
        if residual:
            y = builder.add1("math.add", [y, given[-1]], hint="sum")
        return builder.add1("math.relu", [y], ReluAttrs(0.1), hint="r")

    depth = int(np.prod(weight)) / case.outputs
    arrays = [random(case.shape), random(weight, 1) / np.float32(depth**0.5), random((case.outputs,), 2)]
    arrays = arrays[:own]
    if residual:
        args.append(result)
        arrays.append(random(tuple(evaluate(d, values) for d in result.shape), 3))
    strides = {}
    if views:
        wide = TensorType("f32", (x.shape[0], x.shape[1] + 3, *(d + 2 for d in x.shape[2:])))
        args[0] = BufferType(x, contiguous_strides(wide))
        out = TensorType("f32", (result.shape[0], result.shape[1] + 5, *result.shape[2:]))
        strides = {0: contiguous_strides(out)}
    launch = launch_of(args, build, result_strides=strides)
    tolerance = 2e-6 * max(1.0, depth**0.5 / 20)
    return check_launch(launch, arrays, symbols=values, tolerance=tolerance, **options)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_a_convolution(case: Conv, precision: str) -> None:
    kernel = check_conv(case, precision=precision)
    wide = case.outputs // case.group >= 16
    assert ("mma_" in kernel.text.replace("mma_m", "mma_", 1)) == (precision != "fp32" and wide)


@pytest.mark.parametrize("case", DIRECT, ids=str)
def test_a_convolution_of_few_channels_a_group(case: Conv) -> None:
    assert check_conv(case).lowering == "direct"


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize("case", DECONVOLUTIONS, ids=str)
def test_a_deconvolution(case: Conv, precision: str) -> None:
    check_conv(case, precision=precision)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize("case", [CONVOLUTIONS[0], CONVOLUTIONS[4], DIRECT[0], DECONVOLUTIONS[0]], ids=str)
def test_a_residual_sum_fuses_and_memory_may_have_gaps(case: Conv, precision: str) -> None:
    check_conv(case, residual=True, precision=precision)
    check_conv(case, views=True, precision=precision)
    check_conv(case, aligned=False, precision=precision)


@pytest.mark.parametrize("case", [CONVOLUTIONS[1], CONVOLUTIONS[4], DIRECT[1], DECONVOLUTIONS[0]], ids=str)
def test_one_kernel_serves_any_size(case: Conv) -> None:
    for precision in ("fp32", "tf32"):
        check_conv(case, symbols=True, precision=precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", [*CONVOLUTIONS, *DIRECT], ids=str)
def test_the_gradient_of_a_weight(case: Conv, precision: str) -> None:
    weight = TensorType("f32", (case.outputs, case.shape[1] // case.group, *case.kernel))
    attrs = ConvAttrs(case.stride, case.pad, case.dilation, case.group)
    x = TensorType("f32", case.shape)
    (dy,) = infer_types("nn.conv", (Value("x", x), Value("w", weight)), attrs)
    assert isinstance(dy, TensorType)
    made = ConvWeightGradientAttrs(case.kernel, case.stride, case.pad, case.dilation, case.group)
    launch = launch_of([x, dy], one_op("nn.conv_weight_gradient", made))
    summed = dy.static_shape[0] * int(np.prod(dy.static_shape[2:]))
    tolerance = 2e-6 * max(1.0, summed**0.5 / 20)
    check_launch(
        launch, [random(case.shape), random(dy.static_shape, 1)], precision=precision, tolerance=tolerance
    )


SIZES = [
    (1, 100, 37),
    (3, 101, 37),
    (16, 33, 64),
    (20, 100, 37),
    (16, 2000, 70),
    (8, 300, 300),
    (70, 64, 130),
]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_inner_product(size: tuple[int, int, int], transpose: bool, precision: str) -> None:
    samples, depth, outputs = size
    shape = (depth, outputs) if transpose else (outputs, depth)
    args = [TensorType("f32", s) for s in ((samples, depth), shape, (outputs,))]
    arrays = [random((samples, depth)), random(shape, 1) / np.float32(depth**0.5), random((outputs,), 2)]

    def build(builder: FuncBuilder, given: list[Value]) -> Value:
        y = builder.add1("nn.inner_product", given, InnerProductAttrs(transpose), hint="y")
        return builder.add1("math.relu", [y], ReluAttrs(0.1), hint="r")

    check_launch(launch_of(args, build), arrays, tolerance=5e-6, precision=precision)


def test_one_kernel_of_an_inner_product_serves_any_batch_without_bias() -> None:
    args = [TensorType("f32", (symbol("M"), 40)), TensorType("f32", (24, 40))]
    launch = launch_of(args, one_op("nn.inner_product", InnerProductAttrs(False)))
    for samples in (1, 50):
        check_launch(
            launch, [random((samples, 40)), random((24, 40), 1)], symbols={"M": samples}, tolerance=5e-6
        )
