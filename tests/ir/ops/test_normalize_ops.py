"""Local response normalisation and softmax."""

from __future__ import annotations

import numpy as np
import pytest
from op_cases import f32, infer, normal, run

from netc.ir.diagnostics import OpError
from netc.ir.layout import Blocked
from netc.ir.ops.normalize import LrnAttrs, SoftmaxAttrs

X = f32(2, 6, 3)


@pytest.mark.parametrize("size", [1, 3, 5, 13])
def test_lrn_divides_by_the_size_even_where_channels_are_missing(size):
    x = normal(2, 6, 3)
    attrs = LrnAttrs(size, 0.5, 0.75, 2.0)
    expected = np.zeros_like(x)
    for n, c, h in np.ndindex(x.shape):
        near = range(max(0, c - size // 2), min(6, c + size // 2 + 1))
        total = sum(x[n, j, h] ** 2 for j in near)
        expected[n, c, h] = x[n, c, h] / (2.0 + 0.5 / size * total) ** 0.75
    np.testing.assert_allclose(run("nn.lrn", (x,), attrs), expected, rtol=1e-12)


def test_lrn_keeps_a_layout_blocked_by_channels():
    blocked = X.with_layout(Blocked(1, 4))
    assert infer("nn.lrn", (blocked,), LrnAttrs(5, 1.0, 0.75, 1.0)) == blocked


@pytest.mark.parametrize(
    ("x", "size", "attr", "message"),
    [
        (X, 4, "size", "size must be odd and >= 1, got 4"),
        (X, 0, "size", "got 0"),
        (X, -1, "size", "got -1"),
        (f32(6), 3, None, "an input of (N, C, ...) expected"),
        (X.with_layout(Blocked(2, 2)), 3, None, "blocked by channels expected"),
    ],
)
def test_a_bad_lrn_is_refused(x, size, attr, message):
    with pytest.raises(OpError) as caught:
        infer("nn.lrn", (x,), LrnAttrs(size, 1.0, 0.75, 1.0))
    assert message in caught.value.message
    assert caught.value.attr == attr


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax_sums_to_one_along_its_axis_and_keeps_ratios(axis):
    x = normal(2, 6, 3)
    y = run("nn.softmax", (x,), SoftmaxAttrs(axis))
    np.testing.assert_allclose(y.sum(axis=axis), 1, rtol=1e-12)
    np.testing.assert_allclose(
        np.log(y) - x, (np.log(y) - x).mean(axis=axis, keepdims=True) + 0 * x, atol=1e-12
    )


def test_softmax_of_large_numbers_does_not_overflow():
    y = run("nn.softmax", (np.array([[1e30, 0, -1e30], [200, 200, 200]], np.float32),), SoftmaxAttrs(1))
    np.testing.assert_allclose(y, [[1, 0, 0], [1 / 3] * 3], rtol=1e-6)


def test_a_bad_softmax_is_refused():
    for axis in (-1, 3):
        with pytest.raises(OpError, match="axis must be within") as caught:
            infer("nn.softmax", (X,), SoftmaxAttrs(axis))
        assert caught.value.attr == "axis"
    with pytest.raises(OpError, match="row-major"):
        infer("nn.softmax", (X.with_layout(Blocked(1, 4)),), SoftmaxAttrs(1))
