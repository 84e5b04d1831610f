"""The forks' batch normalisations and SSD's Normalize against their formulas."""

import numpy as np
import pytest

X = (2, 3, 4, 5)
FILLERS = "slope_filler { value: 1 } bias_filler { value: 0 }"


def layer(type_: str, settings: str = "", tops: str = 'top: "y"') -> str:
    return f'layer {{ name: "l" type: "{type_}" bottom: "x" {tops} {settings} }}'


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal(X).astype(np.float32)


@pytest.fixture
def channels():
    """Four vectors, the last one positive."""
    rng = np.random.default_rng(1)
    return [*rng.standard_normal((3, 3)), rng.uniform(0.5, 2, 3)]


def along(vector):
    return np.reshape(vector, (1, 3, 1, 1))


@pytest.mark.parametrize(
    "settings",
    [
        f"bn_param {{ {FILLERS} eps: 0.001 }}",
        "bn_param { eps: 0.001 momentum: 0.95 frozen: true }",
        "bn_param { eps: 0.001 icnet: true scale_filler { value: 1 } }",
        "param { lr_mult: 1 } param { lr_mult: 1 } param { lr_mult: 0 } param { lr_mult: 0 } bn_param { eps: 0.001 }",
    ],
)
def test_bn_with_four_blobs_uses_the_stored_statistics(run_layer, x, channels, settings):
    slope, shift, mean, variance = channels
    params = tuple(np.reshape(v, (1, 3)) for v in channels)
    (y,) = run_layer(layer("BN", settings), params=params, x=x)
    expected = along(slope) * (x - along(mean)) / np.sqrt(along(variance) + 0.001) + along(shift)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_segnets_bn_for_inference_is_a_slope_and_a_shift(run_layer, x, channels):
    slope, shift, _, _ = channels
    (y,) = run_layer(layer("BN", "bn_param { bn_mode: INFERENCE }"), params=(along(slope), along(shift)), x=x)
    np.testing.assert_allclose(y, along(slope) * x + along(shift), rtol=1e-5, atol=1e-6)


def test_segnets_bn_while_learning_uses_the_batch_and_can_give_its_statistics(run_layer, x, channels):
    slope, shift, _, _ = channels
    settings = "bn_param { scale_filler { value: 1 } shift_filler { value: 0 } }"
    text = layer("BN", settings, 'top: "y" top: "mean" top: "variance"')
    y, mean, variance = run_layer(text, params=(along(slope), along(shift)), x=x)
    expected_mean = x.mean(axis=(0, 2, 3), keepdims=True)
    expected_variance = x.var(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-4)
    normal = (x - expected_mean) / np.sqrt(expected_variance + 1e-9)
    np.testing.assert_allclose(y, along(slope) * normal + along(shift), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "setting", ["scale_bias: true", "scale_filler { value: 1 }", "bias_filler { value: 1 }"]
)
def test_nvidias_batch_norm_has_scale_and_bias(run_layer, x, channels, setting):
    scale, bias, mean, variance = channels
    params = (mean, variance, np.ones(1), scale, bias)
    (y,) = run_layer(layer("BatchNorm", f"batch_norm_param {{ {setting} eps: 1e-9 }}"), params=params, x=x)
    expected = along(scale) * (x - along(mean)) / np.sqrt(along(variance) + 1e-5) + along(bias)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_normalize_divides_by_the_norm(run_layer, x, across, shared):
    settings = f"norm_param {{ across_spatial: {str(across).lower()} channel_shared: {str(shared).lower()} eps: 0.1 }}"
    scale = np.float32(20) if shared else np.array([1, 2, 3], np.float32)
    (y,) = run_layer(layer("Normalize", settings), params=(scale,), x=x)
    expected = np.zeros(X)
    for n, c, h, w in np.ndindex(X):
        seen = x[n] if across else x[n, :, h, w]
        expected[n, c, h, w] = (
            x[n, c, h, w] / np.sqrt((seen**2).sum() + 0.1) * (scale if shared else scale[c])
        )
    np.testing.assert_allclose(y, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("BN", "bn_param { momentum: 0.9 }", 'top: "y" top: @"m"'),
            "statistics as tops go with scale_filler and shift_filler only",
        ),
        (
            layer("BN", "bn_param { bn_mode: INFERENCE }", 'top: "y" top: @"m"'),
            "bn_mode INFERENCE has no statistics to give as tops",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X) == message


@pytest.mark.parametrize("type_", ["MultiBoxLoss", "BoxAnnotatorOHEM", "Yolov3Loss"])
def test_a_layer_of_training_says_what_is_missing(error_of, type_):
    text = layer(type_).replace('type: "', 'type: @"')
    assert error_of(text, x=X).endswith("netc reads and prints it, and does not run it")
