"""Elementwise layers of forks, number by number."""

import math

import numpy as np
import pytest

X = np.random.default_rng(3).standard_normal((2, 3, 4, 2)).astype("f4") * 3


def layer(type_: str, settings: str = "") -> str:
    return f'layer {{ name: "l" type: "{type_}" bottom: "x" top: "y" {settings} }}'


def selu(x, alpha=1.6732632423543772, scale=1.0507009873554805):
    return scale * (x if x > 0 else alpha * (math.exp(x) - 1))


@pytest.mark.parametrize(
    ("text", "function"),
    [
        (layer("SELU"), selu),
        (layer("SeLu", "selu_param { lambda: 2 alpha: 0.5 }"), lambda x: selu(x, 0.5, 2)),
        (layer("Mish"), lambda x: x * math.tanh(math.log(1 + math.exp(x)))),
        (layer("Softplus"), lambda x: math.log(1 + math.exp(x))),
        (layer("Softsign"), lambda x: x / (1 + abs(x))),
        (
            layer("ScaledTanH", "scaled_tanh_param { alpha: 1.7 beta: 0.6 }"),
            lambda x: 1.7 * math.tanh(0.6 * x),
        ),
        (layer("HardTanH"), lambda x: min(max(x, -1), 1)),
        (layer("ThresholdedReLU", "thresholded_relu_param { alpha: 0.8 }"), lambda x: x if x > 0.8 else 0),
        (layer("SeLUDropout"), lambda x: x),
        (layer("SpatialDropout"), lambda x: x),
        (
            layer("Python", 'python_param { module: "spatial_dropout" layer: "SpatialDropoutLayer" }'),
            lambda x: x,
        ),
    ],
)
def test_every_element_is_that_of_the_formula(run_layer, text, function):
    (y,) = run_layer(text, x=X)
    np.testing.assert_allclose(
        y, np.vectorize(function, otypes=[float])(X.astype(float)), rtol=1e-5, atol=1e-6
    )


def test_crelu_keeps_both_halves(run_layer):
    (y,) = run_layer(layer("CReLU"), x=X)
    np.testing.assert_array_equal(y, np.concatenate([np.maximum(X, 0), np.maximum(-X, 0)], 1))


def test_log_softmax_is_the_logarithm_of_the_softmax_and_large_inputs_do_not_overflow(run_layer):
    (y,) = run_layer(layer("LogSoftmax", "log_softmax_param { axis: -1 }"), x=X + 1000)
    rows = X.astype(float).reshape(-1, 2)
    expected = [[v - math.log(sum(math.exp(u) for u in row)) for v in row] for row in rows]
    np.testing.assert_allclose(y.reshape(-1, 2), expected, rtol=1e-3, atol=1e-4)


def test_spatial_dropout_drops_whole_planes_in_training(run_layer):
    (y,) = run_layer(
        layer("SpatialDropout", "dropout_param { dropout_ratio: 0.75 }"),
        phase="TRAIN",
        x=np.ones((8, 50, 2, 3)),
    )
    planes = y.reshape(400, 6)
    assert (planes == planes[:, :1]).all()
    assert set(np.unique(y)) == {0.0, 4.0}
    assert 0.15 < (planes[:, 0] > 0).mean() < 0.35


@pytest.mark.parametrize("type_", ["SeLUDropout"])
def test_noise_that_is_not_drawn_is_an_error_in_training(imported, type_):
    from netc.ir.diagnostics import NetcError

    with pytest.raises(NetcError, match="the TRAIN phase of this layer is not supported"):
        imported(layer(type_), "TRAIN", x=(1, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("ScaledTanH", "@scaled_tanh_param { alpha: 1 }"),
            "scaled_tanh_param needs alpha and beta; beta is missing",
        ),
        (layer("CReLU", "crelu_param { concat_axis: @4 }"), "axis 4 is not an axis of an input with 4 axes"),
        (
            layer("SpatialDropout", "dropout_param { dropout_ratio: @1 }"),
            "dropout_ratio must be at least 0 and below 1, got 1",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X.shape) == message
