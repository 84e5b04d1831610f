"""Kernels of fractionally strided convolutions against the reference."""

from __future__ import annotations

from typing import Any

import pytest
from harness import LANES, TARGETS, check_launch, launch_of, random
from windows import symbolic

from netc.ir.builder import FuncBuilder, infer_types
from netc.ir.core import Value
from netc.ir.dim import evaluate
from netc.ir.layout import Blocked
from netc.ir.ops.conv import FractionalConvAttrs
from netc.ir.types import TensorType

# shape, outputs, kernel, spread, pad
CASES = [
    ((2, 20, 5, 6), 36, (4, 4), (2, 2), ((2, 2), (2, 2))),
    ((2, 32, 7, 7), 48, (1, 1), (2, 2), ((0, 1), (0, 1))),
    ((1, 16, 4, 30), 20, (3, 3), (2, 2), ((1, 1), (1, 2))),
    ((1, 16, 3, 3), 16, (2, 2), (3, 3), ((1, 3), (0, 1))),
    ((1, 300, 3, 5), 16, (5, 3), (4, 1), ((4, 4), (0, 2))),
    ((1, 16, 1, 1), 64, (3, 3), (2, 2), ((3, 3), (3, 3))),
    ((1, 16, 6, 1), 16, (3, 3), (1, 2), ((2, 2), (4, 1))),
]


def check(case: Any, *, block: int, symbols: bool = False, rows: bool = False, **options: Any) -> None:
    """fractional conv + residual sum."""
    extents, outputs, kernel, spread, pad = case
    shape, values = symbolic(extents) if symbols else (extents, {})
    x = TensorType("f32", shape, None if rows else Blocked(1, block))
    w = TensorType("f32", (outputs, extents[1], *kernel), Blocked(0, block))
    b = TensorType("f32", (outputs,), Blocked(0, block))
    attrs = FractionalConvAttrs(spread, pad)
    operands = tuple(Value(f"v{i}", t) for i, t in enumerate((x, w, b)))
    (y,) = infer_types("nn.fractional_conv", operands, attrs)

    def build(builder: FuncBuilder, given: list[Value]) -> Value:
        made = builder.add1("nn.fractional_conv", given[:3], attrs, hint="y")
        return builder.add1("math.add", [made, given[3]], hint="sum")

    arrays = [random(t.static_shape, i) for i, t in enumerate((w, b))]
    residual = random(tuple(evaluate(d, values) for d in y.shape), 9)
    launch = launch_of([x, w, b, y], build)
    check_launch(launch, [random(extents, 8), *arrays, residual], symbols=values, **options)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fractional_convolution_computes_what_the_reference_does(case, target):
    check(case, block=LANES[target], target=target)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_kernel_serves_any_size(case):
    check(case, block=16, symbols=True, threads=(2,))


@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_the_input_may_be_row_major(case):
    check(case, block=16, rows=True, threads=(2,))
