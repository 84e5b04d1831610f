"""Resizing and unpooling against loops written from the definitions."""

import math

import numpy as np
import pytest

from netc.ir.dim import symbol

X = (2, 3, 5, 7)


def layer(type_: str, settings: str = "", bottoms: str = 'bottom: "x"') -> str:
    return f'layer {{ name: "l" type: "{type_}" {bottoms} top: "y" {settings} }}'


def point(i, size, out, rule):
    if rule == "corners":
        return i * (size - 1) / (out - 1) if out > 1 else 0.0
    return max((i + 0.5) * size / out - 0.5, 0) if rule == "half_pixel" else i * size / out


def bilinear_by_hand(x, height, width, rule):
    y = np.zeros((*x.shape[:2], height, width))
    for i in range(height):
        for j in range(width):
            p, q = point(i, x.shape[2], height, rule), point(j, x.shape[3], width, rule)
            a, b = min(math.floor(p), x.shape[2] - 1), min(math.floor(q), x.shape[3] - 1)
            c, d = min(a + 1, x.shape[2] - 1), min(b + 1, x.shape[3] - 1)
            u, v = p - a, q - b
            y[:, :, i, j] = (
                (1 - u) * (1 - v) * x[:, :, a, b]
                + (1 - u) * v * x[:, :, a, d]
                + u * (1 - v) * x[:, :, c, b]
                + u * v * x[:, :, c, d]
            )
    return y


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ("height: 9 width: 4", (9, 4)),
        ("height: 1 width: 1", (1, 1)),
        ("zoom_factor: 8", (33, 49)),
        ("shrink_factor: 2", (3, 4)),
        ("full_zoom_factor: 3", (15, 21)),
        ("shrink_factor: 2 zoom_factor: 3", (7, 10)),
        ("height: 6 width: 6 shrink_factor: 2 zoom_factor: 3", (6, 6)),
        ("height: 6 width: 6 zoom_factor: 2", (9, 13)),
    ],
)
def test_interp_keeps_the_corners(run_layer, settings, size):
    x = np.random.default_rng(0).standard_normal(X).astype(np.float32)
    (y,) = run_layer(layer("Interp", f"interp_param {{ {settings} }}"), x=x)
    np.testing.assert_allclose(y, bilinear_by_hand(x, *size, "corners"), rtol=1e-4, atol=1e-5)


def test_interp_cuts_before_it_resizes(run_layer):
    x = np.random.default_rng(0).standard_normal(X).astype(np.float32)
    (y,) = run_layer(layer("Interp", "interp_param { height: 8 width: 8 pad_beg: -1 pad_end: -2 }"), x=x)
    expected = bilinear_by_hand(x[:, :, 1:-2, 1:-2], 8, 8, "corners")
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_interp_takes_the_size_of_a_second_bottom_over_all_others_if_told_so(shapes_of):
    text = layer(
        "Interp", "interp_param { height: 9 width: 9 use_blob_size: true }", 'bottom: "x" bottom: "l"'
    )
    assert shapes_of(text, x=X, l=(1, 1, 4, 6)) == [(2, 3, 4, 6)]


def test_interp_takes_the_size_of_a_second_bottom(shapes_of):
    assert shapes_of(layer("Interp", bottoms='bottom: "x" bottom: "z"'), x=X, z=(1, 1, 9, 8)) == [
        (2, 3, 9, 8)
    ]


@pytest.mark.parametrize(
    ("settings", "size", "rule"),
    [
        ("output_height: 9 output_width: 3", (9, 3), "origin"),
        ("output_height: 9 output_width: 3 align_corners: true", (9, 3), "corners"),
        ("scale_height: 2 scale_width: 0.5 half_pixel_centers: true", (10, 3), "half_pixel"),
        ("scale_height: 1.5", (7, 7), "origin"),
    ],
)
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_bilinear_resizing_follows_its_coordinates(run_layer, settings, size, rule, data_format):
    x = np.random.default_rng(0).standard_normal(X).astype(np.float32)
    given = x if data_format == "NCHW" else x.transpose(0, 2, 3, 1)
    text = f'resize_bilinear_param {{ {settings} data_format: "{data_format}" }}'
    (y,) = run_layer(layer("ResizeBilinear", text), x=given)
    y = y if data_format == "NCHW" else y.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(y, bilinear_by_hand(x, *size, rule), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rule", "picked"),
    [
        ("", lambda i: i * 5 / 13),
        ("align_corners: true", lambda i: i * 4 / 12 + 0.5),
        ("half_pixel_centers: true", lambda i: (i + 0.5) * 5 / 13),
    ],
)
def test_the_nearest_neighbour_is_picked_by_its_coordinates(run_layer, rule, picked):
    x = np.arange(5.0).reshape(1, 1, 5, 1)
    text = f'resize_nearest_neighbor_param {{ output_height: 13 output_width: 1 data_format: "NCHW" {rule} }}'
    (y,) = run_layer(layer("ResizeNearestNeighbor", text), x=x)
    assert y[0, 0, :, 0].tolist() == [math.floor(picked(i)) for i in range(13)]


def test_resize_takes_what_the_forks_agree_on(run_layer):
    x = np.random.default_rng(0).standard_normal(X).astype(np.float32)
    (y,) = run_layer(layer("Resize", "resize_param { height: 10 width: 7 interp_mode: NEAREST }"), x=x)
    np.testing.assert_array_equal(y, x.repeat(2, axis=2))


def test_upsampling_without_a_mask_repeats_elements(run_layer):
    x = np.random.default_rng(0).standard_normal(X).astype(np.float32)
    (y,) = run_layer(layer("Upsample", "upsample_param { scale: 3 }"), x=x)
    np.testing.assert_array_equal(y, x.repeat(3, axis=2).repeat(3, axis=3))
    (y,) = run_layer(layer("Upsample", "upsample_param { scale_h: 1 scale_w: 2 }"), x=x)
    np.testing.assert_array_equal(y, x.repeat(2, axis=3))


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ("", (4, 6)),
        ("scale: 2 pad_out_h: true", (3, 6)),
        ("upsample_h: 5 upsample_w: 7", (5, 7)),
    ],
)
def test_upsampling_with_a_mask_puts_values_back(run_layer, settings, size):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 2, 3)).astype(np.float32)
    mask = np.stack([rng.permutation(size[0] * size[1])[:6] for _ in range(6)]).reshape(x.shape)
    text = layer("Upsample", f"upsample_param {{ {settings} }}", 'bottom: "x" bottom: "m"')
    (y,) = run_layer(text, x=x, m=mask)
    expected = np.zeros((2, 3, size[0] * size[1]), np.float32)
    for n, c, i, j in np.ndindex(x.shape):
        expected[n, c, mask[n, c, i, j]] = x[n, c, i, j]
    np.testing.assert_array_equal(y, expected.reshape(2, 3, *size))


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ("unpool_size: 6", (6, 6)),
        ("kernel_size: 2 stride: 2", (4, 6)),
        ("kernel_size: 3 stride: 2 pad: 1", (3, 5)),
    ],
)
def test_unpooling_puts_values_back_where_the_mask_says(run_layer, settings, size):
    x = np.arange(1.0, 7).reshape(1, 1, 2, 3)
    mask = np.array([0, 3, 4, 9, 10, 13]).reshape(x.shape)
    settings = f"unpooling_param {{ unpool: MAX {settings} }}"
    (y,) = run_layer(layer("Unpooling", settings, 'bottom: "x" bottom: "m"'), x=x, m=mask)
    expected = np.zeros(size[0] * size[1])
    for value, at in zip(x.flat, mask.flat, strict=True):
        expected[at] = value
    np.testing.assert_array_equal(y, expected.reshape(1, 1, *size))


def test_darknets_upsampling_repeats_elements(run_layer):
    x = np.arange(2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2)
    (y,) = run_layer(layer("UpsampleDarknet", "upsample_darknet_param { stride: 3 }"), x=x)
    np.testing.assert_array_equal(y, np.repeat(np.repeat(x, 3, 2), 3, 3))


def test_a_mask_that_points_outside_is_an_error(run_layer):
    text = layer("Upsample", "", 'bottom: "x" bottom: "m"')
    with pytest.raises(Exception, match="the mask points at element 16 of a plane of 4x4"):
        run_layer(text, x=np.ones((1, 1, 2, 2)), m=np.full((1, 1, 2, 2), 16))


def test_sizes_may_be_symbols():
    from netc.frontend.importer import import_net
    from netc.frontend.net_file import load_net

    net = load_net('input: "x"\n' + layer("Interp", "interp_param { zoom_factor: 2 }"))
    shape = (1, 3, symbol("H"), symbol("W"))
    (result,) = import_net(net, input_shapes={"x": shape}).module.func("main").results
    assert str(result.type) == "f32[1,3,2*H-1,2*W-1]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("Interp", "@interp_param { }"), "the size is missing: give height and width, or a factor"),
        (layer("Interp", "interp_param { zoom_factor: @0 }"), "zoom_factor must be at least 1, got 0"),
        (
            layer("Interp", "interp_param { zoom_factor: 2 pad_beg: @1 }"),
            "pad_beg can only cut, and so must be 0 or less, got 1",
        ),
        (layer("Interp", "interp_param { zoom_factor: 2 pad_beg: @-9 }"), "nothing is left of 5x7"),
        (layer("Upsample", "upsample_param { scale: @0 }"), "scale must be at least 1, got 0"),
        (
            layer("Upsample", "upsample_param { scale: @2 scale_h: 2 scale_w: 2 }"),
            "either scale or scale_h and scale_w can be given, not both",
        ),
        (
            layer("Upsample", "upsample_param { scale: 3 pad_out_h: @true }", 'bottom: "x" bottom: "x"'),
            "pad_out_h goes with a scale of 2 only, got 3",
        ),
        (
            layer("Upsample", "", 'bottom: "x" bottom: @"z"'),
            "the mask must have the shape of the values, 2x3x5x7; got 1x1x9x8",
        ),
        (
            layer("ResizeBilinear", 'resize_bilinear_param { data_format: @"NCHWD" }'),
            "'resize_bilinear_param.data_format' changes the result and is not supported",
        ),
        (
            layer(
                "ResizeBilinear", "resize_bilinear_param { align_corners: @true half_pixel_centers: true }"
            ),
            "align_corners and half_pixel_centers contradict each other",
        ),
        (layer("Resize", "@resize_param { width: 3 }"), "height is missing"),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X, z=(1, 1, 9, 8)) == message
