"""Elementwise maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from op_cases import f32, infer, run

from netc.ir.diagnostics import OpError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.elementwise import AffineAttrs, EluAttrs, PowAttrs, ReluAttrs
from netc.ir.types import TensorType

N = symbol("N")
POINTS = [-3.0, -0.5, 0.0, 0.25, 2.0]


@pytest.mark.parametrize(
    ("op", "attrs", "function"),
    [
        ("math.relu", ReluAttrs(), lambda x: max(x, 0)),
        ("math.relu", ReluAttrs(0.1), lambda x: x if x > 0 else 0.1 * x),
        ("math.elu", EluAttrs(0.5), lambda x: x if x > 0 else 0.5 * (math.exp(x) - 1)),
        ("math.sigmoid", None, lambda x: 1 / (1 + math.exp(-x))),
        ("math.tanh", None, math.tanh),
        ("math.abs", None, abs),
        ("math.exp", None, math.exp),
        ("math.affine", AffineAttrs(2.0, -1.0), lambda x: 2 * x - 1),
        ("math.pow", PowAttrs(2.0), lambda x: x * x),
        ("math.pow", PowAttrs(3.0), lambda x: x**3),
        ("math.sign", None, lambda x: (x > 0) - (x < 0)),
        ("math.reciprocal_or_zero", None, lambda x: 1 / x if x else 0),
    ],
)
def test_a_map_is_its_function_of_every_element(op, attrs, function):
    np.testing.assert_allclose(run(op, (np.array(POINTS),), attrs), [function(x) for x in POINTS], atol=1e-15)


def test_a_sigmoid_does_not_overflow():
    with np.errstate(all="raise"):
        y = run("math.sigmoid", (np.array([-1e4, 1e4], np.float32),))
    np.testing.assert_array_equal(y, [0, 1])


def test_a_broken_power_of_a_negative_number_is_not_a_number():
    assert np.isnan(run("math.pow", (np.array([-2.0]),), PowAttrs(0.5)))
    assert np.isnan(run("math.log", (np.array([-2.0]),)))


def test_what_is_not_a_number_has_no_sign():
    np.testing.assert_array_equal(run("math.sign", (np.array([np.nan, -np.inf]),)), [0, -1])


def test_a_slope_per_channel_scales_negative_elements():
    x = np.array([[-2.0, -2.0], [3.0, 3.0]])
    np.testing.assert_array_equal(run("math.prelu", (x, np.array([[0.5, 0.25]]))), [[-1, -0.5], [3, 3]])


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_a_relu_of_infinities_is_a_number(slope):
    x = np.array([-np.inf, np.inf, np.nan], np.float32)
    expected = [-np.inf if slope else 0, np.inf, np.nan]
    np.testing.assert_array_equal(run("math.relu", (x,), ReluAttrs(slope)), expected)


def test_an_infinite_slope_leaves_positive_elements_alone():
    x = np.array([-2.0, 3.0, np.inf, np.nan], np.float32)
    slope = np.array([np.inf], np.float32)
    np.testing.assert_array_equal(run("math.prelu", (x, slope)), [-np.inf, 3, np.inf, np.nan])


def test_extents_of_one_stretch():
    assert infer("math.add", (f32(N, 3, 1), f32(1, 3, 5))) == f32(N, 3, 5)
    assert infer("math.add", (f32(N, 1), f32(N, N))) == f32(N, N)


def test_on_a_blocked_layout_a_constant_channel_may_be_row_major():
    x = f32(2, 32, 5).with_layout(Blocked(1, 16))
    for y in (x, f32(2, 1, 5), f32(1, 1, 1), f32(1, 32, 1).with_layout(Blocked(1, 16))):
        assert infer("math.mul", (x, y)) == x
        assert infer("math.mul", (y, x)) == x


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (f32(2, 3), TensorType("f64", (2, 3)), "operands of one dtype expected, got f32 and f64"),
        (f32(2, 3), f32(3), "operands of one rank expected"),
        (f32(2, 3), f32(2, 4), "axis 1 has 3 elements in f32[2,3] and 4 in f32[2,4]"),
        (f32(N, 3), f32(2, 3), "axis 0 has N elements"),
        (f32(2, 32).with_layout(Blocked(1, 16)), f32(1, 32), "operands of one layout expected"),
        (
            f32(2, 32).with_layout(Blocked(1, 16)),
            f32(2, 32).with_layout(Blocked(1, 8)),
            "operands of one layout",
        ),
    ],
)
def test_operands_that_do_not_fit_are_refused(x, y, message):
    with pytest.raises(OpError) as caught:
        infer("math.add", (x, y))
    assert message in caught.value.message
