"""Gradients of normalisations and of the softmax loss."""

from __future__ import annotations

import numpy as np
import pytest
from finite_differences import check_rule, gradients
from op_cases import f32, infer, normal, run

from netc.ir.diagnostics import NetcError, OpError
from netc.ir.ops.loss import SoftmaxLossAttrs
from netc.ir.ops.normalize import LrnAttrs, SoftmaxAttrs
from netc.ir.ops.reduce import MomentsAttrs


@pytest.mark.parametrize(
    "attrs", [LrnAttrs(5, 2.0, 0.75, 1.0), LrnAttrs(3, 0.5, 0.4, 2.0), LrnAttrs(1, 1.0, 1.0, 1.0)]
)
@pytest.mark.parametrize("shape", [(2, 6), (1, 7, 2, 2), (2, 2, 3)])
def test_the_gradient_of_a_local_response_normalisation_is_its_derivative(attrs, shape):
    check_rule("nn.lrn", [normal(*shape)], attrs)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_gradient_of_a_softmax_is_its_derivative(axis):
    check_rule("nn.softmax", [normal(3, 4, 2)], SoftmaxAttrs(axis))


@pytest.mark.parametrize(("shape", "axis"), [((4, 5), 1), ((2, 4, 3), 1), ((5, 3), 0)])
def test_the_gradient_of_a_softmax_loss_is_its_derivative(shape, axis):
    positions = (*shape[:axis], *shape[axis + 1 :])
    label = np.random.default_rng(0).integers(0, shape[axis], positions).astype(float)
    check_rule("nn.softmax_loss", [normal(*shape), label], SoftmaxLossAttrs(axis))


@pytest.mark.parametrize("axes", [(0,), (0, 2), (2,)])
@pytest.mark.parametrize("results", [1, 2])
def test_the_gradient_of_mean_and_variance_is_their_derivative(axes, results):
    check_rule("nn.moments", [normal(3, 2, 4)], MomentsAttrs(axes), results=results)


def test_positions_that_are_ignored_or_no_class_have_no_gradient():
    x, label = normal(5, 3), np.array([0.0, 2.0, 1.0, -1.0, 3.0])
    (dx,) = gradients("nn.softmax_loss", [x, label], SoftmaxLossAttrs(1, 2), np.ones(5))
    assert not dx[[1, 3, 4]].any()
    assert dx[[0, 2]].all()
    check_rule("nn.softmax_loss", [x, label], SoftmaxLossAttrs(1, 2))


def test_a_probability_of_0_still_has_a_gradient():
    x = np.array([[-1000.0, 0.0]])
    (dx,) = gradients("nn.softmax_loss", [x, np.zeros(1)], SoftmaxLossAttrs(1), np.ones(1))
    np.testing.assert_array_equal(dx, [[-1, 1]])


def test_labels_have_no_gradient():
    with pytest.raises(NetcError, match="labels have no gradient"):
        gradients("nn.softmax_loss", [normal(2, 3), np.zeros(2)], SoftmaxLossAttrs(1), np.ones(2), wrt=(1,))


def test_a_gradient_that_does_not_fit_is_refused():
    with pytest.raises(OpError, match="a gradient of the type of the input"):
        infer("nn.lrn_gradient", (f32(2, 3), f32(2, 4)), LrnAttrs(3, 1.0, 0.75, 1.0))
    with pytest.raises(OpError, match="a gradient for each position"):
        infer("nn.softmax_loss_gradient", (f32(2, 3), f32(2), f32(2, 3)), SoftmaxLossAttrs(1))


def test_the_gradients_of_the_scores_of_a_position_add_up_to_0():
    x, label = normal(6, 4), np.array([0.0, 1, 2, 3, 0, 1])
    dx = run("nn.softmax_loss_gradient", (x, label, np.full(6, 2.0)), SoftmaxLossAttrs(1))
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=1e-14)
