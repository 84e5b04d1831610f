"""softmax_loss, accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from op_cases import f32, infer, normal, run

from netc.ir.diagnostics import OpError
from netc.ir.ops.loss import AccuracyAttrs, SoftmaxLossAttrs


def test_the_softmax_loss_is_minus_the_log_of_the_labels_probability():
    x, label = normal(2, 3, 4), np.array([[0, 1, 2, 0], [2, 2, 1, 0]], float)
    loss = run("nn.softmax_loss", (x, label), SoftmaxLossAttrs(1))
    for n in range(2):
        for s in range(4):
            p = np.exp(x[n, :, s]) / np.exp(x[n, :, s]).sum()
            assert loss[n, s] == pytest.approx(-np.log(p[int(label[n, s])]))


def test_no_loss_exceeds_that_of_the_smallest_float_and_ignored_labels_have_none():
    x = np.array([[0.0, 1000], [0, 0], [0, 0]], np.float32)
    loss = run("nn.softmax_loss", (x, np.array([0, 7, 255], np.float32)), SoftmaxLossAttrs(1, 255))
    np.testing.assert_allclose(loss, [87.33655, 87.33655, 0], rtol=1e-6)


def test_accuracy_counts_ties_against_the_label():
    x, label = np.array([[1.0, 1, 0], [2, 1, 0], [0, 0, 0]]), np.array([0.0, 0, 2])
    assert run("nn.accuracy", (x, label), AccuracyAttrs(1)) == pytest.approx(1 / 3)
    assert run("nn.accuracy", (x, label), AccuracyAttrs(1, top_k=2)) == pytest.approx(2 / 3)
    assert run("nn.accuracy", (x, label), AccuracyAttrs(1, top_k=3)) == 1


def test_accuracy_per_class_is_0_for_a_class_without_labels_and_nothing_ignored_counts():
    x, label = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]]), np.array([0.0, 1, 1, 2])
    attrs = AccuracyAttrs(1, ignore=2, per_class=True)
    np.testing.assert_array_equal(run("nn.accuracy", (x, label), attrs), [1, 0.5, 0])
    assert run("nn.accuracy", (x, label), AccuracyAttrs(1, ignore=2)) == pytest.approx(2 / 3)
    assert run("nn.accuracy", (x, np.full(4, 2.0)), AccuracyAttrs(1, ignore=2)) == 0


@pytest.mark.parametrize(
    ("op", "operands", "attrs", "faulty", "message"),
    [
        ("nn.softmax_loss", (f32(2, 3), f32(2)), SoftmaxLossAttrs(2), "axis", "within 0..1"),
        ("nn.softmax_loss", (f32(2, 3), f32(3)), SoftmaxLossAttrs(1), None, r"labels f32\[2\] expected"),
        ("nn.accuracy", (f32(2, 3), f32(2)), AccuracyAttrs(1, top_k=0), "top_k", ">= 1, got 0"),
        ("nn.accuracy", (f32(2, 3, 4), f32(2, 3)), AccuracyAttrs(1), None, r"labels f32\[2,4\] expected"),
    ],
)
def test_bad_operands_and_attributes_are_refused(op, operands, attrs, faulty, message):
    with pytest.raises(OpError, match=message) as caught:
        infer(op, operands, attrs)
    assert caught.value.attr == faulty
