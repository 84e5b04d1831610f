"""``Net.backward``: gradients of inputs, of blobs and of parameters, from any layer."""

import numpy as np
import pytest
from small_nets import close

import netc.pycaffe as caffe
from netc.ir.diagnostics import NetcError

LINEAR_NET = """input: "data" input_shape { dim: 2 dim: 3 }
layer { name: "half" type: "Power" bottom: "data" top: "half" power_param { scale: 0.5 } }
layer { name: "ip" type: "InnerProduct" bottom: "half" top: "ip" inner_product_param {
    num_output: 4 weight_filler { type: "gaussian" std: 1 } } }
"""
LOSS_NET = """input: "data" input_shape { dim: 2 dim: 3 } input: "wanted" input_shape { dim: 2 dim: 3 }
layer { name: "scale" type: "Power" bottom: "data" top: "data" power_param { scale: 3 shift: 1 } }
layer { name: "square" type: "Power" bottom: "data" top: "data" power_param { power: 2 } }
layer { name: "drop" type: "Dropout" bottom: "data" top: "drop" }
layer { name: "loss" type: "EuclideanLoss" bottom: "drop" bottom: "wanted" top: "loss" loss_weight: 4 }
"""


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 1, shape).astype("f4")


def test_gradients_of_a_linear_net_are_products(write):
    net = caffe.Net(write(LINEAR_NET), caffe.TEST)
    data, seed = normal(2, 3), normal(2, 4)
    net.forward(data=data)
    found = net.backward(ip=seed, diffs=["half"])
    w = net.params["ip"][0].data
    assert set(found) == {"data", "half"}
    close(found["half"], seed @ w)
    close(found["data"], 0.5 * seed @ w)
    close(net.blobs["data"].diff, found["data"])
    close(net.params["ip"][0].diff, seed.T @ (0.5 * data))
    close(net.params["ip"][1].diff, seed.sum(0))


def test_gradients_of_parameters_add_up_until_they_are_cleared(write):
    net = caffe.Net(write(LINEAR_NET), caffe.TEST)
    net.forward(data=normal(2, 3))
    seed = normal(2, 4)
    net.backward(ip=seed)
    net.backward(ip=seed)
    close(net.params["ip"][1].diff, 2 * seed.sum(0))
    net.clear_param_diffs()
    net.backward(ip=seed)
    close(net.params["ip"][1].diff, seed.sum(0))


def test_an_edit_of_a_parameter_is_seen_by_the_next_way_back(write):
    net = caffe.Net(write(LINEAR_NET), caffe.TEST)
    net.forward(data=normal(2, 3))
    seed = normal(2, 4)
    net.backward(ip=seed)
    net.params["ip"][0].data[...] = 2
    close(net.backward(ip=seed)["data"], np.repeat(seed.sum(1, keepdims=True), 3, 1))


@pytest.mark.parametrize("end", ["conv", "relu", "pool", "fc"])
def test_a_dream_climbs_from_any_layer(net, batch, end):
    data, (top,) = net.blobs["data"], net.top_names[end]

    def objective(image: np.ndarray) -> float:
        data.data[...] = image
        net.forward(end=end)
        return float((net.blobs[top].data.astype("f8") ** 2).sum() / 2)

    objective(batch)
    net.blobs[top].diff[...] = net.blobs[top].data
    net.backward(start=end)
    towards = data.diff.copy()
    step = 1e-3 * normal(*batch.shape)
    rise = objective(batch + step) - objective(batch - step)
    assert rise == pytest.approx(2 * float((towards * step).sum()), rel=0.02)
    assert objective(batch + 0.01 * towards / np.abs(towards).mean()) > objective(batch)


def test_one_class_goes_back_to_its_image_alone(net, batch):
    net.forward(data=batch)
    net.blobs["prob"].diff[0, 2] = 1
    found = net.backward()["data"]
    assert found[0].any()
    assert not found[1].any()


def test_the_way_back_ends_where_it_is_told(net, batch):
    net.forward(data=batch)
    net.blobs["prob"].diff[:, 1] = 1
    whole = net.backward(diffs=["pool"])["pool"].copy()
    net.clear_param_diffs()
    found = net.backward(end="fc")
    assert list(found) == ["pool"]
    close(found["pool"], whole)
    assert net.params["fc"][0].diff.any()
    assert not net.params["conv"][0].diff.any()


def test_layers_in_place_and_random_numbers_are_those_of_the_forward_pass(write):
    net = caffe.Net(write(LOSS_NET), caffe.TRAIN)
    data, wanted = normal(2, 3), normal(2, 3) + 5
    for _ in range(3):
        net.forward(data=data, wanted=wanted)
        found = net.backward()
        raw = 3 * data + 1
        mask = np.where(net.blobs["drop"].data != 0, 2, 0)
        error = 4 * (mask * raw**2 - wanted) / 2
        close(found["wanted"], -error)
        close(found["data"], error * mask * 2 * raw * 3)
        assert net.blobs["loss"].diff == 4


def test_random_layers_cannot_be_drawn_again_from_their_middle(write):
    net = caffe.Net(write(LOSS_NET), caffe.TRAIN)
    net.forward(data=normal(2, 3), wanted=normal(2, 3))
    with pytest.raises(NetcError, match="must end where the last forward pass began"):
        net.backward(end="drop")


def test_all_rows_go_forward_and_back_in_batches(write):
    net = caffe.Net(write(LINEAR_NET), caffe.TEST)
    data, seed = normal(5, 3), normal(5, 4)
    blobs, diffs = net.forward_backward_all(blobs=["half"], diffs=["half"], data=data, ip=seed)
    w = net.params["ip"][0].data
    close(blobs["half"], 0.5 * data)
    close(blobs["ip"], 0.5 * data @ w.T)
    close(diffs["half"], seed @ w)
    close(diffs["data"], 0.5 * seed @ w)
    close(net.params["ip"][0].diff, seed.T @ (0.5 * data))


def test_mistakes_are_named(net, batch):
    net.forward(data=batch)
    with pytest.raises(NetcError, match="the net's outputs are prob"):
        net.backward(fc=np.zeros((2, 5)))
    with pytest.raises(NetcError, match="the gradient of 'prob' is 1x5"):
        net.backward(prob=np.zeros((1, 5)))
    with pytest.raises(NetcError, match="no layer 'conv9'"):
        net.backward(start="conv9")
    with pytest.raises(NetcError, match="from a later layer to an earlier"):
        net.backward(start="conv", end="fc")
    with pytest.raises(NetcError, match="equally many rows"):
        net.forward_backward_all(data=batch, prob=np.zeros((1, 5)))


@pytest.mark.parametrize("text", [LINEAR_NET, LINEAR_NET.split('layer { name: "ip"')[0]])
def test_a_way_back_without_a_beginning_gives_zeros(write, text):
    net = caffe.Net(write(text), caffe.TEST)
    net.forward()
    net.blobs["data"].diff[...] = 1
    assert not net.backward()["data"].any()


def test_the_net_of_a_solver_goes_back_over_its_last_step_and_its_own_passes(write, tmp_path):
    text = (
        LINEAR_NET
        + """
    layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "wanted" top: "loss" }"""
    )
    text = 'input: "wanted" input_shape { dim: 2 dim: 4 } ' + text
    path = tmp_path / "solver.prototxt"
    path.write_text(
        f'net: "{write(text)}" base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot_after_train: false'
    )
    solver = caffe.SGDSolver(str(path))
    net = solver.net
    net.blobs["data"].data[...] = normal(2, 3)
    solver.step(1)
    net.forward()
    net.clear_param_diffs()
    before, loss = net.params["ip"][0].data.copy(), float(net.blobs["loss"].data)
    net.backward()
    gradient = net.params["ip"][0].diff.copy()
    error = net.blobs["ip"].data / 2
    close(gradient, error.T @ net.blobs["half"].data)
    solver.step(1)
    close(net.params["ip"][0].data, before - 0.1 * gradient)
    net.forward()
    assert net.blobs["loss"].data < loss
