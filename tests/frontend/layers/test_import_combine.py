"""Eltwise, Concat, Slice and Split."""

import numpy as np
import pytest

X = (2, 3, 4)
TWO = 'bottom: "x" bottom: "z"'


def layer(kind: str, settings: str = "", bottoms: str = TWO, tops: str = 'top: "y"') -> str:
    return f'layer {{ name: "l" type: "{kind}" {bottoms} {tops} {settings} }}'


@pytest.mark.parametrize(
    ("settings", "combine"),
    [
        ("", lambda x, z: x + z),
        ("eltwise_param { coeff: 2 coeff: -1 }", lambda x, z: 2 * x - z),
        ("eltwise_param { operation: PROD }", lambda x, z: x * z),
        ("eltwise_param { operation: MAX }", np.maximum),
    ],
)
def test_eltwise_combines_element_by_element(run_layer, settings, combine):
    x, z = np.random.default_rng(0).normal(size=(2, 2, 3)).astype(np.float32)
    (y,) = run_layer(layer("Eltwise", settings), x=x, z=z)
    np.testing.assert_allclose(y, combine(x, z), rtol=1e-6)


def test_a_coefficient_of_a_maximum_is_ignored_as_in_the_original_and_told(imported):
    net = imported(layer("Eltwise", "eltwise_param { operation: MAX coeff: 2 coeff: 1 }"), x=X, z=X)
    assert [op.name for op in net.module.func("main").ops] == ["math.max"]
    (warning,) = net.warnings
    assert warning.endswith("warning: layer 'l': coeff has no effect on MAX")


def test_eltwise_adds_from_left_to_right(ir_of):
    text = layer("Eltwise", "eltwise_param { coeff: 1 coeff: 0.5 coeff: 1 }", TWO + ' bottom: "w"')
    assert ir_of(text, x=X, z=X, w=X) == (
        "func @main(%x: f32[2,3,4], %z: f32[2,3,4], %w: f32[2,3,4]) -> (y = %y) {\n"
        "  %y.term: f32[2,3,4] = math.affine %z {scale = 0.5, shift = 0.0}\n"
        "  %y.part: f32[2,3,4] = math.add %x, %y.term\n"
        "  %y: f32[2,3,4] = math.add %y.part, %w\n"
        "}"
    )


@pytest.mark.parametrize(
    ("settings", "axis"), [("", 1), ("axis: 0", 0), ("axis: -1", 2), ("concat_dim: 2", 2)]
)
def test_concat_joins_along_its_axis(imported, settings, axis):
    net = imported(layer("Concat", f"concat_param {{ {settings} }}"), x=X, z=X)
    assert net.module.func("main").ops[0].attrs.axis == axis


def test_a_concat_of_one_blob_is_that_blob(imported):
    net = imported(layer("Concat", bottoms='bottom: "x"'), x=X)
    assert net.blobs["y"] == net.blobs["x"]
    assert net.module.func("main").ops == ()


@pytest.mark.parametrize(
    ("settings", "tops", "shapes"),
    [
        ("", 3, [(2, 1, 4)] * 3),
        ("axis: -1 slice_point: 1", 2, [(2, 3, 1), (2, 3, 3)]),
        ("slice_dim: 2 slice_point: 1 slice_point: 3", 3, [(2, 3, 1), (2, 3, 2), (2, 3, 1)]),
        ("axis: 0", 1, [(2, 3, 4)]),
    ],
)
def test_slice_cuts_at_its_points_or_in_equal_parts(shapes_of, settings, tops, shapes):
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    assert shapes_of(layer("Slice", f"slice_param {{ {settings} }}", 'bottom: "x"', names), x=X) == shapes


def test_the_tops_of_a_split_are_its_bottom(imported):
    net = imported(layer("Split", bottoms='bottom: "x"', tops='top: "a" top: "b"'), x=X)
    assert net.blobs["a"] == net.blobs["b"] == net.blobs["x"]
    assert net.module.func("main").result_names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("Eltwise", bottoms='bottom: "x" bottom: @"w"'),
            "all bottoms must have one shape: 'x' is 2x3x4, 'w' is 2x3x5",
        ),
        (layer("Eltwise", "eltwise_param { coeff: @1 }"), "expected one coeff for each of 2 bottoms, got 1"),
        (
            layer("Eltwise", "eltwise_param { operation: PROD coeff: @1 coeff: 1 }"),
            "coeff goes with SUM only, not with PROD",
        ),
        (layer("Eltwise", bottoms='bottom: @"x"'), "Eltwise takes at least 2 bottoms, got 1"),
        (
            layer("Concat", bottoms='bottom: "x" bottom: @"w"'),
            "bottoms may differ in axis 1 only: 'x' is 2x3x4, 'w' is 2x3x5",
        ),
        (
            layer("Concat", "concat_param { axis: 1 concat_dim: @1 }"),
            "either axis or concat_dim can be given, not both",
        ),
        (layer("Concat", "concat_param { axis: @3 }"), "axis 3 is not an axis of an input with 3 axes"),
    ],
)
def test_a_bad_combination_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X, z=X, w=(2, 3, 5)) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("slice_point: @3", "slice point 3 must lie after 0 and before the end, 3"),
        ("slice_point: @0", "slice point 0 must lie after 0 and before the end, 3"),
        ("slice_point: @1 slice_point: 2", "2 tops need 1 slice points, got 2"),
        ("axis: 1 slice_dim: @1", "either axis or slice_dim can be given, not both"),
    ],
)
def test_a_bad_slice_is_an_error_at_its_field(error_of, settings, message):
    text = layer("Slice", f"slice_param {{ {settings} }}", 'bottom: "x"', 'top: "a" top: "b"')
    assert error_of(text, x=X) == message


def test_a_slice_into_unequal_parts_is_an_error(error_of):
    text = layer("Slice", bottoms='bottom: "x"', tops='top: @"a" top: "b"')
    assert error_of(text, x=X) == "3 elements cannot be cut into 2 equal parts"
