"""Pooling: Caffe's rounding, the forks' rounding and padding, and what contradicts itself."""

import numpy as np
import pytest

X = (2, 3, 8, 9)


def pool(settings: str) -> str:
    return f'layer {{ name: "p" type: "Pooling" bottom: "x" top: "y" pooling_param {{ {settings} }} }}'


def test_a_pooling_becomes_one_op(ir_of):
    assert ir_of(pool("pool: AVE kernel_size: 3 stride: 2 pad: 1"), x=X) == (
        "func @main(%x: f32[2,3,8,9]) -> (y = %y) {\n"
        "  %y: f32[2,3,5,5] = nn.pool %x {kind = ave, kernel = [3, 3], stride = [2, 2], "
        "pad = [[1, 1], [1, 1]], round = ceil, count_padding = true}\n"
        "}"
    )


def test_a_global_pooling_becomes_one_op(ir_of):
    assert ir_of(pool("pool: MAX global_pooling: true"), x=X) == (
        "func @main(%x: f32[2,3,8,9]) -> (y = %y) {\n  %y: f32[2,3,1,1] = nn.global_pool %x {kind = max}\n}"
    )


@pytest.mark.parametrize(
    ("settings", "plane"),
    [
        ("kernel_size: 3 stride: 2", (4, 4)),
        ("kernel_size: 3 stride: 2 round_mode: FLOOR", (3, 4)),
        ("kernel_size: 3 stride: 2 ceil_mode: false", (3, 4)),
        ("kernel_size: 3 stride: 2 ceil_mode: true", (4, 4)),
        ("kernel_h: 3 kernel_w: 5", (6, 5)),
        ("kernel_size: 3 stride_h: 2 stride_w: 3", (4, 3)),
        ("kernel_size: 3 pad_h: 1 pad_w: 2", (8, 11)),
        ("kernel_size: 3 pad_t: 1 pad_r: 2", (7, 9)),
        ("kernel_size: 2 stride: 2 pad: 1", (5, 5)),
        ("kernel_size: 9 stride: 2", (1, 1)),  # beyond the input by less than the stride
    ],
)
def test_output_extents_follow_caffe_and_its_forks(shapes_of, settings, plane):
    assert shapes_of(pool(settings), x=X) == [(2, 3, *plane)]


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (2, 3), (4, 3), (1, 2)])
@pytest.mark.parametrize("pool_", ["MAX", "AVE_TF"])
def test_same_padding_has_a_window_for_every_stride_and_the_odd_element_behind(
    run_layer, pool_, kernel, stride
):
    x = np.random.default_rng(0).standard_normal(X).astype("f4")
    (y,) = run_layer(pool(f"pool: {pool_} kernel_size: {kernel} stride: {stride} pad_type: 1"), x=x)
    out = [-(-extent // stride) for extent in X[2:]]
    before = [max((o - 1) * stride + kernel - extent, 0) // 2 for o, extent in zip(out, X[2:], strict=True)]
    expected = np.zeros((2, 3, *out))
    for i in range(out[0]):
        for j in range(out[1]):
            top, left = i * stride - before[0], j * stride - before[1]
            window = x[:, :, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            expected[:, :, i, j] = window.max((2, 3)) if pool_ == "MAX" else window.mean((2, 3))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_the_forks_average_leaves_padding_out(run_layer):
    ones = np.ones((1, 1, 3, 3))
    (counted,) = run_layer(pool("pool: AVE kernel_size: 3 stride: 2 pad: 1"), x=ones)
    (excluded,) = run_layer(pool("pool: AVE_EXC_PAD kernel_size: 3 stride: 2 pad: 1"), x=ones)
    np.testing.assert_allclose(counted[0, 0], np.full((2, 2), 4 / 9))
    np.testing.assert_allclose(excluded[0, 0], np.ones((2, 2)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("kernel_size: 3 stride: @0", "stride must be at least 1, got 0"),
        ("kernel_size: @0", "the kernel must be at least 1, got 0"),
        ("kernel_size: 3 pad: @3", "pad 3 must be smaller than the kernel 3"),
        ("kernel_size: 3 pad_h: 1 pad_w: @3", "pad 3 must be smaller than the kernel 3"),
        ("kernel_size: @9", "the kernel covers 9 elements of spatial axis 0, which has 8 and 0 of padding"),
        ("kernel_h: @3", "both kernel_h and kernel_w are needed"),
        (
            "kernel_size: 3 kernel_h: @3 kernel_w: 3",
            "either kernel_size or kernel_h and kernel_w can be given, not both",
        ),
        ("kernel_size: 3 stride_h: @2", "both stride_h and stride_w are needed"),
        ("kernel_size: 3 pad: 1 pad_h: @1 pad_w: 1", "either pad or pad_h and pad_w can be given, not both"),
        ("kernel_size: 2 pad_l: @1 pad: 1", "either pad or pads per side can be given, not both"),
        ("global_pooling: true kernel_size: @3", "global_pooling takes the whole plane; it allows no kernel"),
        ("global_pooling: true pad: @1", "global_pooling needs pad 0"),
        ("global_pooling: true stride: @2", "global_pooling needs stride 1"),
        (
            "pool: STOCHASTIC kernel_size: 2 pad: @1",
            "padding goes with MAX and AVE only, not with STOCHASTIC",
        ),
        ("kernel_size: 2 pad_type: @2", "pad_type must be 0, or 1 for SAME, got 2"),
        ("kernel_size: 2 pad: @1 pad_type: 1", "either pads or pad_type can be given, not both"),
        (
            "kernel_size: 2 round_mode: FLOOR ceil_mode: @true",
            "round_mode and ceil_mode contradict each other",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, settings, message):
    assert error_of(pool(settings), x=(2, 3, 8, 8)) == message


def test_a_missing_kernel_is_an_error_at_the_settings(error_of):
    layer = pool("pool: AVE").replace("pooling_param", "@pooling_param")
    message = "the kernel is missing: give kernel_size, or kernel_h and kernel_w"
    assert error_of(layer, x=X) == message
    assert error_of('@layer { name: "p" type: "Pooling" bottom: "x" top: "y" }', x=X) == message


def test_an_average_has_no_mask(error_of):
    layer = pool("pool: AVE kernel_size: 2").replace('top: "y"', 'top: "y" top: @"mask"')
    assert error_of(layer, x=X) == "a second top, the mask, goes with MAX only, not with AVE"


@pytest.mark.parametrize("settings", ["kernel_size: 3 stride: 2 pad: 1", "global_pooling: true"])
def test_the_mask_says_where_in_its_plane_each_maximum_was(run_layer, settings):
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 6))
    y, mask = run_layer(pool(settings).replace('top: "y"', 'top: "y" top: "mask"'), x=x)
    planes = x.astype(np.float32).reshape(6, 30)
    found = planes[np.arange(6)[:, np.newaxis], mask.reshape(6, -1).astype(int)]
    np.testing.assert_array_equal(found, y.reshape(6, -1))


def test_of_equal_elements_the_mask_names_the_first(run_layer):
    _, mask = run_layer(
        pool("kernel_size: 2").replace('top: "y"', 'top: "y" top: "mask"'), x=np.ones((1, 1, 2, 3))
    )
    np.testing.assert_array_equal(mask, [[[[0, 1]]]])


def test_stochastic_pooling_weighs_elements_by_themselves_in_test(run_layer):
    x = np.array([1.0, 2.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0]).reshape(1, 2, 2, 2)
    (y,) = run_layer(pool("pool: STOCHASTIC kernel_size: 2"), x=x)
    np.testing.assert_allclose(y.reshape(-1), [30 / 8, 0], rtol=1e-6)


def test_stochastic_pooling_draws_elements_in_proportion_in_training(run_layer):
    x = np.tile([1.0, 2.0, 0.0, 5.0], (1, 4000, 1)).reshape(1, 4000, 2, 2)
    (y,) = run_layer(pool("pool: STOCHASTIC kernel_size: 2"), phase="TRAIN", x=x)
    for value in (1.0, 2.0, 5.0):
        assert abs(np.mean(y == value) - value / 8) < 0.03
    assert set(np.unique(y)) == {1.0, 2.0, 5.0}


def test_a_pooling_needs_four_axes(error_of):
    layer = pool("kernel_size: 2").replace('bottom: "x"', 'bottom: @"x"')
    assert error_of(layer, x=(2, 3, 8)) == "needs an input with 4 axes, got 3"
