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
            "cannot multiply 2x8x4x6 by 5: axis 3 differs",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X, z=(5,)) == message
