"""Flatten, Reshape, Crop, Permute, Silence and Dropout."""

import numpy as np
import pytest

from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.dim import symbol

X = (2, 3, 4, 5)


def layer(kind: str, settings: str = "", bottoms: str = 'bottom: "x"', tops: str = 'top: "y"') -> str:
    return f'layer {{ name: "l" type: "{kind}" {bottoms} {tops} {settings} }}'


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ("", (2, 60)),
        ("axis: 2", (2, 3, 20)),
        ("axis: 0 end_axis: -2", (24, 5)),
        ("axis: -1", X),
    ],
)
def test_flatten_makes_one_axis_of_a_range(shapes_of, settings, shape):
    assert shapes_of(layer("Flatten", f"flatten_param {{ {settings} }}"), x=X) == [shape]


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ("shape { dim: 0 dim: -1 }", (2, 60)),
        ("shape { dim: 0 dim: 0 dim: 20 }", (2, 3, 20)),
        ("shape { dim: 6 dim: -1 } num_axes: 3", (6, 4, 5)),
        ("shape { dim: 2 dim: 2 } axis: 2 num_axes: 1", (2, 3, 2, 2, 5)),
        ("shape { dim: -1 dim: 1 } axis: -2", (2, 3, 4, 5, 1)),
        ("shape { dim: 1 } axis: -1 num_axes: 0", (2, 3, 4, 5, 1)),
        ("shape { dim: 1 } axis: 0 num_axes: 0", (1, 2, 3, 4, 5)),
        ("shape { } num_axes: 0", X),
    ],
)
def test_reshape_replaces_a_range_of_axes(shapes_of, settings, shape):
    assert shapes_of(layer("Reshape", f"reshape_param {{ {settings} }}"), x=X) == [shape]


def test_reshape_infers_an_extent_beside_copied_symbols():
    convolution = "convolution_param { num_output: 6 kernel_size: 1 pad: 1 }"
    reshape = "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } }"
    net = f"""input: "x"
        {layer("Convolution", convolution, tops='top: "c"')}
        {layer("Reshape", reshape, 'bottom: "c"')}"""
    sizes = {"x": (symbol("N"), 3, symbol("H"), symbol("W"))}
    (y,) = import_net(load_net(net), input_shapes=sizes).module.func("main").results
    assert str(y.type) == "f32[N,2,3*H+6,W+2]"


@pytest.mark.parametrize(
    ("settings", "start"),
    [("", (0, 0)), ("offset: 1", (1, 1)), ("offset: 1 offset: 2", (1, 2)), ("axis: 3 offset: 2", (0, 2))],
)
def test_crop_cuts_to_the_second_bottom(run_layer, settings, start):
    x = np.arange(120.0).reshape(X)
    height = 4 if "axis: 3" in settings else 3
    (y,) = run_layer(
        layer("Crop", f"crop_param {{ {settings} }}", 'bottom: "x" bottom: "z"'),
        x=x,
        z=np.zeros((9, 9, 3, 2)),
    )
    top, left = start
    np.testing.assert_array_equal(y, x[:, :, top : top + height, left : left + 2])


def test_permute_appends_the_axes_it_leaves_out(shapes_of):
    assert shapes_of(layer("Permute", "permute_param { order: 2 order: 0 }"), x=X) == [(4, 2, 3, 5)]


def test_a_silenced_blob_is_no_output(imported):
    text = layer("Silence", bottoms='bottom: "z"', tops="")
    assert imported(text, x=X, z=X).module.func("main").result_names == ("x",)


def test_dropout_does_nothing_in_test(imported):
    text = layer("Dropout", "dropout_param { dropout_ratio: 0.25 }")
    (op,) = imported(text, x=X).module.func("main").ops
    assert (op.name, op.attrs.ratio) == ("nn.dropout", 0.25)


def test_dropout_in_training_zeroes_a_share_and_scales_the_rest(run_layer):
    text = layer("Dropout", "dropout_param { dropout_ratio: 0.25 }")
    (y,) = run_layer(text, phase="TRAIN", x=np.full((40, 50), 3.0))
    assert set(np.unique(y)) == {0.0, 4.0}
    assert abs(np.mean(y == 0) - 0.25) < 0.04


@pytest.mark.parametrize("ratio", [0, 1])
def test_a_dropout_of_nothing_or_of_all_is_nothing_in_test_as_in_the_original(run_layer, ratio):
    (y,) = run_layer(layer("Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}"), x=[[4.0]])
    np.testing.assert_array_equal(y, [[4.0]])


def test_dropout_of_the_forks_does_not_scale_in_training(run_layer):
    text = layer("Dropout", "dropout_param { dropout_ratio: 0.25 scale_train: false }")
    (y,) = run_layer(text, phase="TRAIN", x=np.full((50, 40), 3.0))
    assert set(np.unique(y)) == {0.0, 3.0}
    assert abs(np.mean(y == 0) - 0.25) < 0.04


def test_dropout_of_the_forks_scales_in_test_instead(run_layer):
    text = layer("Dropout", "dropout_param { dropout_ratio: 0.25 scale_train: false }")
    (y,) = run_layer(text, x=[[4.0]])
    np.testing.assert_array_equal(y, [[3.0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("Flatten", "flatten_param { axis: 2 end_axis: @1 }"), "end_axis 1 lies before axis 2"),
        (layer("Flatten", "flatten_param { axis: @4 }"), "axis 4 is not an axis of an input with 4 axes"),
        (layer("Reshape", "reshape_param { shape { dim: -1 dim: @-1 } }"), "only one dim can be -1"),
        (
            layer("Reshape", "reshape_param { shape { dim: @0 dim: 7 } }"),
            "2x3x4x5 has 120 elements, dims [0, 7] make 14",
        ),
        (
            layer("Reshape", "reshape_param { shape { dim: 7 dim: @-1 } }"),
            "120 elements cannot be divided by the other dims (7)",
        ),
        (layer("Reshape", "reshape_param { shape { dim: @-2 } }"), "dim must be -1, 0 or more, got -2"),
        (
            layer("Reshape", "reshape_param { axis: 3 shape { dim: 5 dim: @0 } }"),
            "dim 0 copies axis 4, which the input does not have",
        ),
        (
            layer("Reshape", "reshape_param { axis: @5 shape { dim: 1 } }"),
            "axis 5 is out of range for 4 axes",
        ),
        (
            layer("Reshape", "reshape_param { axis: 3 num_axes: @2 }"),
            "num_axes 2 is out of range from axis 3 on",
        ),
        (
            layer("Reshape", "reshape_param { pixelshuffler: @2 }"),
            "3 channels are not a multiple of 2 times itself",
        ),
        (layer("Permute", "permute_param { order: 0 order: @0 }"), "axis 0 is given twice"),
        (layer("Permute", "permute_param { order: @4 }"), "axis 4 is not one of 4 axes"),
        (layer("Silence", tops='top: @"y"'), "Silence takes 0 tops, got 1"),
        (
            layer("Dropout", "dropout_param { dropout_ratio: @1.5 }"),
            "dropout_ratio must lie between 0 and 1, got 1.5",
        ),
        (
            layer("Dropout", "dropout_param { sample_weights_test: @true }"),
            "'dropout_param.sample_weights_test' changes the result and is not supported",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("Crop", bottoms='bottom: "x" bottom: @"big"'),
            "axis 2: 9 elements from 0 on are more than 4",
        ),
        (
            layer("Crop", "crop_param { offset: 1 offset: @4 }", 'bottom: "x" bottom: "z"'),
            "axis 3: 2 elements from 4 on are more than 5",
        ),
        (
            layer("Crop", "crop_param { offset: @1 offset: 1 offset: 1 }", 'bottom: "x" bottom: "z"'),
            "expected no, one or 2 offsets, got 3",
        ),
        (
            layer("Crop", bottoms='bottom: "x" bottom: @"flat"'),
            "bottoms need the same number of axes, got 4 and 1",
        ),
    ],
)
def test_a_bad_crop_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X, z=(2, 3, 3, 2), big=(2, 3, 9, 5), flat=(3,)) == message
