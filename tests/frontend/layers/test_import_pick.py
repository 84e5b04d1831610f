"""Tile, Embed, BatchReindex, Filter, ArgMax, Reduction, MVN, SPP, Im2col, Parameter, HDF5Output, BatchNorm's sums."""

import numpy as np
import pytest

from netc.backends.numpy_reference import run_func

X = np.random.default_rng(4).normal(size=(2, 3, 4, 5)).astype("f4")


def layer(kind: str, settings: str = "", bottoms: str = "x", tops: str = "y") -> str:
    names = " ".join([f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()])
    return f'layer {{ name: "l" type: "{kind}" {names} {settings} }}'


@pytest.mark.parametrize("axis", [0, 2, -1])
def test_tile_repeats_an_axis(run_layer, axis):
    (y,) = run_layer(layer("Tile", f"tile_param {{ axis: {axis} tiles: 3 }}"), x=X)
    np.testing.assert_array_equal(y, np.concatenate([X] * 3, axis))


def test_embed_looks_rows_up_and_adds_a_bias(run_layer):
    table, bias, index = (
        np.arange(12.0).reshape(4, 3),
        np.array([100.0, 200, 300]),
        np.array([[3, 0], [1, 1]]),
    )
    (y,) = run_layer(layer("Embed", "embed_param { input_dim: 4 num_output: 3 }"), (table, bias), x=index)
    np.testing.assert_array_equal(y, table[index] + bias)


def test_batch_reindex_takes_samples_by_index(run_layer):
    (y,) = run_layer(layer("BatchReindex", bottoms="x i"), x=X, i=[1, 1, 0])
    np.testing.assert_array_equal(y, X[[1, 1, 0]])


def test_filter_gives_the_chosen_samples_first_and_says_how_many_they_are(imported):
    net = imported(layer("Filter", bottoms="x z s", tops="y w"), x=(4, 2), z=(4,), s=(4, 1, 1, 1))
    x = np.arange(8.0).reshape(4, 2)
    results = run_func(
        net.module.func("main"), {"x": x, "z": x[:, 0], "s": np.array([0, 1, 0, -0.5]).reshape(4, 1, 1, 1)}
    )
    assert net.counted["y"] == net.counted["w"]
    assert results[net.counted["y"].count] == 2
    np.testing.assert_array_equal(results["y"][:2], x[[1, 3]])
    np.testing.assert_array_equal(results["w"][:2], x[[1, 3], 0])


def test_a_layer_that_mixes_what_a_filter_left_is_an_error_at_the_layer(error_of):
    mixing = 'layer { name: "r" type: "Softmax" bottom: "y" top: "z" softmax_param { axis: 0 } }'
    text = layer("Filter", bottoms="x s") + f" @{mixing}"
    assert error_of(text, x=(4, 2), s=(4,)).startswith(
        "nn.softmax cannot take rows whose number a run decides"
    )


def test_what_a_filter_left_may_be_silenced(imported):
    text = layer("Filter", bottoms="x s") + ' layer { type: "Silence" bottom: "y" }'
    assert imported(text, x=(4, 2), s=(4,)).module.func("main").result_names == ()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", X.reshape(2, -1).argmax(1).reshape(2, 1, 1, 1)),
        ("axis: 1", X.argmax(1)[:, np.newaxis]),
        ("axis: -1 out_max_val: true", X.max(-1, keepdims=True)),
        (
            "out_max_val: true",
            np.stack([X.reshape(2, -1).argmax(1), X.reshape(2, -1).max(1)], 1).reshape(2, 2, 1, 1),
        ),
    ],
)
def test_arg_max_without_an_axis_takes_each_sample_as_one_vector(run_layer, settings, expected):
    (y,) = run_layer(layer("ArgMax", f"argmax_param {{ {settings} }}"), x=X)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    ("operation", "function"),
    [
        ("SUM", np.sum),
        ("ASUM", lambda x, a: np.abs(x).sum(a)),
        ("SUMSQ", lambda x, a: (x**2).sum(a)),
        ("MEAN", np.mean),
    ],
)
def test_reduction_covers_all_axes_from_axis_on(run_layer, operation, function, axis):
    (y,) = run_layer(
        layer("Reduction", f"reduction_param {{ operation: {operation} axis: {axis} coeff: 2 }}"), x=X
    )
    np.testing.assert_allclose(y, 2 * function(X, tuple(range(axis % 4, 4))), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("across", [False, True])
def test_mvn_adds_eps_to_the_deviation(run_layer, across):
    axes = (1, 2, 3) if across else (2, 3)
    (y,) = run_layer(layer("MVN", f"mvn_param {{ across_channels: {across} eps: 0.5 }}".lower()), x=X)
    expected = (X - X.mean(axes, keepdims=True)) / (X.std(axes, keepdims=True) + 0.5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_spp_of_drawn_elements_weighs_each_by_itself_in_test(run_layer):
    x = np.abs(X)[..., :4]
    (y,) = run_layer(layer("SPP", "spp_param { pyramid_height: 2 pool: STOCHASTIC }"), x=x)
    whole = (x * x).sum((2, 3)) / x.sum((2, 3))
    parts = [[[(c[i : i + 2, j : j + 2] ** 2).sum() / c[i : i + 2, j : j + 2].sum() for i in (0, 2) for j in (0, 2)]
              for c in n] for n in x]  # fmt: skip
    np.testing.assert_allclose(y, np.concatenate([whole, np.reshape(parts, (2, 12))], 1), rtol=1e-5)


def test_spp_of_one_level_is_a_global_pooling(run_layer):
    (y,) = run_layer(layer("SPP", "spp_param { pyramid_height: 1 }"), x=X)
    np.testing.assert_array_equal(y, X.max((2, 3)))


def test_im2col_over_other_axes_keeps_the_batch_axes(shapes_of):
    settings = "convolution_param { kernel_size: 2 axis: 2 }"
    assert shapes_of(layer("Im2col", settings), x=(2, 3, 4, 5)) == [(2, 3, 8, 4)]


def test_a_parameter_is_a_blob_of_the_net(run_layer, imported):
    text = layer("Parameter", "parameter_param { shape { dim: 2 dim: 3 } }", bottoms="")
    (y,) = run_layer(text, (np.ones((2, 3)),))
    np.testing.assert_array_equal(y, np.ones((2, 3)))
    assert [(p.layer, p.index, p.shape) for p in imported(text).params] == [("l", 0, (2, 3))]


def test_hdf5_output_makes_its_inputs_results_that_are_no_blobs(imported):
    net = imported(
        layer("HDF5Output", 'hdf5_output_param { file_name: "out.h5" }', "x t", ""), x=(2, 3), t=(2,)
    )
    assert [(f.path, f.datasets) for f in net.files] == [
        ("out.h5", (("data", "l.data"), ("label", "l.label")))
    ]


def test_batch_norm_in_training_leaves_moving_sums(imported):
    net = imported(
        layer("BatchNorm", "batch_norm_param { moving_average_fraction: 0.9 }"), "TRAIN", x=X.shape
    )
    sums = {"l.mean": np.array([1.0, 2, 3]), "l.variance": np.array([4.0, 5, 6]), "l.count": np.array([7.0])}
    results = run_func(net.module.func("main"), {"x": X, **sums})
    left = {state.value.name: results[state.next] for state in net.states}
    axes = (0, 2, 3)
    np.testing.assert_allclose(left["l.mean"], 0.9 * sums["l.mean"] + X.mean(axes), rtol=1e-5)
    np.testing.assert_allclose(left["l.variance"], 0.9 * sums["l.variance"] + X.var(axes, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(left["l.count"], 0.9 * 7 + 1, rtol=1e-6)
    assert net.carried == ()


def test_batch_norms_that_share_their_sums_move_them_one_after_the_other(imported):
    names = 'param { name: "m" } param { name: "v" } param { name: "c" }'
    settings = f"{names} batch_norm_param {{ moving_average_fraction: 0.5 }}"
    text = layer("BatchNorm", settings) + layer("BatchNorm", settings, "z", "w").replace('"l"', '"r"')
    net = imported(text, "TRAIN", x=(2, 3), z=(2, 3))
    x, z = np.ones((2, 3)), np.full((2, 3), 5.0)
    sums = {"l.mean": np.full(3, 8.0), "l.variance": np.zeros(3), "l.count": np.array([4.0])}
    results = run_func(net.module.func("main"), {"x": x, "z": z, **sums})
    assert [state.next for state in net.states] == ["l.mean.next", "l.variance.next", "l.count.next"]
    np.testing.assert_allclose(results["l.mean.next"], 0.5 * (0.5 * 8 + 1) + 5)
    np.testing.assert_allclose(results["l.count.next"], 0.5 * (0.5 * 4 + 1) + 1)


def test_batch_norm_with_global_statistics_leaves_nothing(imported):
    assert imported(layer("BatchNorm"), x=X.shape).states == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("Tile", "tile_param { tiles: @0 }"), "tiles must be at least 1; got 0"),
        (layer("Tile", "tile_param { tiles: 2 axis: @4 }"), "axis 4 is not an axis of an input with 4 axes"),
        (layer("Embed", "embed_param { input_dim: @0 num_output: 3 }"), "input_dim must be at least 1; got 0"),
        (layer("BatchReindex", "", "x x").replace('bottom: "x" top', 'bottom: @"x" top'), "needs indices of shape (M), got 2x3x4x5"),
        (layer("Filter", "", "x x").replace('bottom: "x" top', 'bottom: @"x" top'), "the selector must have one number a sample, got 2x3x4x5"),
        (layer("ArgMax", "argmax_param { axis: 1 top_k: @4 }"), "top_k must be within 1..3, got 4"),
        (layer("Reduction", "reduction_param { axis: @-5 }"), "axis -5 is not an axis of an input with 4 axes"),
        (layer("SPP", "spp_param { pyramid_height: @4 }"), "an input of 4 elements an axis has bins for 3 levels, got 4"),
        (layer("SPP", "spp_param { pyramid_height: @4294967295 }"), "an input of 4 elements an axis has bins for 3 levels, got 4294967295"),
        (layer("SPP", "spp_param { pyramid_height: 3 pool: @STOCHASTIC }"), "level 1 needs padding, which STOCHASTIC does not take"),
        ("@" + layer("Clip"), "clip_param needs min and max; min is missing"),
        (layer("Im2col", "convolution_param { kernel_size: @7 }"), "kernel 7 is larger than the padded input: 4 + 0 + 0"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X.shape) == message
