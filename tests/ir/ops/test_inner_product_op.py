"""The fully connected product."""

from __future__ import annotations

import numpy as np
import pytest
from op_cases import f32, infer, normal, run

from netc.ir.diagnostics import OpError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.inner_product import InnerProductAttrs

PLAIN, TRANSPOSED = InnerProductAttrs(), InnerProductAttrs(transpose=True)
N = symbol("N")
X, W, B = f32(N, 6), f32(32, 6), f32(32)
BLOCKS = Blocked(0, 16)


def test_each_output_is_a_weighted_sum():
    x, w, b = normal(3, 4, seed=1), normal(5, 4, seed=2), normal(5, seed=3)
    y = run("nn.inner_product", (x, w, b), PLAIN)
    for m, n in np.ndindex(3, 5):
        assert y[m, n] == pytest.approx(b[n] + sum(x[m, k] * w[n, k] for k in range(4)))


def test_a_transposed_weight_is_the_same_product():
    x, w = normal(3, 4, seed=1), normal(5, 4, seed=2)
    expected = run("nn.inner_product", (x, w), PLAIN)
    np.testing.assert_allclose(run("nn.inner_product", (x, w.T), TRANSPOSED), expected, atol=1e-12)


@pytest.mark.parametrize("operands", [(X, W), (X, W, B), (X, W.with_layout(BLOCKS), B.with_layout(BLOCKS))])
def test_the_result_is_row_major(operands):
    assert infer("nn.inner_product", operands, PLAIN) == f32(N, 32)


@pytest.mark.parametrize(
    ("operands", "attrs", "message"),
    [
        ((f32(2, 3, 6), W), PLAIN, "a row-major input of (M, K) expected"),
        ((X.with_layout(Blocked(1, 2)), W), PLAIN, "a row-major input of (M, K) expected"),
        ((X, f32(32, 6, 1)), PLAIN, "a weight of rank 2 expected"),
        ((X, f32(32, 7)), PLAIN, "takes 7 values a sample, the input f32[N,6] has 6"),
        ((X, W), TRANSPOSED, "takes 32 values a sample"),
        ((X, W, f32(6)), PLAIN, "a bias of shape [32] expected"),
        ((X, W.with_layout(Blocked(1, 2))), PLAIN, "blocked on axis 0 expected"),
        ((X, f32(6, 32).with_layout(Blocked(0, 2))), TRANSPOSED, "blocked on axis 0 expected"),
        ((X, W, B.with_layout(BLOCKS)), PLAIN, "a bias that is row-major or blocked like the weight"),
    ],
)
def test_a_bad_inner_product_is_refused(operands, attrs, message):
    with pytest.raises(OpError) as caught:
        infer("nn.inner_product", operands, attrs)
    assert message in caught.value.message
