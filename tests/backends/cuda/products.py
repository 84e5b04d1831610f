"""Launches of matrix products alone, and arrays for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from harness import launch_of, one_op, random
from windows import Conv

from netc.ir.builder import infer_types
from netc.ir.core import Op, Value
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.conv_gradient import ConvWeightGradientAttrs
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.types import BufferType, TensorType


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
    channels = case.shape[1]
    weight = (case.outputs, channels // case.group, *case.kernel)
    if case.transposed:
        weight = (channels, case.outputs // case.group, *case.kernel)
    attrs = ConvAttrs(case.stride, case.pad, case.dilation, case.group)
    return [TensorType("f32", case.shape), TensorType("f32", weight)], attrs


def inner_product_launch(samples: int, depth: int, outputs: int, transpose: bool = False) -> Op:
    weight = (depth, outputs) if transpose else (outputs, depth)
    args = [TensorType("f32", shape) for shape in ((samples, depth), weight)]
    return launch_of(args, one_op("nn.inner_product", InnerProductAttrs(transpose)))


def operands(launch: Op) -> list[Any]:
    """Arrays for what a launch reads."""
    shapes = []
    for value in launch.operands[: len(launch.operands) - launch.attrs.writes]:
        assert isinstance(value.type, BufferType)
        shapes.append(value.type.tensor.static_shape)
    return [random(shape, i) for i, shape in enumerate(shapes)]


def zeros(launch: Op) -> list[Any]:
    """Arrays for all of a launch's operands."""
    found = []
    for value in launch.operands:
        assert isinstance(value.type, BufferType)
        found.append(np.zeros(value.type.tensor.static_shape, np.float32))
    return found
