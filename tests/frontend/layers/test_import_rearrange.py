"""Layers that move elements, against loops over every element."""

import numpy as np
import pytest

X = (2, 8, 4, 6)


def layer(type_: str, settings: str = "", bottoms: str = 'bottom: "x"') -> str:
    return f'layer {{ name: "l" type: "{type_}" {bottoms} top: "y" {settings} }}'


def numbers(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_shuffling_channels_swaps_group_and_member(run_layer):
    x = numbers(*X)
    (y,) = run_layer(layer("ShuffleChannel", "shuffle_channel_param { group: 2 }"), x=x)
    for i in range(2):
        for j in range(4):
            np.testing.assert_array_equal(y[:, j * 2 + i], x[:, i * 4 + j])


def test_reorg_is_darknets(run_layer):
    x = numbers(*X)
    (y,) = run_layer(layer("Reorg", "reorg_param { stride: 2 }"), x=x)
    assert y.shape == (2, 32, 2, 3)
    flat_in, flat_out = x.reshape(2, -1), y.reshape(2, -1)
    for n, c, h, w in np.ndindex(X):
        offset, few = divmod(c, 2)
        column, row = w * 2 + offset % 2, h * 2 + offset // 2
        assert flat_out[n, w + 6 * (h + 4 * c)] == flat_in[n, column + 12 * (row + 8 * few)]


def test_reorg_undoes_itself(run_layer):
    x = numbers(*X)
    (y,) = run_layer(layer("Reorg", "reorg_param { stride: 2 reverse: true }"), x=x)
    assert y.shape == (2, 2, 8, 12)
    for n, c, h, w in np.ndindex(X):
        offset, few = divmod(c, 2)
        assert y[n, few, h * 2 + offset // 2, w * 2 + offset % 2] == x[n, c, h, w]


def test_pixelshuffler_moves_blocks_of_channels_into_space(run_layer):
    x = numbers(*X)
    (y,) = run_layer(layer("Reshape", "reshape_param { pixelshuffler: 2 }"), x=x)
    assert y.shape == (2, 2, 8, 12)
    for n, c, h, w in np.ndindex(X):
        assert y[n, c // 4, h * 2 + c // 2 % 2, w * 2 + c % 2] == x[n, c, h, w]


@pytest.mark.parametrize(
    ("settings", "shape"), [("", (3, 4)), ("axis: 0", (3, 1, 4)), ("axis: -2", (1, 3, 4))]
)
def test_squeeze_leaves_axes_out(run_layer, settings, shape):
    x = numbers(1, 3, 1, 4)
    (y,) = run_layer(layer("Squeeze", f"squeeze_param {{ {settings} }}"), x=x)
    np.testing.assert_array_equal(y, x.reshape(shape))


def test_pad_puts_a_constant_around(run_layer):
    x = numbers(2, 3)
    (y,) = run_layer(layer("Pad", "pad_param { paddings: [1, 0, 2, 1] constant_values: 7 }"), x=x)
    expected = np.full((3, 6), 7.0)
    expected[1:, 2:5] = x
    np.testing.assert_array_equal(y, expected)


def test_space_goes_to_the_batch_and_back(run_layer):
    x = numbers(2, 3, 5, 4)
    there = "space_to_batch_nd_param { block_shape: [2, 3] paddings: [1, 0, 0, 1] }"
    (y,) = run_layer(layer("SpaceToBatchND", there), x=x)
    assert y.shape == (12, 2, 2, 4)
    for b, h, w, c in np.ndindex(y.shape):
        block, n = divmod(b, 2)
        row, column = h * 2 + block // 3 - 1, w * 3 + block % 3
        assert y[b, h, w, c] == (x[n, row, column, c] if 0 <= row < 3 and column < 5 else 0)
    back = "batch_to_space_nd_param { block_shape: [2, 3] crops: [1, 0, 0, 1] }"
    (z,) = run_layer(layer("BatchToSpaceND", back), x=y)
    np.testing.assert_array_equal(z, x)


def test_mul_broadcasts_like_numpy(run_layer):
    x, z = numbers(2, 3, 4), numbers(3, 1)
    (y,) = run_layer(layer("Mul", "", 'bottom: "x" bottom: "z"'), x=x, z=z)
    np.testing.assert_array_equal(y, x * z)
    factor = numbers(4) + 1
    (y,) = run_layer(layer("Mul", "mul_param { mul_shape: 4 }"), params=(factor,), x=x)
    np.testing.assert_array_equal(y, x * factor)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("ShuffleChannel", "shuffle_channel_param { group: @3 }"),
            "8 channels are not a multiple of group 3",
        ),
        (
            layer("Reorg", "reorg_param { stride: @3 }"),
            "8 channels are not a multiple of stride 3 times itself",
        ),
        (layer("Squeeze", "squeeze_param { axis: @1 }"), "axis 1 has 8 elements, not 1"),
        (layer("Squeeze", "squeeze_param { axis: @9 }"), "axis 9 is not an axis of an input with 4 axes"),
        (layer("Pad", "pad_param { paddings: @1 }"), "two paddings for each of 4 axes expected, got 1"),
        (
            layer("SpaceToBatchND", "space_to_batch_nd_param { block_shape: @3 }"),
            "axis 1 has 8 elements, not a multiple of 3",
        ),
        (
            layer("BatchToSpaceND", "batch_to_space_nd_param { block_shape: @3 }"),
            "2 samples are not a multiple of the blocks",
        ),
        (
            layer("BatchToSpaceND", "batch_to_space_nd_param { block_shape: 2 crops: @1 }"),
            "two crops for each of 1 block_shape expected, got 1",
        ),
        (
            layer("Mul", "", 'bottom: @"x" bottom: "z"'),
            "2x8x4x6 and 5 do not go together: axis 3 differs",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X, z=(5,)) == message


@pytest.mark.parametrize(
    ("mode", "row"),
    [
        ("REFLECT", [2, 1, 0, 1, 2, 3, 2]),
        ("SYMMETRIC", [1, 0, 0, 1, 2, 3, 3]),
        ("CONSTANT", [9, 9, 0, 1, 2, 3, 9]),
    ],
)
def test_mirrored_padding_repeats_the_outermost_element_or_not(run_layer, mode, row):
    settings = f'mirror_pad_param {{ mode: "{mode}" paddings: [0, 0, 2, 1] constant_values: 9 }}'
    (y,) = run_layer(layer("MirrorPad", settings), x=numbers(1, 4))
    np.testing.assert_array_equal(y, [row])


def test_depth_to_space_is_tensorflows_and_space_to_depth_its_way_back(run_layer):
    x = numbers(2, 3, 2, 8)
    (y,) = run_layer(layer("DepthToSpace", "depth_to_space_param { block_size: 2 }"), x=x)
    assert y.shape == (2, 6, 4, 2)
    for n, h, w, c in np.ndindex(y.shape):
        assert y[n, h, w, c] == x[n, h // 2, w // 2, (h % 2 * 2 + w % 2) * 2 + c]
    (back,) = run_layer(layer("SpaceToDepth", "space_to_depth_param { block_size: 2 }"), x=y)
    np.testing.assert_array_equal(back, x)
    planes = {"x": x.transpose(0, 3, 1, 2)}
    (y,) = run_layer(
        layer("DepthToSpace", 'depth_to_space_param { block_size: 2 data_format: "NCHW" }'), **planes
    )
    for n, c, h, w in np.ndindex(y.shape):
        assert y[n, c, h, w] == planes["x"][n, (h % 2 * 2 + w % 2) * 2 + c, h // 2, w // 2]
    (back,) = run_layer(
        layer("SpaceToDepth", 'space_to_depth_param { block_size: 2 data_format: "NCHW" }'), x=y
    )
    np.testing.assert_array_equal(back, planes["x"])


def test_transposing_names_the_old_axis_of_every_new_one(run_layer):
    x = numbers(2, 3, 4)
    (y,) = run_layer(layer("Transpose", "transpose_param { dim: 2 dim: 0 dim: 1 }"), x=x)
    for i, j, k in np.ndindex(y.shape):
        assert y[i, j, k] == x[j, k, i]


@pytest.mark.parametrize(
    ("text", "axes"),
    [
        (layer("Reverse"), (0,)),
        (layer("Reverse", "reverse_param { axis: -1 }"), (3,)),
        (layer("Flip"), (3,)),
        (layer("Flip", "flip_param { flip_width: false flip_height: true }"), (2,)),
    ],
)
def test_reversing_and_flipping_turn_axes_around(run_layer, text, axes):
    x = numbers(*X)
    (y,) = run_layer(text, x=x)
    for at in np.ndindex(x.shape):
        assert y[at] == x[tuple(x.shape[a] - 1 - i if a in axes else i for a, i in enumerate(at))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("MirrorPad", 'mirror_pad_param { mode: "REFLECT" @paddings: [0, 0, 0, 0, 4, 0, 0, 0] }'), "a reflection of 4 elements needs 5, got 4"),
        (layer("Transpose", "transpose_param { @dim: 0 dim: 0 dim: 1 dim: 2 }"), "dim must name each of 4 axes once, got 0, 0, 1, 2"),
        (layer("DepthToSpace", "depth_to_space_param { block_size: @4 }"), "6 channels are not a multiple of 4 times itself"),
        (layer("SpaceToDepth", "@space_to_depth_param { }"), "block_size must be at least 1, got 0"),
        (layer("Reverse", "reverse_param { axis: @4 }"), "axis 4 is not an axis of an input with 4 axes"),
    ],
)  # fmt: skip
def test_a_bad_setting_of_a_fork_is_an_error_at_its_field(error_of, text, message):
    assert (
        error_of(text.replace("@dim: 0", "dim: @0").replace("@paddings: [", "paddings: [@"), x=X) == message
    )
