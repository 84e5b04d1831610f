"""Inner product kernels against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from harness import LANES, TARGETS, check_launch, launch_of, random

from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.elementwise import ReluAttrs
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.types import TensorType

SIZES = [
    (1, 100, 37),
    (3, 100, 37),
    (16, 33, 64),
    (20, 100, 37),
    (16, 2000, 70),
    (1, 64, 48),
    (1, 300, 300),
    (2, 5, 1),
    (7, 4100, 9),
    (30, 9000, 5),
]


def check(samples, depth, outputs, form, *, bias=True, symbols=False, **options):
    transpose = form == "transposed"
    block = LANES[options.get("target", "cpu:avx512")]
    layout = Blocked(0, block) if form == "blocked" else None
    shape = (depth, outputs) if transpose else (outputs, depth)
    rows = symbol("M") if symbols else samples
    args = [TensorType("f32", (rows, depth)), TensorType("f32", shape, layout)]
    arrays = [random((samples, depth)), random(shape, 1) / np.float32(depth**0.5)]
    if bias:
        args.append(TensorType("f32", (outputs,), layout))
        arrays.append(random((outputs,), 2))

    def build(builder, given):
        y = builder.add1("nn.inner_product", given, InnerProductAttrs(transpose), hint="y")
        return builder.add1("math.relu", [y], ReluAttrs(0.1), hint="r")

    values = {"M": samples} if symbols else {}
    check_launch(launch_of(args, build), arrays, tolerance=5e-6, symbols=values, **options)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", ["blocked", "transposed", "rows"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_inner_product_computes_what_the_reference_does(size, form, target):
    check(*size, form, target=target)


@pytest.mark.parametrize("form", ["blocked", "transposed", "rows"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_one_kernel_of_an_inner_product_serves_any_batch(size, form):
    check(*size, form, symbols=True, threads=(2,))


@pytest.mark.parametrize("form", ["blocked", "transposed", "rows"])
def test_an_inner_product_without_bias_computes_what_the_reference_does(form):
    check(4, 40, 24, form, bias=False)
