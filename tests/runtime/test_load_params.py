"""Weights find their layers by name; everything else keeps its filler and is reported."""

import numpy as np
import pytest

import netc
from netc.frontend.importer import ImportedNet, import_net
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.runtime.load_params import LoadReport, bind_weights

INPUT = 'layer { type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'


def inner(name: str, bottom: str = "x", extra: str = "", top: str | None = None) -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top or name}" {extra} '
        "inner_product_param { num_output: 4 weight_filler { value: 7 } } }\n"
    )


def net(*layers: str) -> ImportedNet:
    return import_net(load_net(INPUT + "".join(layers)))


WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3)
BIAS = np.arange(4, dtype=np.float32)


def test_weights_are_taken_by_layer_name():
    arrays, report = bind_weights(net(inner("f")), {"f": [WEIGHT, BIAS]})
    np.testing.assert_array_equal(arrays["f.weight"], WEIGHT)
    np.testing.assert_array_equal(arrays["f.bias"], BIAS)
    assert report == LoadReport(loaded=("f",))


def test_without_weights_every_parameter_has_its_fillers_values():
    arrays, report = bind_weights(net(inner("f")))
    np.testing.assert_array_equal(arrays["f.weight"], np.full((4, 3), 7))
    np.testing.assert_array_equal(arrays["f.bias"], np.zeros(4))
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}
    assert report == LoadReport(filled=("f",))


def test_layers_that_the_weights_lack_and_layers_that_the_net_lacks_are_reported():
    _, report = bind_weights(net(inner("f"), inner("g")), {"f": [WEIGHT, BIAS], "loss1/fc": [BIAS]})
    assert report == LoadReport(
        loaded=("f",),
        filled=("g",),
        ignored=("loss1/fc",),
        warnings=(
            "warning: no weights for 1 layer, which keep their fillers: g",
            "note: the net does not have 1 layer of the weights: loss1/fc",
        ),
    )


def test_weights_of_another_net_are_called_so():
    _, report = bind_weights(net(inner("f")), {"a": [BIAS], "b": [], "c": [], "d": []})
    assert report.warnings == (
        "warning: the weights are those of another net: they have layers a, b, c, …, it has f",
    )


@pytest.mark.parametrize("shape", [(1, 1, 4, 3), (1, 4, 3)])
def test_leading_ones_of_legacy_files_do_not_count(shape):
    arrays, _ = bind_weights(net(inner("f")), {"f": [WEIGHT.reshape(shape), BIAS.reshape(1, 1, 1, 4)]})
    np.testing.assert_array_equal(arrays["f.weight"], WEIGHT)


@pytest.mark.parametrize("slope", [np.float32(0.5), np.array([0.5]), np.array([[[[0.5]]]])])
def test_a_scalar_may_have_any_number_of_axes_of_one(slope):
    prelu = 'layer { name: "p" type: "PReLU" bottom: "x" top: "p" prelu_param { channel_shared: true } }'
    arrays, _ = bind_weights(net(prelu), {"p": [slope]})
    assert arrays["p.slope"].shape == ()


@pytest.mark.parametrize(
    ("blobs", "message"),
    [
        ([WEIGHT.T, BIAS], "<string>:2:1: error: layer 'f': blob 0 must be 4x3, the weights have 3x4"),
        ([WEIGHT, BIAS[:3]], "<string>:2:1: error: layer 'f': blob 1 must be 4, the weights have 3"),
        (
            [WEIGHT],
            "<string>:2:1: error: layer 'f': the net has 2 parameter blobs here, the weights have 1 parameter blob",
        ),
        ([WEIGHT * 1j, BIAS], "<string>:2:1: error: layer 'f': blob 0 is no array of numbers"),
        (7, "<string>:2:1: error: layer 'f': the weights of a layer are a list of arrays, got int"),
        ([["a"], BIAS], "<string>:2:1: error: layer 'f': blob 0 is no array of numbers"),
    ],
)
def test_blobs_that_do_not_fit_are_an_error(blobs, message):
    with pytest.raises(NetcError) as caught:
        bind_weights(net(inner("f")), {"f": blobs})
    assert caught.value.render().splitlines()[0] == message


def test_of_layers_that_share_a_parameter_the_last_one_counts():
    layers = (inner(n, extra='param { name: "w" } param { name: "b" }') for n in ("f", "g"))
    arrays, report = bind_weights(net(*layers), {"f": [WEIGHT, BIAS], "g": [2 * WEIGHT, BIAS]})
    assert set(arrays) == {"f.weight", "f.bias"}
    np.testing.assert_array_equal(arrays["f.weight"], 2 * WEIGHT)
    assert report.loaded == ("f", "g")


def test_a_shared_parameter_is_loaded_through_any_of_its_layers():
    layers = [inner(n, extra='param { name: "w" } param { name: "b" }') for n in ("f", "g")]
    arrays, report = bind_weights(net(*layers), {"g": [WEIGHT, BIAS]})
    np.testing.assert_array_equal(arrays["f.weight"], WEIGHT)
    assert report.filled == ()


def test_of_layers_with_one_name_the_first_takes_the_weights():
    arrays, report = bind_weights(net(inner("f", top="a"), inner("f", top="b")), {"f": [WEIGHT, BIAS]})
    np.testing.assert_array_equal(arrays["f.weight"], WEIGHT)
    np.testing.assert_array_equal(arrays["f.weight.1"], np.full((4, 3), 7))
    assert report.warnings[0] == (
        "warning: layer 'f': an earlier layer has the same name and took the weights; this one keeps its filler"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_weights_are_a_warning(bad):
    weight = WEIGHT.copy()
    weight[1, 2] = bad
    _, report = bind_weights(net(inner("f")), {"f": [weight, BIAS]})
    assert report.warnings == ("warning: layer 'f': blob 0 holds NaN or infinity",)


def test_blobs_in_the_definition_take_the_place_of_fillers():
    blobs = "blobs { shape { dim: 4 dim: 3 } " + " ".join(f"data: {i}" for i in range(12)) + " } "
    blobs += "blobs { data: [1, 2, 3, 4] }"
    arrays, _ = bind_weights(net(inner("f", extra=blobs)))
    np.testing.assert_array_equal(arrays["f.weight"], WEIGHT)
    np.testing.assert_array_equal(arrays["f.bias"], [1, 2, 3, 4])


def test_a_blob_of_the_wrong_size_in_the_definition_is_an_error():
    with pytest.raises(NetcError, match="blob 0 must be 4x3, the one here holds 2 numbers"):
        bind_weights(net(inner("f", extra="blobs { data: [1, 2] }")))


def test_dummy_data_takes_no_weights():
    dummy = (
        'layer { name: "d" type: "DummyData" top: "d" '
        'dummy_data_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } data_filler { type: "bilinear" } } }'
    )
    arrays, report = bind_weights(net(dummy), {"d": [BIAS]}, seed=3)
    np.testing.assert_array_equal(arrays["d.data"], np.full((1, 1, 2, 2), 0.25))
    assert report.ignored == ("d",)


def test_an_unknown_filler_matters_only_where_it_is_needed():
    odd = inner("f").replace("value: 7", 'type: "fancy"')
    bind_weights(net(odd), {"f": [WEIGHT, BIAS]})
    with pytest.raises(NetcError, match="unknown filler type 'fancy'"):
        bind_weights(net(odd))


INFOGAIN = """layer { type: "Input" top: "p" input_param { shape { dim: 2 dim: 3 } } }
layer { type: "Input" top: "t" input_param { shape { dim: 2 } } }
layer { name: "l" type: "InfogainLoss" bottom: "p" bottom: "t" top: "l" infogain_loss_param { source: "%s" } }
"""


def test_the_matrix_of_an_infogain_loss_is_read_from_the_file_it_names(tmp_path):
    from netc.pycaffe.io import array_to_blobproto

    matrix = np.array([[1, 0, 0], [0.5, 2, 0], [0, 0, 3]], np.float32)
    path = tmp_path / "gain.binaryproto"
    path.write_bytes(array_to_blobproto(matrix.reshape(1, 1, 3, 3)).SerializeToString())
    module = netc.compile(INFOGAIN % path)
    scores = np.array([[1.0, 2, 3], [0, 0, 0]], np.float32)
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    expected = -(matrix[1] @ logs[0] + matrix[2] @ logs[1]) / 2
    np.testing.assert_allclose(module.run(p=scores, t=[1, 2])["l"], expected, rtol=1e-5)


def test_a_missing_matrix_is_an_error_at_its_layer(tmp_path):
    with pytest.raises(NetcError, match=r"layer 'l': .*no\.binaryproto: No such file"):
        netc.compile(INFOGAIN % (tmp_path / "no.binaryproto"))
