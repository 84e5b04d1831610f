"""Every op has a gradient or says that it has none, and every gradient is the derivative of the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from finite_differences import check_rule, gradients
from op_cases import CASES, Case, normal, square_pool

import netc.ir.gradients  # noqa: F401  # fills the rules
from netc.ir.diagnostics import NetcError
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, NoAttrs, all_opdefs, opdef
from netc.ir.ops.elementwise import ClipAttrs, EluAttrs, ReluAttrs, SqrtAttrs
from netc.ir.ops.im2col import Im2colAttrs
from netc.ir.ops.pad import PadAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.resize import MaxUnpoolAttrs
from netc.ir.ops.roi import PsRoiPoolAttrs, RoiPoolAttrs

# made by passes that come after differentiation
LATER = {"fusion", "layout.convert", "nn.correlation", "nn.resample", "nn.warp"}
# the operand that says where, not how much: it has no gradient
WHERE = {
    "nn.max_unpool": np.random.default_rng(0).permuted(np.tile(np.arange(72.0), (2, 3, 1)), axis=2)[..., :20],
    "nn.ps_roi_pool": np.array([[0.0, 0, 0, 9, 7], [8, 2, 1, 12, 10], [3, 5, 5, 5, 5]]),
    "nn.roi_pool": np.array([[0.0, 0, 0, 9, 7], [8, 2, 1, 12, 10], [0, 5, 5, 5, 5]]),
    "nn.softmax_loss": None,
    "nn.stochastic_pool": np.random.default_rng(0).random((2, 3, 2, 3)),
    "nn.stochastic_pool_choice": np.random.default_rng(0).random((2, 3, 2, 3)),
    "tensor.select": np.array([1.0, 0, -2, 0]),
    "tensor.take": np.array([0.0, 3, 1, 1, -1, 4]),
}
DIFFERENTIABLE = [case for case in CASES if case.operands and callable(opdef(case.op).vjp)]


def operands_of(case: Case) -> list[Array]:
    """Numbers away from 0, where kinks and poles are."""
    values = [normal(*shape, seed=i) for i, shape in enumerate(case.operands)]
    values = [np.abs(v) + 0.1 if case.positive else v + 0.05 * np.sign(v) for v in values]
    if case.op == "nn.softmax_loss":
        values[1] = np.random.default_rng(0).integers(0, case.operands[0][1], case.operands[1]).astype(float)
    elif case.op in WHERE:
        values[1] = np.reshape(WHERE[case.op], case.operands[1])
    return values


def test_every_tensor_op_has_a_rule_or_says_that_it_has_none():
    missing = {d.name for d in all_opdefs() if d.level == "tensor" and d.vjp is None}
    assert missing == LATER


@pytest.mark.parametrize(
    "case", [c for c in DIFFERENTIABLE if c.op != "math.stop_gradient" and c.op != "tensor.count"], ids=str
)
def test_a_gradient_is_the_derivative_of_the_reference(case):
    wrt = [i for i in range(len(case.operands)) if i == 0 or case.op not in WHERE]
    check_rule(case.op, operands_of(case), case.attrs, wrt=wrt)


@pytest.mark.parametrize(
    ("op", "shapes", "attrs"),
    [
        ("math.elu", [(3, 4)], EluAttrs(1.0)),
        ("math.relu", [(3, 4)], ReluAttrs(-0.5)),
        ("tensor.reduce", [(2, 3, 4)], ReduceAttrs("max", (1,))),
        ("tensor.reduce", [(2, 3, 4)], ReduceAttrs("mean", (0, 2))),
        ("tensor.pad", [(3, 4)], PadAttrs((2, 3), (1, 2), "reflect")),
        ("tensor.pad", [(3, 4)], PadAttrs((2, 0), (1, 5), "edge")),
        ("nn.im2col", [(2, 3, 9)], Im2colAttrs((3,), (2,), ((1, 2),), (2,))),
        ("nn.im2col", [(1, 2, 4, 3, 5)], Im2colAttrs((2, 1, 3), (1,) * 3, ((0, 0),) * 3, (1,) * 3)),
    ],
)
def test_more_gradients_are_derivatives(op: str, shapes: Any, attrs: Any) -> None:
    check_rule(op, [normal(*shape, seed=3) for shape in shapes], attrs)


def one(op: str, *arrays: Any, attrs: Any = None, wrt: int = 0) -> Array:
    """The gradient of the sum of an op's result."""
    operands = [np.array(a, np.float64) for a in arrays]
    shape = np.broadcast_shapes(*(a.shape for a in operands))
    return gradients(op, operands, NoAttrs() if attrs is None else attrs, np.ones(shape), wrt=[wrt])[0]


def test_at_a_kink_the_gradient_is_the_one_of_the_original():
    np.testing.assert_array_equal(one("math.abs", [-2, 0, 3]), [-1, 0, 1])
    np.testing.assert_array_equal(one("math.relu", [0.0], attrs=ReluAttrs(0.25)), [0.25])
    np.testing.assert_array_equal(one("math.elu", [0.0], attrs=EluAttrs(0.5)), [0.5])
    np.testing.assert_array_equal(
        one("math.clip", [-2, -1, 0, 1, 2], attrs=ClipAttrs(-1, 1)), [0, 1, 1, 1, 0]
    )
    np.testing.assert_array_equal(one("math.max", [1.0, 2.0], [1.0, 1.0]), [0, 1])
    np.testing.assert_array_equal(one("math.max", [1.0, 2.0], [1.0, 1.0], wrt=1), [1, 0])


def test_a_straight_clip_passes_the_gradient_of_what_it_cuts():
    np.testing.assert_array_equal(one("math.clip", [-2, 0], attrs=ClipAttrs(-1, 1, straight=True)), [1, 1])


def test_a_root_with_a_shift_has_a_finite_gradient_at_0():
    np.testing.assert_allclose(one("math.sqrt", [0.0, 1.0], attrs=SqrtAttrs(0.25)), [2, 0.4])


def test_a_row_taken_twice_gets_both_gradients():
    table, rows = np.zeros((3, 2)), np.array([2.0, 0, 2, 7])
    seed = np.arange(8.0).reshape(4, 2)
    (got,) = gradients("tensor.take", [table, rows], NoAttrs(), seed)
    np.testing.assert_array_equal(got, [[2, 3], [0, 0], [4, 6]])


@pytest.mark.parametrize("op", ["tensor.take", "tensor.select"])
def test_what_says_where_has_no_gradient(op):
    with pytest.raises(NetcError, match="have no gradient"):
        gradients(op, [np.zeros((3, 2)), np.ones(3)], NoAttrs(), np.zeros((3, 2)), wrt=[1])


@pytest.mark.parametrize(
    ("op", "attrs", "result"),
    [
        ("nn.roi_pool", RoiPoolAttrs((2, 2), 1.0), (2, 4, 2, 2)),
        ("nn.ps_roi_pool", PsRoiPoolAttrs(1, 2, 1.0), (2, 1, 2, 2)),
    ],
)
def test_regions_get_zeros(op: str, attrs: Any, result: tuple[int, ...]) -> None:
    rois = np.array([[0.0, 0, 0, 3, 3], [0, 1, 1, 2, 2]])
    (got,) = gradients(op, [normal(1, 4, 5, 5), rois], attrs, np.ones(result), wrt=[1])
    np.testing.assert_array_equal(got, np.zeros((2, 5)))


def test_unpooling_gives_the_gradient_of_an_element_named_twice_to_both():
    x, mask = np.ones((1, 1, 1, 2)), np.full((1, 1, 1, 2), 3.0)
    seed = np.arange(4.0).reshape(1, 1, 2, 2)
    (got,) = gradients("nn.max_unpool", [x, mask], MaxUnpoolAttrs((2, 2)), seed)
    np.testing.assert_array_equal(got, [[[[3, 3]]]])


def test_a_window_without_a_drawn_element_gives_its_gradient_to_none():
    x, u = np.zeros((1, 1, 2, 2)), np.full((1, 1, 1, 1), 0.5)
    (got,) = gradients("nn.stochastic_pool", [x, u], square_pool("max", 2, 1), np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(got, np.zeros((1, 1, 2, 2)))


def test_gradients_of_gradients_are_refused():
    backward = [
        d.name for d in all_opdefs() if d.name.endswith("_gradient") and d.name != "math.stop_gradient"
    ]
    assert len(backward) > 8
    assert all(opdef(name).vjp is NOT_DIFFERENTIABLE for name in backward)
