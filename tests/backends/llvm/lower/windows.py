"""Launches of convolutions, deconvolutions and pools for the tests of their kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from harness import check_launch, launch_of, random

from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.dim import evaluate, symbol
from netc.ir.layout import Blocked
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.elementwise import ReluAttrs
from netc.ir.types import TensorType

SYMBOLS = "NDHW"


@dataclass(frozen=True)
class Conv:
    """Shapes and settings; ``blocked`` for weights, bias and result, ``blocked_input`` for x."""

    shape: tuple[int, ...]
    outputs: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    group: int = 1
    blocked: bool = True
    blocked_input: bool = True
    bias: bool = True
    transposed: bool = False


def conv(
    shape: tuple[int, ...], outputs: int, kernel: int | tuple[int, ...], stride: int = 1, pad: Any = 0,
    dilation: int = 1, **options: Any,
) -> Conv:  # fmt: skip
    axes = len(shape) - 2
    pads = pad if isinstance(pad, tuple) else ((pad, pad),) * axes
    kernels = kernel if isinstance(kernel, tuple) else (kernel,) * axes
    return Conv(shape, outputs, kernels, (stride,) * axes, pads, (dilation,) * axes, **options)


def symbolic(shape: tuple[int, ...]) -> tuple[Any, dict[str, int]]:
    """Batch and spatial extents as symbols, and what they stand for."""
    names = ["N", *SYMBOLS[1 + (5 - len(shape)) :]]
    sizes = [shape[0], *shape[2:]]
    batch, *spatial = [symbol(n) for n in names]
    return (batch, shape[1], *spatial), dict(zip(names, sizes, strict=True))


def check_conv(
    case: Conv, *, block: int, symbols: bool = False, residual: bool = False, **options: Any
) -> None:
    """conv (+ residual sum) + leaky ReLU, compared with the reference."""
    shape, values = symbolic(case.shape) if symbols else (case.shape, {})
    channels = case.shape[1]
    if case.transposed:
        weight = (channels, case.outputs // case.group, *case.kernel)
        axis = 0 if case.group > 1 else 1
    else:
        weight = (case.outputs, channels // case.group, *case.kernel)
        axis = 0
    layout = Blocked(1, block)
    x = TensorType("f32", shape, layout if case.blocked_input else None)
    w = TensorType("f32", weight, Blocked(axis, block) if case.blocked else None)
    b = TensorType("f32", (case.outputs,), Blocked(0, block) if case.blocked else None)
    attrs = ConvAttrs(case.stride, case.pad, case.dilation, case.group)
    name = "nn.deconv" if case.transposed else "nn.conv"
    args = [x, w, b] if case.bias else [x, w]
    own = len(args)
    probe = FuncBuilder("probe")
    result = probe.add1(
        name, [probe.arg(f"p{i}", t, "input") for i, t in enumerate(args)], attrs, hint="y"
    ).type
    assert isinstance(result, TensorType)

    def build(builder: FuncBuilder, given: list[Value]) -> Value:
        y = builder.add1(name, given[:own], attrs, hint="y")
        if residual:
            y = builder.add1("math.add", [y, given[-1]], hint="sum")
        return builder.add1("math.relu", [y], ReluAttrs(0.1), hint="r")

    depth = int(np.prod(weight)) / case.outputs
    arrays = [random(case.shape), random(weight, 1) / np.float32(depth**0.5), random((case.outputs,), 2)]
    arrays = arrays[: len(args)]
    if residual:
        args = [*args, result]
        arrays.append(random(tuple(evaluate(d, values) for d in result.shape), 3))
    launch = launch_of(args, build)
    # rounding errors of a sum of n terms grow with the square root of n
    check_launch(launch, arrays, symbols=values, tolerance=2e-6 * max(1.0, depth**0.5 / 20), **options)
