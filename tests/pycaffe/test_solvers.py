"""Solvers through Caffe's Python interface, as its notebooks and scripts use them."""

from pathlib import Path

import numpy as np
import pytest

import netc.pycaffe as caffe
from netc.ir.diagnostics import NetcError

GOLDENS = Path(__file__).parents[1] / "goldens" / "solver"
LAYERS = ("ip1", "ip2")


@pytest.fixture(autouse=True)
def in_the_folder_of_the_goldens(monkeypatch):
    monkeypatch.chdir(GOLDENS)


def golden(case):
    return np.load(GOLDENS / f"solver_{case}.npz")


def begin(solver, arrays):
    for layer in LAYERS:
        for index, blob in enumerate(solver.net.params[layer]):
            blob.data[...] = arrays[f"init/{layer}/{index}"]


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("sgd", caffe.SGDSolver), ("nesterov", caffe.NesterovSolver), ("adagrad", caffe.AdaGradSolver),
        ("rmsprop", caffe.RMSPropSolver), ("adadelta", caffe.AdaDeltaSolver), ("adam", caffe.AdamSolver),
        ("iter_size", caffe.SGDSolver),
    ],
)  # fmt: skip
def test_steps_show_the_loss_the_parameters_and_what_they_lost(case, kind):
    arrays = golden(case)
    solver = caffe.get_solver(f"solver_{case}.prototxt")
    assert type(solver) is kind
    begin(solver, arrays)
    for step in range(4):
        solver.step(1)
        assert solver.iter == step + 1
        assert float(solver.net.blobs["loss"].data) == pytest.approx(float(arrays["loss"][step]), abs=1e-4)
        for layer in LAYERS:
            for index, blob in enumerate(solver.net.params[layer]):
                place = f"{layer}/{index}"
                before = arrays[f"step{step}/{place}"] if step else arrays[f"init/{place}"]
                after = arrays[f"step{step + 1}/{place}"]
                np.testing.assert_allclose(blob.data, after, atol=1e-4)
                np.testing.assert_allclose(blob.diff, before - after, atol=1e-4)


def test_blobs_and_gradients_are_those_of_the_step():
    arrays = golden("sgd")
    solver = caffe.SGDSolver("solver_sgd.prototxt")
    begin(solver, arrays)
    solver.step(3)
    net = solver.net
    assert net.blobs["data"].data.shape == (4, 6)
    np.testing.assert_array_equal(net.blobs["data"].data, arrays["data"][8:12])
    # the forward pass of the third step used the parameters after the second
    h = np.tanh(arrays["data"][8:12] @ arrays["step2/ip1/0"].T + arrays["step2/ip1/1"])
    np.testing.assert_allclose(net.blobs["h"].data, h, atol=1e-5)
    scores = h @ arrays["step2/ip2/0"].T + arrays["step2/ip2/1"]
    np.testing.assert_allclose(net.blobs["s"].data, scores, atol=1e-5)
    odds = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    odds[np.arange(4), arrays["label"][8:12].astype(int)] -= 1
    np.testing.assert_allclose(net.blobs["s"].diff, odds / 4, atol=1e-5)


def test_the_net_of_a_solver_goes_forward_over_its_data_with_its_parameters():
    arrays = golden("sgd")
    solver = caffe.SGDSolver("solver_sgd.prototxt")
    begin(solver, arrays)
    first = solver.net.forward()
    assert float(first["loss"]) == pytest.approx(float(arrays["loss"][0]), abs=1e-4)
    np.testing.assert_array_equal(solver.net.blobs["data"].data, arrays["data"][:4])
    solver.net.forward()
    np.testing.assert_array_equal(solver.net.blobs["data"].data, arrays["data"][4:8])
    solver.step(1)
    for layer in LAYERS:
        solver.net.params[layer][0].data[...] = 0
        solver.net.params[layer][1].data[...] = 0
    assert float(solver.net.forward()["loss"]) == pytest.approx(np.log(3), abs=1e-5)


def test_snapshots_are_restored(tmp_path, monkeypatch):
    text = (GOLDENS / "solver_adam.prototxt").read_text()
    path = GOLDENS / "solver_adam.prototxt"
    (tmp_path / "s.prototxt").write_text(text.replace("solver_net", str(path.with_name("solver_net"))))
    text = (tmp_path / "s.prototxt").read_text() + f'snapshot_prefix: "{tmp_path}/run"\n'
    (tmp_path / "s.prototxt").write_text(text)
    first, second = (caffe.get_solver(tmp_path / "s.prototxt") for _ in range(2))
    first.step(2)
    first.snapshot()
    first.step(2)
    second.restore(tmp_path / "run_iter_2.solverstate")
    assert second.iter == 2
    second.solve()
    first.solve()
    assert (second.iter, first.iter) == (10, 10)
    np.testing.assert_array_equal(first.net.params["ip1"][0].data, second.net.params["ip1"][0].data)


def test_a_net_without_data_is_filled_through_its_blobs(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 1 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 1 } }\n'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }\n'
    )
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "net.prototxt" base_lr: 0.5 lr_policy: "fixed" max_iter: 3\n')
    solver = caffe.SGDSolver(path)
    solver.net.blobs["x"].data[...] = 1
    solver.net.blobs["t"].data[...] = 4
    solver.step(1)
    assert float(solver.net.blobs["loss"].data) == pytest.approx(8)
    np.testing.assert_allclose(solver.net.params["ip"][1].data, [2])
    np.testing.assert_allclose(solver.net.blobs["ip"].diff, [[-2], [-2]])
    solver.step(30)
    np.testing.assert_allclose(solver.net.blobs["ip"].data, [[4], [4]], atol=1e-3)


def test_callbacks_come_before_every_step_and_before_every_update():
    solver = caffe.SGDSolver("solver_sgd.prototxt")
    calls = []
    solver.add_callback(lambda: calls.append(("first", solver.iter)), None)
    solver.add_callback(
        lambda: calls.append(("start", solver.iter)), lambda: calls.append(("ready", solver.iter))
    )
    solver.step(2)
    assert calls == [("first", 0), ("start", 0), ("ready", 0), ("first", 1), ("start", 1), ("ready", 1)]
    solver.solve()
    assert calls[-1] == ("ready", 9)
    with pytest.raises(NetcError, match="on_start is a function, or None; got 'print'"):
        solver.add_callback("print", None)


def test_a_callback_at_the_start_sees_the_blobs_of_the_step_before():
    arrays = golden("sgd")
    solver = caffe.SGDSolver("solver_sgd.prototxt")
    begin(solver, arrays)
    seen = []
    solver.add_callback(lambda: seen.append(solver.net.blobs["data"].data.copy()), None)
    solver.step(3)
    np.testing.assert_array_equal(seen[1], arrays["data"][:4])
    np.testing.assert_array_equal(seen[2], arrays["data"][4:8])


@pytest.mark.parametrize("case", ["sgd", "iter_size", "clip"])
def test_gradients_that_are_ready_are_those_of_the_batches_and_lead_to_the_originals_parameters(case):
    arrays = golden(case)
    solver = caffe.get_solver(f"solver_{case}.prototxt")
    begin(solver, arrays)
    seen = []

    def ready():
        net = solver.net
        h = np.tanh(net.blobs["data"].data @ net.params["ip1"][0].data.T + net.params["ip1"][1].data)
        np.testing.assert_allclose(net.blobs["h"].data, h, atol=1e-5)
        seen.append(
            (net.blobs["s"].diff.copy(), net.blobs["h"].data.copy(), net.params["ip2"][0].diff.copy())
        )

    solver.add_callback(None, ready)
    for step in range(4):
        solver.step(1)
        for layer in LAYERS:
            for index, blob in enumerate(solver.net.params[layer]):
                place = f"{layer}/{index}"
                before = arrays[f"step{step}/{place}"] if step else arrays[f"init/{place}"]
                after = arrays[f"step{step + 1}/{place}"]
                np.testing.assert_allclose(blob.data, after, atol=1e-4)
                np.testing.assert_allclose(blob.diff, before - after, atol=1e-4)
    assert len(seen) == 4
    if case != "iter_size":  # whose gradients are sums over several batches
        for scores, h, weight in seen:
            np.testing.assert_allclose(weight, scores.T @ h, atol=1e-5)


def test_an_update_takes_what_a_callback_makes_of_the_gradients():
    solver = caffe.SGDSolver("solver_sgd.prototxt")
    before = solver.net.params["ip2"][1].data.copy()

    def ready():
        solver.net.params["ip2"][1].diff[...] = 1

    solver.add_callback(None, ready)
    solver.step(1)
    expected = solver.param.base_lr * (1 + solver.param.weight_decay * before)
    np.testing.assert_allclose(before - solver.net.params["ip2"][1].data, expected, rtol=1e-4)
    np.testing.assert_allclose(solver.net.params["ip2"][1].diff, expected, rtol=1e-4)


def test_callbacks_leave_the_mean_of_the_losses_alone(tmp_path):
    text = (GOLDENS / "solver_sgd.prototxt").read_text()
    text = text.replace("solver_net", str(GOLDENS / "solver_net"))
    (tmp_path / "s.prototxt").write_text(text + "average_loss: 4\n")
    plain, watched = (caffe.SGDSolver(tmp_path / "s.prototxt") for _ in range(2))
    arrays = golden("sgd")
    for solver in (plain, watched):
        begin(solver, arrays)
    watched.add_callback(lambda: None, lambda: None)
    plain.step(6)
    watched.step(6)
    assert watched._solver.loss == pytest.approx(plain._solver.loss, rel=1e-5)
    assert plain._solver.loss != pytest.approx(float(plain.net.blobs["loss"].data), rel=1e-3)


def test_the_fields_of_the_solver_can_be_read():
    solver = caffe.AdamSolver("solver_adam.prototxt")
    assert (solver.param.max_iter, solver.param.type) == (10, "Adam")
    assert solver.lr == pytest.approx(0.01)
    assert list(solver.net.params) == ["ip1", "ip2"]
    assert solver.test_nets == []


def test_the_class_decides_about_the_kind_of_solver():
    with pytest.raises(NetcError, match="momentum cannot be used with AdaGrad"):
        caffe.AdaGradSolver("solver_sgd.prototxt")


def test_a_data_set_in_memory_is_trained_on_batch_by_batch(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "m" type: "MemoryData" top: "x" top: "t"\n'
        "        memory_data_param { batch_size: 2 channels: 1 height: 1 width: 1 } }\n"
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 1 } }\n'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }\n'
    )
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "net.prototxt" base_lr: 0.0 lr_policy: "fixed"\n')
    solver = caffe.SGDSolver(path)
    labels = np.arange(6, dtype=np.float32)
    with pytest.raises(NetcError, match="has none yet"):
        solver.step(1)
    solver.net.set_input_arrays(np.ones((6, 1, 1, 1), np.float32), labels)
    losses = []
    for _ in range(4):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    # half the mean of the squared labels
    assert losses == [0.25, 3.25, 10.25, 0.25]
