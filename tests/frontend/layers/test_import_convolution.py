"""Convolution, Deconvolution and depthwise convolution: settings as Caffe reads them."""

import numpy as np
import pytest

from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.ir.dim import symbol

X = (2, 3, 8, 10)


def conv(settings: str, kind: str = "Convolution") -> str:
    return f'layer {{ name: "c" type: "{kind}" bottom: "x" top: "y" convolution_param {{ {settings} }} }}'


def test_a_convolution_becomes_one_op_with_its_weight_and_bias_as_parameters(ir_of):
    assert ir_of(conv("num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 3 dilation: 2"), x=X) == (
        "func @main(%x: f32[2,3,8,10], %c.weight: param f32[6,1,3,3], %c.bias: param f32[6]) -> (y = %y) {\n"
        "  %y: f32[2,6,3,4] = nn.conv %x, %c.weight, %c.bias "
        "{stride = [2, 2], pad = [[1, 1], [1, 1]], dilation = [2, 2], group = 3}\n"
        "}"
    )


def test_a_deconvolution_swaps_input_and_output_channels_of_the_weight(ir_of):
    text = conv("num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 3 bias_term: false", "Deconvolution")
    assert ir_of(text, x=X) == (
        "func @main(%x: f32[2,3,8,10], %c.weight: param f32[3,2,4,4]) -> (y = %y) {\n"
        "  %y: f32[2,6,16,20] = nn.deconv %x, %c.weight "
        "{stride = [2, 2], pad = [[1, 1], [1, 1]], dilation = [1, 1], group = 3}\n"
        "}"
    )


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ("num_output: 4 kernel_size: 3", (2, 4, 6, 8)),
        ("num_output: 4 kernel_size: 3 kernel_size: 5", (2, 4, 6, 6)),
        ("num_output: 4 kernel_h: 3 kernel_w: 5", (2, 4, 6, 6)),
        ("num_output: 4 kernel_size: 3 stride: 2 stride: 3", (2, 4, 3, 3)),
        ("num_output: 4 kernel_size: 3 stride_h: 2 stride_w: 3", (2, 4, 3, 3)),
        ("num_output: 4 kernel_size: 3 pad: 1 pad: 2", (2, 4, 8, 12)),
        ("num_output: 4 kernel_size: 3 pad_w: 2", (2, 4, 6, 12)),
        ("num_output: 4 kernel_size: 3 dilation: 1 dilation: 4", (2, 4, 6, 2)),
        ("num_output: 4 kernel_size: 3 pad_t: 1 pad_r: 2", (2, 4, 7, 10)),
        ("num_output: 4 kernel_size: 8 kernel_size: 10", (2, 4, 1, 1)),
        ("num_output: 4 kernel_size: 1 axis: -3", (2, 4, 8, 10)),
        ("num_output: 4 kernel_size: 3 stride: 2 pad_type: 1", (2, 4, 4, 5)),
        ("num_output: 4 kernel_size: 3 stride: 3 dilation: 2 pad_type: 1", (2, 4, 3, 4)),
    ],
)
def test_repeated_and_paired_extents_are_read_as_caffe_reads_them(shapes_of, settings, shape):
    assert shapes_of(conv(settings), x=X) == [shape]


def test_same_padding_puts_the_odd_element_behind(ir_of):
    assert "pad = [[0, 1], [1, 1]]" in ir_of(
        conv("num_output: 1 kernel_h: 3 kernel_w: 4 stride: 2 pad_type: 1"), x=X
    )


def test_same_padding_of_a_stride_needs_a_fixed_input():
    text = conv("num_output: 1 kernel_size: 3 stride: 2 pad_type: 1")
    with pytest.raises(NetcError, match="depend on H, which is not fixed"):
        import_net(
            load_net('layer { type: "Input" top: "x" } ' + text),
            input_shapes={"x": (1, 3, symbol("H"), 8)},
        )


def test_axes_before_axis_are_batch(run_layer):
    x = np.arange(2 * 2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 2, 3, 4, 4)
    weight = np.ones((1, 3, 1, 1), np.float32)
    (y,) = run_layer(conv("num_output: 1 kernel_size: 1 axis: 2 bias_term: false"), (weight,), x=x)
    np.testing.assert_array_equal(y, x.sum(axis=2, keepdims=True))


@pytest.mark.parametrize("shape", [(2, 3, 9), (1, 2, 4, 5, 6)])
def test_any_number_of_spatial_axes_is_possible(shapes_of, shape):
    spatial = tuple(d - 2 for d in shape[2:])
    assert shapes_of(conv("num_output: 4 kernel_size: 3"), x=shape) == [(shape[0], 4, *spatial)]


def test_several_bottoms_share_one_weight(imported):
    layer = (
        'layer { name: "c" type: "Convolution" bottom: "a" bottom: "b" top: "y" top: "z" '
        "convolution_param { num_output: 4 kernel_size: 3 } }"
    )
    net = imported(layer, a=X, b=X)
    assert [p.value.name for p in net.params] == ["c.weight", "c.bias"]
    assert [op.operands[1].name for op in net.module.func("main").ops] == ["c.weight", "c.weight"]


@pytest.mark.parametrize("kind", ["DepthwiseConvolution", "ConvolutionDepthwise"])
@pytest.mark.parametrize("group", ["", "group: 3"])
def test_a_depthwise_convolution_has_a_group_for_every_channel(imported, kind, group):
    net = imported(conv(f"num_output: 3 kernel_size: 3 {group}", kind), x=X)
    assert net.params[0].shape == (3, 1, 3, 3)
    assert net.module.func("main").ops[0].attrs.group == 3


def test_multiply_accumulates_are_counted(imported):
    net = imported(conv("num_output: 6 kernel_size: 3 group: 3"), x=X)
    assert net.layers[-1].macs == 2 * 6 * 6 * 8 * (1 * 3 * 3)
    net = imported(conv("num_output: 6 kernel_size: 3", "Deconvolution"), x=X)
    assert net.layers[-1].macs == 2 * 3 * 8 * 10 * (6 * 3 * 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("@|kernel_size: 3", "num_output must be at least 1; it is missing"),
        ("num_output: @0 kernel_size: 3", "num_output must be at least 1; got 0"),
        ("@|num_output: 4", "kernel_size is missing; give one for all axes or one for each"),
        ("num_output: 4 kernel_size: 3 stride: @0", "stride must be at least 1, got 0"),
        ("num_output: 4 kernel_size: @0", "kernel_size must be at least 1, got 0"),
        ("num_output: 4 kernel_size: 3 dilation: @0", "dilation must be at least 1, got 0"),
        ("num_output: 4 kernel_h: @3", "both kernel_h and kernel_w are needed"),
        ("num_output: 4 kernel_size: 3 stride_w: @2", "both stride_h and stride_w are needed"),
        (
            "num_output: 4 kernel_size: 3 kernel_h: @3 kernel_w: 3",
            "either kernel_size or kernel_h and kernel_w can be given, not both",
        ),
        (
            "num_output: 4 kernel_size: @3 kernel_size: 3 kernel_size: 3",
            "kernel_size is given 3 times for 2 spatial axes; give one for all axes or one for each",
        ),
        ("num_output: 4 kernel_size: 3 group: @2", "the input has 3 channels, not a multiple of group 2"),
        ("num_output: @4 kernel_size: 3 group: 3", "num_output 4 is not a multiple of group 3"),
        ("num_output: 4 kernel_size: 3 group: @0", "group must be at least 1, got 0"),
        ("num_output: 4 kernel_size: @9", "kernel 9 is larger than the padded input: 8 + 0 + 0"),
        (
            "num_output: 4 kernel_size: @3 dilation: 4",
            "kernel 3 dilated by 4 (reach 9) is larger than the padded input: 8 + 0 + 0",
        ),
        (
            "num_output: 4 kernel_size: 3 pad: 1 pad_l: @1",
            "either pad or pads per side can be given, not both",
        ),
        (
            "num_output: 4 kernel_size: 3 pad_type: @4",
            "pad_type must be 0, or 1 for SAME, got 4",
        ),
        ("num_output: 4 kernel_size: 3 axis: @4", "axis 4 is not an axis of an input with 4 axes"),
        (
            "num_output: 4 kernel_size: 3 @foo: 1",
            "the field 'convolution_param.foo' is unknown and may change the result",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, settings, message):
    text = conv(settings)
    if settings.startswith("@|"):  # the setting is missing: the error points at the message
        text = text.replace("@|", "").replace("convolution_param", "@convolution_param")
    assert error_of(text, x=X) == message


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            conv("num_output: 4294967295 kernel_size: 3"),
            "its weight, 4294967295x3x3x3, would have 115964116965 elements; Caffe's limit is 2147483647",
        ),
        (
            conv("num_output: 4 kernel_size: 3 axis: 3"),
            "needs an input with spatial axes, got one of shape 2x3x8x10",
        ),
        (
            conv("num_output: 1 kernel_size: 1 pad: 100000"),
            "blob 'y', 2x1x200008x200010, would have 80007200160 elements; Caffe's limit is 2147483647",
        ),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(error_of, layer, message):
    assert error_of("@" + layer, x=X) == message


def test_a_deconvolution_padded_away_is_an_error_at_its_pad(error_of):
    layer = conv("num_output: 4 kernel_size: 3 pad: @5", "Deconvolution")
    assert (
        error_of(layer, x=(1, 3, 2, 2))
        == "pad (5, 5) leaves -6 elements of spatial axis 0, 1 or more expected"
    )


def test_bottoms_of_different_shapes_are_an_error(error_of):
    layer = (
        'layer { name: "c" type: "Convolution" bottom: "x" bottom: @"z" top: "y" top: "w" '
        "convolution_param { num_output: 4 kernel_size: 3 } }"
    )
    message = "all bottoms must have one shape: 'x' is 2x3x8x10, 'z' is 2x3x9x9"
    assert error_of(layer, x=X, z=(2, 3, 9, 9)) == message


def test_as_many_tops_as_bottoms_are_needed(error_of):
    layer = (
        'layer { name: "c" type: "Convolution" bottom: "x" bottom: "z" top: @"y" '
        "convolution_param { num_output: 4 kernel_size: 3 } }"
    )
    assert error_of(layer, x=X, z=X) == "Convolution needs as many tops as bottoms, got 1 for 2"
