"""Python layers inside of compiled nets, forward and backward."""

import numpy as np
import pytest
from python_nets import compiled, input_layer, normal, python_layer

from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.frontend.python_layers.layers import PythonLayers
from netc.ir.diagnostics import NetcError
from netc.passes.differentiate import differentiate
from netc.passes.recompute import recompute
from netc.runtime.options import CompileOptions
from netc.runtime.solver.solver import Solver

TARGETS = ("numpy", "cpu")
CONV = """
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 16 kernel_size: 3 weight_filler { type: "xavier" } } }
"""
AFTER = """
layer { name: "after" type: "Convolution" bottom: "y" top: "z"
        convolution_param { num_output: 16 kernel_size: 3 weight_filler { type: "xavier" } } }
"""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("opt_level", [0, 3])
def test_a_layer_between_kernels_computes_what_its_built_in_kin_does(target, opt_level):
    ours = input_layer(2, 3, 9, 9) + CONV + python_layer("Gain", "c", "y", param_str="1.5") + AFTER
    power = 'layer { name: "p" type: "Power" bottom: "c" top: "y" power_param { scale: 1.5 } }'
    theirs = input_layer(2, 3, 9, 9) + CONV + power + AFTER
    x = normal(2, 3, 9, 9)
    got, want = (compiled(text, target=target, opt_level=opt_level).run(x=x)["z"] for text in (ours, theirs))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_gradients_pass_through_a_layer_to_its_bottom_and_its_parameters(target):
    text = input_layer(2, 3, 4) + python_layer("Gain", param_str="2")
    net = compiled(text, target=target, training=True, phase="TRAIN")
    x, seed = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    np.testing.assert_allclose(net.forward(x=x)["y"], 2 * x, rtol=1e-6)
    np.testing.assert_allclose(net.backward(y=seed)["x"], 2 * seed, rtol=1e-6)
    np.testing.assert_allclose(net.param_grads["gain"][0], (seed * x).sum((0, 2)), rtol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_a_layer_in_place_has_one_blob_for_bottom_and_top(target):
    scale = 'layer { name: "s" type: "Power" bottom: "x" top: "y" power_param { scale: 3 } }\n'
    net = compiled(
        input_layer(2, 5) + scale + python_layer("Clamp", "y", "y"),
        target=target,
        training=True,
        phase="TRAIN",
    )
    x, seed = normal(2, 5), normal(2, 5, seed=1)
    np.testing.assert_allclose(net.forward(x=x)["y"], np.maximum(3 * x, 0), rtol=1e-6)
    np.testing.assert_allclose(net.backward(y=seed)["x"], 3 * seed * (x > 0), rtol=1e-6)


def test_parameters_come_from_weights_and_edits_are_seen():
    text = input_layer(1, 3) + python_layer("Gain", param_str="2")
    weights = {"gain": [np.array([1, 2, 3], np.float32)]}
    net = compiled(text, weights=weights)
    np.testing.assert_array_equal(net.run(x=np.ones((1, 3)))["y"], [[1, 2, 3]])
    net.params["gain"][0][...] = 7
    np.testing.assert_array_equal(net.run(x=np.ones((1, 3)))["y"], [[7, 7, 7]])


@pytest.mark.parametrize("target", TARGETS)
def test_a_source_of_data_draws_new_data_in_every_run(target):
    source = python_layer("Rows", "", "image label", param_str="{'shape': (2, 3)}")
    double = 'layer { name: "d" type: "Power" bottom: "image" top: "y" power_param { scale: 2 } }'
    net = compiled(source + double, target=target)
    for index in range(3):
        found = net.run()
        np.testing.assert_array_equal(found["y"], np.full((1, 2, 3), 2 * index))
        assert found["label"] == index


def test_modules_do_not_share_their_sources():
    text = python_layer("Rows", "", "image label", param_str="{'shape': (2,)}")
    first, second = compiled(text), compiled(text)
    assert [first.run()["label"].item() for _ in range(2)] == [0, 1]
    assert second.run()["label"] == 0


def test_a_layer_without_tops_is_called_in_every_run():
    net = compiled(input_layer(1, 2) + python_layer("Recorder", "x", ""))
    import sample_layers

    sample_layers.Recorder.seen.clear()
    for number in (4, 5):
        net.run(x=np.full((1, 2), number))
    assert sample_layers.Recorder.seen == [(1, 4.0), (1, 5.0)]


def test_other_sizes_reshape_the_same_layer():
    net = compiled(input_layer(1, 3) + python_layer("Gain", param_str="2"))
    for batch in (1, 4, 1):
        assert net.run(x=np.ones((batch, 3)))["y"].shape == (batch, 3)


def test_a_size_that_is_not_fixed_is_refused_with_the_way_out():
    with pytest.raises(NetcError, match="depends on N") as caught:
        compiled(input_layer(1, 3) + python_layer("Gain"), input_shapes={"x": ("N", 3)})
    assert "a number for N" in str(caught.value)


def test_a_top_that_changes_its_size_in_a_run_is_an_error_of_the_layer():
    net = compiled(python_layer("Growing", "", "image label", param_str="{'shape': ()}"))
    net.run()
    with pytest.raises(NetcError, match="made its top 'image' 1x2 in a run") as caught:
        net.run()
    assert caught.value.layer == "growing"


def test_a_net_with_python_layers_cannot_be_saved(tmp_path):
    net = compiled(input_layer(1, 3) + python_layer("Gain", param_str="2"))
    with pytest.raises(NetcError, match="cannot be saved"):
        net.save(tmp_path / "net.netc")
    assert not list(tmp_path.iterdir())


SOLVER = """
base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 20 random_seed: 1 {}
net_param {{
  layer {{ name: "in" type: "Input" top: "x" top: "t"
          input_param {{ shape {{ dim: 8 dim: 3 }} shape {{ dim: 8 dim: 2 }} }} }}
  layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "z"
          inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
  layer {{ name: "ip2" type: "InnerProduct" bottom: "z" top: "z2"
          inner_product_param {{ num_output: 2 weight_filler {{ type: "xavier" }} }} }}
  {}
}}
"""
BUILT_IN = 'layer { name: "loss" type: "EuclideanLoss" bottom: "z2" bottom: "t" top: "loss" }'
IN_PYTHON = python_layer("EuclideanLoss", "z2 t", "loss", "loss_weight: 1")


def trained(loss: str, target: str, more: str = "") -> Solver:
    rng = np.random.default_rng(0)
    solver = Solver(
        SOLVER.format(more, loss),
        inputs=lambda: {"x": rng.normal(size=(8, 3)), "t": rng.normal(size=(8, 2))},
        target=target,
        allow_python_layers=True,
    )
    solver.step(10)
    return solver


@pytest.mark.parametrize("more", ["", "iter_size: 2"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_loss_in_python_trains_to_the_numbers_of_the_built_in_one(target, more):
    theirs, ours = trained(BUILT_IN, target, more), trained(IN_PYTHON, target, more)
    assert abs(ours.loss - theirs.loss) <= 1e-6
    for layer, arrays in theirs.params.items():
        for want, got in zip(arrays, ours.params[layer], strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_parameters_of_a_python_layer_learn():
    solver = Solver(
        """
        base_lr: 0.2 lr_policy: "fixed" momentum: 0 max_iter: 1 random_seed: 1
        net_param {
        """
        + input_layer(4, 3)
        + python_layer("Gain", param_str="1")
        + 'layer { name: "t" type: "Power" bottom: "x" top: "t" power_param { scale: -2 } }'
        + 'layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" } }',
        inputs=lambda: {"x": np.ones((4, 3))},
        allow_python_layers=True,
    )
    solver.step(60)
    np.testing.assert_allclose(solver.params["gain"][0], [-2, -2, -2], atol=1e-3)


def test_training_on_a_source_in_python_takes_its_data_one_after_the_other():
    text = 'base_lr: 0 lr_policy: "fixed" max_iter: 9 random_seed: 1 net_param {'
    text += python_layer("Rows", "", "image label", param_str="{'shape': (2,)}")
    text += 'layer { name: "ip" type: "InnerProduct" bottom: "image" top: "z" inner_product_param { num_output: 1 } }'
    text += 'layer { name: "loss" type: "EuclideanLoss" bottom: "z" bottom: "label" top: "loss" } }'
    solver = Solver(text, allow_python_layers=True)
    losses = []
    for _ in range(3):
        solver.step(1)
        losses.append(float(solver.net.results["loss"]))
    assert losses == [0.0, 0.5, 2.0]  # label^2 / 2, as nothing is learned


def test_the_options_of_two_nets_are_equal_whatever_their_layers_remember():
    assert CompileOptions() == CompileOptions()


def test_a_layer_is_not_called_again_where_activations_are_computed_twice():
    text = input_layer(2, 8, 6, 6)
    blob = "x"
    for index in range(6):
        text += f'layer {{ type: "TanH" bottom: "{blob}" top: "t{index}" }}\n'
        text += python_layer("Gain", f"t{index}", f"g{index}", param_str="1")
        blob = f"g{index}"
    text += f'layer {{ type: "Reduction" bottom: "{blob}" top: "loss" loss_weight: 1 }}'
    layers = PythonLayers(allowed=True)
    net = import_net(load_net(text, phase="TRAIN"), phase="TRAIN", python_layers=layers)
    seeds = {term.value.name: term.weight for term in net.losses}
    module = differentiate(net.module, seeds=seeds, wrt=[info.value.name for info in net.params])
    again = recompute(module, forward=net.module.func("main").result_names, segments=3)
    count = {
        name: [op.name for op in again.func("main").ops].count(name) for name in ("python.layer", "math.tanh")
    }
    assert count["python.layer"] == 6
    assert count["math.tanh"] > 6
