"""``Net``: blobs, parameters, passes over parts of the net."""

import gc
import weakref

import numpy as np
import pytest
from small_nets import CONV_NET, close, expected_blobs

import netc.pycaffe as caffe
from netc.frontend.weights import load_weights
from netc.ir.diagnostics import NetcError

DUMMY_NET = """name: "dummy"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
    num: 5 channels: 2 height: 3 width: 4 num: 5 channels: 1 height: 1 width: 1
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip_blob" inner_product_param {
    num_output: 3 weight_filler { type: "gaussian" std: 2.5 } bias_filler { type: "constant" value: -3 } } }
layer { name: "neg" type: "Power" bottom: "label" top: "neg" power_param { scale: -1 } }
"""


def test_the_net_shows_its_layers_and_blobs(net):
    assert list(net.blobs) == ["data", "conv", "pool", "fc", "prob"]
    assert net._layer_names == ["input", "conv", "relu", "pool", "fc", "prob"]
    assert [layer.type for layer in net.layers] == [
        "Input", "Convolution", "ReLU", "Pooling", "InnerProduct", "Softmax"
    ]  # fmt: skip
    assert net.inputs == ["data"]
    assert net.outputs == ["prob"]
    assert list(net.params) == ["conv", "fc"]
    assert net.layer_dict["conv"].blobs == net.params["conv"]
    assert net.top_names["relu"] == net.bottom_names["relu"] == ["conv"]
    assert net.bottom_names["input"] == []
    blob = net.blobs["conv"]
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 4, 6, 6, 288)
    assert net.blobs["fc"].width == 1
    assert net.params["conv"][0].shape == (4, 3, 3, 3)
    assert "small(data 2x3x8x8)" in repr(net)


def test_outputs_are_sorted_by_name(write):
    net = caffe.Net(
        write(
            """input: "data" input_shape { dim: 1 dim: 2 }
            layer { name: "s" type: "Split" bottom: "data" top: "z" top: "a" }
            layer { name: "r" type: "ReLU" bottom: "a" top: "b" }"""
        ),
        caffe.TEST,
    )
    assert net.outputs == ["b", "z"]
    assert set(net.forward(data=[[1, -1]])) == {"b", "z"}


def test_forward_computes_what_the_layers_mean(net, batch):
    out = net.forward(data=batch)
    wanted = expected_blobs(net, batch)
    assert list(out) == ["prob"]
    close(out["prob"], wanted["prob"])
    for name in ("conv", "pool", "fc", "prob"):
        close(net.blobs[name].data, wanted[name])


def test_forward_returns_blobs_asked_for_and_takes_blobs_written_before(net, batch):
    net.blobs["data"].data[...] = batch
    out = net.forward(blobs=["pool"])
    assert set(out) == {"prob", "pool"}
    close(out["pool"], expected_blobs(net, batch)["pool"])


def test_data_are_views_that_the_next_pass_writes_into(net, batch):
    first = net.forward(data=batch)["prob"]
    held = net.blobs["conv"].data
    assert held is net.blobs["conv"].data
    assert first is net.blobs["prob"].data
    net.forward(data=2 * batch)
    wanted = expected_blobs(net, 2 * batch)
    close(held, wanted["conv"])
    close(first, wanted["prob"])


def test_blobs_read_after_the_pass_are_those_of_the_pass(net, batch):
    """Whatever is edited between the pass and the first look at an intermediate blob."""
    net.forward(data=batch)
    wanted = expected_blobs(net, batch)
    net.params["conv"][0].data[...] = 0
    net.blobs["data"].data[...] = 1
    net.blobs["prob"].data[...] = 7
    close(net.blobs["fc"].data, wanted["fc"])
    assert (net.blobs["prob"].data == 7).all()


def test_blobs_are_right_if_parameters_are_held_and_edited_after_the_pass(net, batch):
    held = net.params["fc"][0].data
    net.forward(data=batch)
    wanted = expected_blobs(net, batch)
    held[...] = 0
    close(net.blobs["fc"].data, wanted["fc"])


def test_blobs_beyond_a_shorter_pass_stay_those_of_the_longer_one(net, batch):
    net.forward(data=batch)
    wanted, shorter = expected_blobs(net, batch), expected_blobs(net, 3 * batch)
    net.forward(data=3 * batch, end="pool")
    close(net.blobs["fc"].data, wanted["fc"])
    close(net.blobs["pool"].data, shorter["pool"])


def test_only_outputs_are_computed_until_somebody_looks(net, batch):
    net.forward(data=batch)
    assert not net._engine.keeps_all
    assert net.blobs["pool"].shape == (2, 4, 3, 3)
    assert not net._engine.keeps_all
    assert net.blobs["pool"].data.any()
    assert net._engine.keeps_all


def test_a_blob_that_was_asked_for_after_a_failed_pass_is_not_stale(net, batch):
    net.forward(data=batch)
    wanted = expected_blobs(net, batch)
    with pytest.raises(NetcError):
        net.forward(blobs=["fc"], data=batch[:1])
    close(net.blobs["fc"].data, wanted["fc"])


def test_edits_of_parameters_are_seen_by_the_next_pass(net, batch):
    net.forward(data=batch)
    net.params["conv"][1].data[0] = 1.0
    net.params["conv"][0].data[1:] = 0.5
    net.params["fc"][0].data.flat = np.arange(5 * 36) / 100
    close(net.forward()["prob"], expected_blobs(net, batch)["prob"])


def test_a_pass_can_end_at_a_layer(net, batch):
    out = net.forward(end="conv", data=batch)
    close(out["conv"], expected_blobs(net, batch)["conv.raw"])
    assert not net.blobs["prob"].data.any()
    out = net.forward(end="pool", blobs=["conv"])
    close(out["conv"], expected_blobs(net, batch)["conv"])


def test_a_pass_can_start_at_a_layer_with_an_edited_blob(net, batch):
    net.forward(data=batch)
    pool = np.random.default_rng(1).random((2, 4, 3, 3), np.float32)
    net.blobs["pool"].data[...] = pool
    out = net.forward(start="fc")
    w, b = (blob.data for blob in net.params["fc"])
    close(net.blobs["fc"].data, pool.reshape(2, -1) @ w.T + b)
    close(out["prob"].sum(1), 1)
    close(net.blobs["conv"].data, expected_blobs(net, batch)["conv"])
    assert set(net.forward(start="fc", end="fc")) == {"fc"}


def test_a_part_of_a_net_uses_parameters_that_a_layer_before_it_declared(write):
    net = caffe.Net(
        write(
            """input: "x" input_shape { dim: 1 dim: 3 }
            layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" }
                    inner_product_param { num_output: 3 bias_term: false
                                          weight_filler { type: "gaussian" std: 1 } } }
            layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
                    inner_product_param { num_output: 3 bias_term: false } }"""
        ),
        caffe.TEST,
    )
    x = np.array([[1, 2, 3]], "f4")
    w = net.params["b"][0].data
    close(net.forward(x=x)["b"], x @ w.T @ w.T)
    net.params["a"][0].data[...] = np.eye(3) * 2
    close(net.forward(start="b")["b"], net.blobs["a"].data * 2)
    close(net.forward()["b"], 4 * x)


def test_reshaped_inputs_reshape_the_net(net, batch):
    net.blobs["data"].reshape(5, 3, 8, 8)
    net.reshape()
    assert net.blobs["prob"].shape == (5, 5)
    rows = np.concatenate([batch, batch, batch[:1]])
    close(net.forward(data=rows)["prob"], expected_blobs(net, rows)["prob"])
    net.blobs["data"].reshape(1, 3, 8, 8)
    net.blobs["data"].data[...] = batch[:1]
    close(net.forward()["prob"], expected_blobs(net, batch[:1])["prob"])
    assert net.blobs["conv"].data.shape == (1, 4, 6, 6)


def test_a_size_that_the_parameters_do_not_fit_is_refused(net):
    net.blobs["data"].reshape(2, 3, 10, 10)
    with pytest.raises(NetcError, match=r"layer 'fc': .*5x64, and they are 5x36"):
        net.forward()


def test_forward_all_runs_any_number_of_rows(net):
    rows = np.random.default_rng(2).random((5, 3, 8, 8), np.float32)
    out = net.forward_all(data=rows, blobs=["pool"])
    wanted = expected_blobs(net, rows)
    close(out["prob"], wanted["prob"])
    close(out["pool"], wanted["pool"])


def test_wrong_inputs_are_refused(net, batch):
    with pytest.raises(NetcError, match="must be the same"):
        net.forward(date=batch)
    with pytest.raises(NetcError, match="has 1 rows, and the batch size is 2"):
        net.forward(data=batch[:1])
    with pytest.raises(NetcError, match="2x3x9x9 of float32; expected 2x3x8x8"):
        net.forward(data=np.zeros((2, 3, 9, 9), "f4"))
    with pytest.raises(NetcError, match="no layer 'conv9'"):
        net.forward(start="conv9")
    with pytest.raises(NetcError, match="no blob 'conv9'"):
        net.forward(blobs=["conv9"])
    with pytest.raises(NetcError, match="extents are numbers from 1"):
        net.blobs["data"].reshape(0, 3)
    with pytest.raises(NetcError, match="cannot become"):
        net.params["conv"][0].reshape(1, 2)
    with pytest.raises(NetcError, match="phase"):
        caffe.Net("x.prototxt", 7)


def test_gradients_of_parameters_are_cleared(net):
    diff = net.params["conv"][0].diff
    assert not diff.any()
    diff[...] = 1
    net.clear_param_diffs()
    assert not diff.any()
    assert not net.blobs["conv"].diff.any()


def test_weights_are_saved_and_loaded(net, batch, write, tmp_path):
    path = tmp_path / "w.caffemodel"
    net.save(path)
    saved = load_weights(path)
    assert saved.layer_types == {"conv": "Convolution", "fc": "InnerProduct"}
    wanted = net.forward(data=batch)["prob"].copy()
    for other in (
        caffe.Net(write(CONV_NET), str(path), caffe.TEST),
        caffe.Net(write(CONV_NET), caffe.TEST, weights=path),
    ):
        close(other.forward(data=batch)["prob"], wanted)
    other = caffe.Net(write(CONV_NET), caffe.TEST)
    assert np.abs(other.forward(data=batch)["prob"] - wanted).max() > 1e-3
    held = other.blobs["prob"].data
    other.copy_from(path)
    other.forward()
    close(held, wanted)


def test_copy_from_leaves_layers_that_the_file_lacks(net, write, tmp_path):
    net.save(tmp_path / "w.caffemodel")
    other = caffe.Net(write(CONV_NET.replace('"fc"', '"new"')), caffe.TEST)
    before = other.params["new"][0].data.copy()
    other.copy_from(tmp_path / "w.caffemodel")
    close(other.params["conv"][0].data, net.params["conv"][0].data)
    assert (other.params["new"][0].data == before).all()
    wrong = caffe.Net(write(CONV_NET.replace("num_output: 5", "num_output: 6")), caffe.TEST)
    with pytest.raises(NetcError, match=r"must be 6x36, the weights have 5x36"):
        wrong.copy_from(tmp_path / "w.caffemodel")


def test_nets_can_share_parameters(net, batch, write):
    other = caffe.Net(write(CONV_NET), caffe.TEST)
    other.forward(data=batch)
    blob = other.params["fc"][0]
    other.share_with(net)
    close(other.forward()["prob"], net.forward(data=batch)["prob"])
    net.params["fc"][0].data[...] *= 2
    close(blob.data, net.params["fc"][0].data)
    close(other.forward()["prob"], expected_blobs(net, batch)["prob"])
    blob.data[...] = 0
    close(net.forward()["prob"].std(), expected_blobs(net, batch)["prob"].std())


def test_dummy_data_draws_anew_and_keeps_constants_that_were_edited(write):
    net = caffe.Net(write(DUMMY_NET), caffe.TRAIN)
    assert net.inputs == []
    assert net.outputs == ["ip_blob", "neg"]
    assert (net.blobs["label"].data == 2).all()
    net.blobs["label"].data[...] = np.arange(5).reshape(5, 1, 1, 1)
    net.forward()
    close(net.blobs["neg"].data.ravel(), -np.arange(5))
    first = net.blobs["data"].data.copy()
    assert first.std() > 0.5
    w, b = (blob.data for blob in net.params["ip"])
    close(net.blobs["ip_blob"].data, first.reshape(5, -1) @ w.T + b)
    net.forward(start="ip")
    assert (net.blobs["data"].data == first).all()
    net.forward()
    assert (net.blobs["data"].data != first).any()


def test_a_seed_makes_nets_reproducible(write):
    path = write(CONV_NET)

    def first_weights():
        return caffe.Net(path, caffe.TEST).params["conv"][0].data.copy()

    caffe.set_random_seed(3)
    first, second = first_weights(), first_weights()
    caffe.set_random_seed(3)
    assert (first_weights() == first).all()
    assert (first != second).any()


def test_memory_data_hands_out_batches_of_the_given_arrays(write):
    net = caffe.Net(
        write(
            """layer { name: "data" type: "MemoryData" top: "data" top: "label"
                       memory_data_param { batch_size: 2 channels: 1 height: 1 width: 2 } }
            layer { name: "p" type: "Power" bottom: "data" top: "p" power_param { scale: 10 } }"""
        ),
        caffe.TEST,
    )
    data = np.arange(8, dtype="f4").reshape(4, 1, 1, 2)
    net.set_input_arrays(data, np.arange(4))
    for rows in (data[:2], data[2:], data[:2]):
        close(net.forward()["p"], 10 * rows)
    close(net.blobs["label"].data, [0, 1])
    with pytest.raises(NetcError, match="multiples of the batch size 2"):
        net.set_input_arrays(data[:3], np.arange(3))


def test_only_memory_data_takes_input_arrays(net):
    with pytest.raises(NetcError, match="first layer is MemoryData"):
        net.set_input_arrays(np.zeros((2, 3, 8, 8)), np.zeros(2))


def test_an_input_that_a_layer_works_on_in_place_changes(write):
    net = caffe.Net(
        write(
            """input: "x" input_shape { dim: 1 dim: 3 }
            layer { name: "r" type: "ReLU" bottom: "x" top: "x" }
            layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { shift: 1 } }"""
        ),
        caffe.TEST,
    )
    net.blobs["x"].data[...] = [[-1, 0, 1]]
    close(net.forward()["p"], [[1, 1, 2]])
    close(net.blobs["x"].data, [[0, 0, 1]])


def test_stages_and_levels_select_layers(write):
    text = """input: "x" input_shape { dim: 1 dim: 3 }
    layer { name: "a" type: "Power" bottom: "x" top: "a" include { stage: "deep" } }
    layer { name: "b" type: "Power" bottom: "x" top: "b" include { min_level: 2 } }
    layer { name: "c" type: "Power" bottom: "x" top: "c" include { phase: TRAIN } }"""
    path = write(text + '\nlayer { name: "d" type: "Power" bottom: "x" top: "d" }')
    assert caffe.Net(path, caffe.TEST).outputs == ["d"]
    assert caffe.Net(path, caffe.TEST, stages=["deep"]).outputs == ["a", "d"]
    assert caffe.Net(path, caffe.TEST, level=2).outputs == ["b", "d"]
    assert caffe.Net(path, phase=caffe.TRAIN).outputs == ["c", "d"]


def test_blobs_outlive_their_net(write, batch):
    net = caffe.Net(write(CONV_NET), caffe.TEST)
    net.forward(data=batch)
    wanted = expected_blobs(net, batch)
    blobs, params = net.blobs, net.params
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
    close(blobs["fc"].data, wanted["fc"])
    assert sum(blob.data.sum() + blob.diff.sum() for each in params.values() for blob in each)


def test_blobs_of_a_data_layer_get_their_shape_from_the_caller(write):
    path = write(
        """layer { name: "data" type: "Data" top: "data" data_param { source: "nowhere" batch_size: 4 } }
        layer { name: "p" type: "Power" bottom: "data" top: "p" power_param { scale: 2 } }"""
    )
    with pytest.raises(NetcError, match="shape of input 'data' is not stated"):
        caffe.Net(path, caffe.TEST)
    net = caffe.Net(path, caffe.TEST, input_shapes={"data": (2, 3)})
    net.blobs["data"].data[...] = 1
    close(net.forward()["p"], np.full((2, 3), 2))
