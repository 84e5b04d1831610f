"""LRN, BatchNorm, Softmax, Scale, Bias and Axpy."""

import numpy as np
import pytest

X = (2, 3, 4, 5)


def layer(kind: str, settings: str = "", bottoms: str = 'bottom: "x"') -> str:
    return f'layer {{ name: "l" type: "{kind}" {bottoms} top: "y" {settings} }}'


def test_lrn_within_a_channel_is_a_pooling_of_squares(ir_of):
    text = layer("LRN", "lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 alpha: 0.5 beta: 0.75 k: 9 }")
    assert ir_of(text, x=X) == (
        "func @main(%x: f32[2,3,4,5]) -> (y = %y) {\n"
        "  %y.square: f32[2,3,4,5] = math.mul %x, %x\n"
        "  %y.mean: f32[2,3,4,5] = nn.pool %y.square {kind = ave, kernel = [3, 3], stride = [1, 1], "
        "pad = [[1, 1], [1, 1]], round = ceil, count_padding = true}\n"
        "  %y.base: f32[2,3,4,5] = math.affine %y.mean {scale = 0.5, shift = 1.0}\n"
        "  %y.factor: f32[2,3,4,5] = math.pow %y.base {exponent = -0.75}\n"
        "  %y: f32[2,3,4,5] = math.mul %x, %y.factor\n"
        "}"
    )


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
@pytest.mark.parametrize("size", [9, 4294967295])
def test_an_lrn_window_beyond_the_input_sums_all_and_costs_no_more(run_layer, imported, region, size):
    settings = f"lrn_param {{ norm_region: {region} local_size: {size} alpha: 50 beta: 0.75 }}"
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    (y,) = run_layer(layer("LRN", settings), x=x)
    axes, divisor = ((1,), size) if region == "ACROSS_CHANNELS" else ((2, 3), size**2)
    total = np.square(x.astype(float)).sum(axis=axes, keepdims=True)
    np.testing.assert_allclose(y, x * (1 + 50 / divisor * total) ** -0.75, rtol=1e-5)
    window = [
        op for op in imported(layer("LRN", settings), x=x.shape).module.func("main").ops if "nn." in op.name
    ]
    assert window[0].attrs.size == 5 if region == "ACROSS_CHANNELS" else window[0].attrs.kernel == (7, 7)


@pytest.mark.parametrize("count", [2.0, 0.0])
def test_batch_norm_divides_its_sums_by_their_count_and_zero_makes_them_zero(run_layer, count):
    rng = np.random.default_rng(0)
    x, mean, variance = rng.normal(size=X), rng.normal(size=3), rng.uniform(1, 2, 3)
    rate = 1 / count if count else 0.0
    (y,) = run_layer(layer("BatchNorm", "batch_norm_param { eps: 0.5 }"), (mean, variance, [count]), x=x)
    shape = (1, 3, 1, 1)
    expected = (x - (mean * rate).reshape(shape)) / np.sqrt((variance * rate).reshape(shape) + 0.5)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_batch_norm_without_global_statistics_uses_the_batchs_own(run_layer):
    x = np.random.default_rng(1).normal(3, 2, size=X)
    text = layer("BatchNorm", "batch_norm_param { use_global_stats: false }")
    (y,) = run_layer(text, (np.zeros(3), np.zeros(3), [0]), x=x)
    axes = (0, 2, 3)
    expected = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_in_training_uses_the_batchs_own_statistics(run_layer):
    (y,) = run_layer(layer("BatchNorm"), ([9], [9], [1]), phase="TRAIN", x=[[1.0], [3.0]])
    np.testing.assert_allclose(y, [[-1], [1]], rtol=1e-4)


def test_batch_norm_of_one_axis_has_one_channel(run_layer):
    (y,) = run_layer(layer("BatchNorm", "batch_norm_param { eps: 0 }"), ([2], [4], [1]), x=[4.0, 6.0])
    np.testing.assert_allclose(y, [1, 2])


def test_batch_norm_without_settings_is_one_chain_of_channel_arithmetic(ir_of):
    assert ir_of(layer("BatchNorm"), x=X) == (
        "func @main(%x: f32[2,3,4,5], %l.mean: param f32[3], %l.variance: param f32[3], "
        "%l.count: param f32[1]) -> (y = %y) {\n"
        "  %y.rate: f32[1] = math.reciprocal_or_zero %l.count\n"
        "  %y.mean: f32[3] = math.mul %l.mean, %y.rate\n"
        "  %y.mean.1: f32[1,3,1,1] = tensor.reshape %y.mean {shape = [1, 3, 1, 1]}\n"
        "  %y.variance: f32[3] = math.mul %l.variance, %y.rate\n"
        "  %y.variance.1: f32[1,3,1,1] = tensor.reshape %y.variance {shape = [1, 3, 1, 1]}\n"
        "  %y.centred: f32[2,3,4,5] = math.sub %x, %y.mean.1\n"
        "  %y.safe: f32[1,3,1,1] = math.affine %y.variance.1 {scale = 1.0, shift = 1e-05}\n"
        "  %y.factor: f32[1,3,1,1] = math.pow %y.safe {exponent = -0.5}\n"
        "  %y: f32[2,3,4,5] = math.mul %y.centred, %y.factor\n"
        "}"
    )


@pytest.mark.parametrize(("axis", "expected"), [(1, 1), (-1, 3), (0, 0)])
def test_softmax_counts_negative_axes_from_the_end(imported, axis, expected):
    net = imported(layer("Softmax", f"softmax_param {{ axis: {axis} }}"), x=X)
    assert net.module.func("main").ops[0].attrs.axis == expected


@pytest.mark.parametrize(
    ("settings", "shape", "broadcast"),
    [
        ("", (3,), (1, 3, 1, 1)),
        ("axis: 0", (2,), (2, 1, 1, 1)),
        ("axis: -2 num_axes: 2", (4, 5), (1, 1, 4, 5)),
        ("axis: 1 num_axes: -1", (3, 4, 5), (1, 3, 4, 5)),
        ("num_axes: 0", (), (1, 1, 1, 1)),
    ],
)
def test_a_learned_scale_and_its_bias_cover_num_axes_from_axis_on(
    run_layer, imported, settings, shape, broadcast
):
    rng = np.random.default_rng(2)
    x, scale, bias = rng.normal(size=X), rng.normal(size=shape), rng.normal(size=shape)
    text = layer("Scale", f"scale_param {{ {settings} bias_term: true }}")
    assert [p.shape for p in imported(text, x=X).params] == [shape, shape]
    (y,) = run_layer(text, (scale, bias), x=x)
    np.testing.assert_allclose(
        y, x * scale.reshape(broadcast) + bias.reshape(broadcast), rtol=1e-5, atol=1e-6
    )


def test_a_scale_with_two_bottoms_may_still_learn_its_bias(imported):
    text = layer("Scale", "scale_param { bias_term: true }", 'bottom: "x" bottom: "s"')
    net = imported(text, x=X, s=(3, 4))
    assert [(p.value.name, p.index, p.shape) for p in net.params] == [("l.bias", 0, (3, 4))]


def test_a_scalar_second_bottom_scales_everything(run_layer):
    x = np.arange(6.0).reshape(2, 3)
    (y,) = run_layer(layer("Scale", "scale_param { axis: 1 }", 'bottom: "x" bottom: "s"'), x=x, s=2.0)
    np.testing.assert_array_equal(y, 2 * x)


def test_a_learned_scale_starts_at_one_and_a_bias_at_zero(imported):
    (scale, bias) = imported(layer("Scale", "scale_param { bias_term: true }"), x=X).params
    assert scale.filler.number("value") == 1
    assert bias.filler.number("value") == 0


def test_axpy_scales_every_channel_and_adds(run_layer):
    rng = np.random.default_rng(3)
    a, x, z = rng.normal(size=(2, 3, 1, 1)), rng.normal(size=X), rng.normal(size=X)
    (y,) = run_layer(layer("Axpy", bottoms='bottom: "a" bottom: "x" bottom: "z"'), a=a, x=x, z=z)
    np.testing.assert_allclose(y, a * x + z, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("LRN", "lrn_param { local_size: @4 }"), "local_size must be odd, got 4"),
        (layer("Softmax", "softmax_param { axis: @4 }"), "axis 4 is not an axis of an input with 4 axes"),
        (layer("Scale", "scale_param { axis: @-5 }"), "axis -5 is not an axis of an input with 4 axes"),
        (
            layer("Scale", "scale_param { num_axes: @4 }"),
            "4 axes from axis 1 on are more than the input 2x3x4x5 has",
        ),
        (layer("Bias", "bias_param { num_axes: @-2 }"), "num_axes must be -1, 0 or more, got -2"),
        (
            layer("Bias", bottoms='bottom: "x" bottom: @"s"'),
            "the second bottom is 7; from axis 1 on the first is 3",
        ),
        (
            layer("Axpy", bottoms='bottom: @"s" bottom: "x" bottom: "x"'),
            "the first bottom must have one number per sample and channel of the second: got 7 for 2x3x4x5",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X, s=(7,)) == message


def test_a_batch_norm_may_add_eps_to_the_deviation(run_layer):
    x, mean, variance = [[4.0, 6.0]], [1.0, 2.0], [4.0, 9.0]
    settings = "batch_norm_param { eps: 0.5 add_eps_before_sqrt: false }"
    (y,) = run_layer(layer("BatchNorm", settings), (mean, variance, [1]), x=x)
    np.testing.assert_allclose(y, [[3 / 2.5, 4 / 3.5]], rtol=1e-6)
