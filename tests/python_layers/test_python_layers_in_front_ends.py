"""Python layers on the command line and through Caffe's Python interface."""

import numpy as np
import pytest
from python_nets import input_layer, normal, python_layer

import netc.pycaffe as caffe
from netc.cli import main
from netc.cli.train_commands import caffe as caffe_command
from netc.ir.diagnostics import NetcError

SOLVER = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 3 test_iter: 2 test_interval: 3 random_seed: 1\n'
ALLOW = "--allow-python-layers"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A solver whose net has its data, and its loss, from Python."""
    monkeypatch.chdir(tmp_path)
    net = python_layer("Rows", "", "image label", param_str="{'shape': (2,)}")
    net += 'layer { name: "ip" type: "InnerProduct" bottom: "image" top: "z" inner_product_param { num_output: 1 } }\n'
    net += python_layer("EuclideanLoss", "z label", "loss", "loss_weight: 1")
    (tmp_path / "net.prototxt").write_text(net)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    (tmp_path / "gain.prototxt").write_text(input_layer(1, 3) + python_layer("Gain", param_str="2"))
    np.save(tmp_path / "x.npy", np.ones((1, 3), np.float32))
    return tmp_path


def call(*arguments: str) -> int:
    return main(list(arguments))


def test_train_and_test_run_python_layers_when_they_may(folder, capsys):
    assert call("train", "--solver", "solver.prototxt", "--log-format", "caffe", ALLOW) == 0
    assert "Iteration 3" in capsys.readouterr().err
    weights = "solver_iter_3.caffemodel"
    assert call("test", "--model", "net.prototxt", "-w", weights, "--iterations", "2", ALLOW) == 0
    assert "loss = " in capsys.readouterr().out
    assert call("caffe", "train", "-solver", "solver.prototxt", ALLOW) == 0


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--solver", "solver.prototxt"),
        ("caffe", "train", "-solver", "solver.prototxt"),
        ("run", "gain.prototxt", "x.npy"),
        ("time", "gain.prototxt"),
        ("inspect", "gain.prototxt"),
    ],
)
def test_without_permission_a_command_ends_with_the_way_to_give_it(folder, capsys, command):
    assert call(*command) == 2
    assert ALLOW in capsys.readouterr().err


def test_run_time_and_inspect_run_python_layers_when_they_may(folder, capsys):
    assert call("run", "gain.prototxt", "x.npy", "-o", "y.npz", ALLOW) == 0
    np.testing.assert_array_equal(np.load("y.npz")["y"], [[2, 2, 2]])
    assert call("time", "gain.prototxt", "--repeats", "2", ALLOW) == 0
    assert call("inspect", "gain.prototxt", ALLOW) == 0
    assert "Python" in capsys.readouterr().out


def test_compile_refuses_to_save_what_it_may_run(folder, capsys):
    assert call("compile", "gain.prototxt", "-o", "gain.netc", ALLOW) == 2
    assert "cannot be saved" in capsys.readouterr().err
    assert not (folder / "gain.netc").exists()


def test_every_command_of_the_original_has_the_option():
    for command in caffe_command.commands.values():
        assert any(ALLOW in option.opts for option in command.params)


def test_a_net_of_pycaffe_runs_python_layers_when_it_may(folder):
    with pytest.raises(NetcError, match="does not run a net's own code"):
        caffe.Net("gain.prototxt", caffe.TEST)
    net = caffe.Net("gain.prototxt", caffe.TEST, allow_python_layers=True)
    assert net.params["gain"][0].data.tolist() == [2, 2, 2]
    x = normal(1, 3)
    np.testing.assert_allclose(net.forward(x=x)["y"], 2 * x, rtol=1e-6)


def test_forward_of_pycaffe_calls_each_layer_once(folder):
    net = caffe.Net("net.prototxt", caffe.TEST, allow_python_layers=True)
    for index in range(3):
        net.forward()
        assert net.blobs["label"].data == index
        np.testing.assert_array_equal(net.blobs["image"].data, np.full((1, 2), index))


def test_a_solver_of_pycaffe_shows_what_its_python_layers_saw(folder):
    solver = caffe.SGDSolver("solver.prototxt", allow_python_layers=True)
    for index in range(3):
        solver.step(1)
        # its test nets have layers of their own, which do not move this one's data
        assert solver.net.blobs["label"].data == index
        assert solver.net.blobs["z"].diff.shape == (1, 1)
    solver.net.forward()
    assert solver.net.blobs["label"].data == 3


def test_python_layers_derive_from_the_layer_of_pycaffe():
    from sample_layers import EuclideanLoss

    assert issubclass(EuclideanLoss, caffe.Layer)


def test_caffes_interface_goes_back_through_python_layers(folder):
    net = caffe.Net("gain.prototxt", caffe.TEST, allow_python_layers=True)
    (top,) = net.outputs
    for factor in (1, 2):
        data, seed = normal(1, 3), factor * normal(1, 3)
        net.forward(**{net.inputs[0]: data})
        net.clear_param_diffs()
        found = net.backward(**{top: seed})
        np.testing.assert_allclose(found[net.inputs[0]], 2 * seed, rtol=1e-6)
        (blobs,) = net.params.values()
        np.testing.assert_allclose(blobs[0].diff, (seed * data).sum(0), rtol=1e-6)
