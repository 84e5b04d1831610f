"""InnerProduct: which axes are a vector, and the shape of the weight."""

import pytest


def inner(settings: str) -> str:
    return f'layer {{ name: "f" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {{ {settings} }} }}'


def test_the_input_becomes_a_matrix_of_samples(ir_of):
    assert ir_of(inner("num_output: 7"), x=(2, 3, 4)) == (
        "func @main(%x: f32[2,3,4], %f.weight: param f32[7,12], %f.bias: param f32[7]) -> (y = %y) {\n"
        "  %y.rows: f32[2,12] = tensor.reshape %x {shape = [2, 12]}\n"
        "  %y: f32[2,7] = nn.inner_product %y.rows, %f.weight, %f.bias {transpose = false}\n"
        "}"
    )


def test_axes_before_axis_stay_and_a_transposed_weight_has_its_outputs_last(ir_of):
    assert ir_of(inner("num_output: 7 axis: -1 transpose: true bias_term: false"), x=(2, 3, 4)) == (
        "func @main(%x: f32[2,3,4], %f.weight: param f32[4,7]) -> (y = %y) {\n"
        "  %y.rows: f32[6,4] = tensor.reshape %x {shape = [6, 4]}\n"
        "  %y.rows.out: f32[6,7] = nn.inner_product %y.rows, %f.weight {transpose = true}\n"
        "  %y: f32[2,3,7] = tensor.reshape %y.rows.out {shape = [2, 3, 7]}\n"
        "}"
    )


@pytest.mark.parametrize(
    ("axis", "weight", "out"), [(0, (7, 24), (7,)), (1, (7, 12), (2, 7)), (-1, (7, 4), (2, 3, 7))]
)
def test_everything_from_axis_on_is_one_vector(imported, axis, weight, out):
    net = imported(inner(f"num_output: 7 axis: {axis}"), x=(2, 3, 4))
    assert net.params[0].shape == weight
    assert net.layers[-1].top_shapes == (out,)


def test_multiply_accumulates_are_counted(imported):
    assert imported(inner("num_output: 7"), x=(2, 3, 4)).layers[-1].macs == 2 * 7 * 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("num_output: @0", "num_output must be at least 1; got 0"),
        ("num_output: 3 axis: @3", "axis 3 is not an axis of an input with 3 axes"),
        ("num_output: 3 axis: @-4", "axis -4 is not an axis of an input with 3 axes"),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, settings, message):
    assert error_of(inner(settings), x=(2, 3, 4)) == message


def test_a_weight_beyond_caffes_limit_is_refused(error_of):
    message = "its weight, 4000000000x12, would have 48000000000 elements; Caffe's limit is 2147483647"
    assert error_of("@" + inner("num_output: 4000000000"), x=(2, 3, 4)) == message
