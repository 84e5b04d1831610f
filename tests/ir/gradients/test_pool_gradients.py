"""Gradients of poolings: where windows overlap, overhang, or are tied."""

from __future__ import annotations

import numpy as np
import pytest
from finite_differences import check_rule, gradients
from op_cases import f32, infer, normal, run, square_pool

from netc.ir.diagnostics import OpError
from netc.ir.layout import Blocked
from netc.ir.ops.pool import LOWEST, GlobalPoolAttrs, PoolAttrs
from netc.ir.ops.pool_gradient import PoolGradientAttrs
from netc.ir.types import TensorType

WINDOWS = [
    ((5, 6), (2, 2), (2, 2), ((0, 0), (0, 0)), "ceil"),
    ((7, 6), (3, 3), (2, 2), ((0, 0), (0, 0)), "ceil"),
    ((7, 6), (3, 2), (1, 2), ((1, 1), (0, 1)), "ceil"),
    ((6, 7), (3, 3), (2, 2), ((1, 1), (1, 1)), "floor"),
    ((4, 4), (2, 1), (3, 3), ((0, 0), (0, 0)), "ceil"),
    ((9,), (4,), (3,), ((2, 1),), "ceil"),
]


@pytest.mark.parametrize(("spatial", "kernel", "stride", "pad", "rounding"), WINDOWS)
@pytest.mark.parametrize("kind", ["max", "ave"])
@pytest.mark.parametrize("count", [True, False])
def test_the_gradient_of_a_pooling_is_its_derivative(spatial, kernel, stride, pad, rounding, kind, count):
    attrs = PoolAttrs(kind, kernel, stride, pad, rounding, count)
    check_rule("nn.pool", [normal(2, 2, *spatial)], attrs)


@pytest.mark.parametrize("kind", ["max", "ave"])
def test_the_gradient_of_a_global_pooling_is_its_derivative(kind):
    check_rule("nn.global_pool", [normal(2, 3, 4, 5)], GlobalPoolAttrs(kind))
    check_rule("nn.global_pool", [normal(2, 3, 6)], GlobalPoolAttrs(kind))


def test_of_equal_maxima_the_first_takes_the_gradient():
    x, seed = np.zeros((1, 1, 2, 3)), np.ones((1, 1, 1, 2))
    (dx,) = gradients("nn.pool", [x], square_pool("max", 2, 1), seed)
    np.testing.assert_array_equal(dx[0, 0], [[1, 1, 0], [0, 0, 0]])
    (dx,) = gradients("nn.global_pool", [x], GlobalPoolAttrs("max"), np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(dx[0, 0], [[1, 0, 0], [0, 0, 0]])


def test_a_window_without_a_maximum_gives_its_gradient_to_no_element():
    for x in (np.full((1, 1, 2, 2), np.nan), np.full((1, 1, 2, 2), LOWEST)):
        (dx,) = gradients("nn.pool", [x], square_pool("max", 2, 1), np.ones((1, 1, 1, 1)))
        np.testing.assert_array_equal(dx, 0)
        (dx,) = gradients("nn.global_pool", [x], GlobalPoolAttrs("max"), np.ones((1, 1, 1, 1)))
        np.testing.assert_array_equal(dx, 0)


def test_the_recorded_form_pools_as_the_op_it_stands_in_for():
    x, attrs = normal(2, 3, 7, 7), square_pool("max", 3, 2, 1)
    np.testing.assert_array_equal(run("nn.max_pool_choice", (x,), attrs), run("nn.pool", (x,), attrs))


def test_a_gradient_has_the_layout_of_what_it_comes_from():
    dy = TensorType("f32", (2, 32, 3, 3), Blocked(1, 16))
    choice = TensorType("u8", dy.shape, dy.layout)
    attrs = PoolGradientAttrs.of(square_pool("max", 3, 2), (7, 7))
    expected = TensorType("f32", (2, 32, 7, 7), Blocked(1, 16))
    assert infer("nn.max_pool_gradient", (dy, choice), attrs) == expected
    with pytest.raises(OpError, match="choices of the pooling"):
        infer("nn.max_pool_gradient", (dy, TensorType("u8", dy.shape)), attrs)


def test_a_gradient_that_the_pooling_cannot_have_is_refused():
    attrs = PoolGradientAttrs.of(square_pool("ave", 3, 2), (7, 7))
    with pytest.raises(OpError, match="a gradient of this type expected"):
        infer("nn.ave_pool_gradient", (f32(2, 3, 4, 4),), attrs)
    with pytest.raises(OpError, match="spatial needs one entry for each of 1 spatial axes"):
        infer("nn.ave_pool_gradient", (f32(2, 3, 4),), attrs)
    with pytest.raises(OpError, match="kind must be max"):
        infer("nn.max_pool_choice", (f32(2, 3, 7, 7),), square_pool("ave", 3, 2))
    with pytest.raises(OpError, match="a gradient"):
        infer("nn.global_max_gradient", (f32(2, 3, 4, 4), f32(2, 3, 4, 4)))
