"""Arithmetic of two inputs and reductions, against NumPy on the same axes."""

import numpy as np
import pytest

RNG = np.random.default_rng(4)
A, B = RNG.standard_normal((2, 3, 4)).astype("f4"), RNG.uniform(0.5, 2, (3, 1)).astype("f4")


def layer(type_: str, settings: str = "", bottoms: str = "a") -> str:
    names = " ".join(f'bottom: "{b}"' for b in bottoms.split())
    return f'layer {{ name: "l" type: "{type_}" {names} top: "y" {settings} }}'


@pytest.mark.parametrize(
    ("type_", "function"),
    [
        ("Add", np.add),
        ("Sub", np.subtract),
        ("Div", np.divide),
        ("Maximum", np.maximum),
        ("Minimum", np.minimum),
    ],
)
def test_two_inputs_are_broadcast_as_in_numpy(run_layer, type_, function):
    np.testing.assert_allclose(run_layer(layer(type_, "", "a b"), a=A, b=B)[0], function(A, B), rtol=1e-6)
    np.testing.assert_allclose(
        run_layer(layer(type_, "", "b a"), a=A, b=A + 3)[0], function(A + 3, A), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("type_", "field", "function"),
    [
        ("ReduceSum", "reduce_sum_param", np.sum),
        ("ReduceMean", "reduce_mean_param", np.mean),
        ("ReduceMax", "reduce_max_param", np.max),
        ("ReduceMin", "reduce_min_param", np.min),
        ("ReduceL1", "reduce_l1_param", lambda x, axis, keepdims: np.abs(x).sum(axis, keepdims=keepdims)),
        (
            "ReduceL2",
            "reduce_l2_param",
            lambda x, axis, keepdims: np.sqrt((x * x).sum(axis, keepdims=keepdims)),
        ),
    ],
)
@pytest.mark.parametrize(("axes", "keep"), [((1,), False), ((-1, 0), True), ((), False)])
def test_reductions_are_those_of_numpy(run_layer, type_, field, function, axes, keep):
    name = "axes" if type_ in ("ReduceL1", "ReduceL2") else "axis"
    flag = int(keep) if name == "axes" else str(keep).lower()
    stated = " ".join(f"{name}: {axis}" for axis in axes)
    (y,) = run_layer(layer(type_, f"{field} {{ {stated} keepdims: {flag} }}"), a=A)
    expected = function(A, axis=axes or None, keepdims=keep)
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("Add", "", "a b").replace('bottom: "a"', 'bottom: @"a"'),
            "2x3x4 and 2x4 do not go together: axis 1 differs",
        ),
        (
            layer("ReduceMax", "reduce_max_param { axis: @3 }"),
            "axis 3 is not an axis of an input with 3 axes",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, a=A.shape, b=(2, 4)) == message
