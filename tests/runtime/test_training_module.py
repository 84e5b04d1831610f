"""Modules that go backward."""

from __future__ import annotations

import numpy as np
import pytest

import netc
from netc.ir.diagnostics import NetcError

NET = """
name: "two_ends"
layer { name: "in" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } shape { dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 16 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "feature" type: "InnerProduct" bottom: "bn" top: "feature" param { lr_mult: 0 } param { lr_mult: 0 }
  inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "score" type: "InnerProduct" bottom: "feature" top: "score"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" loss_weight: 2 }
layer { name: "side" type: "Power" bottom: "feature" top: "side" power_param { scale: 3 } }
"""
RNG = np.random.default_rng(5)
DATA = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)
LABEL = np.array([0, 4, 2, 1], np.float32)


def module(target: str = "cpu", opt_level: int = 3, **more):
    return netc.compile(NET, phase="TRAIN", training=True, target=target, opt_level=opt_level, **more)


def close(found, expected) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max() + 1e-12)


@pytest.mark.parametrize("opt_level", [0, 3])
def test_compiled_gradients_are_those_of_the_reference(opt_level):
    expected, found = module("numpy"), module(opt_level=opt_level)
    side = RNG.standard_normal((4, 6)).astype(np.float32)
    for each in (expected, found):
        each.forward(data=DATA, label=LABEL)
    wanted, got = (each.backward(side=side) for each in (expected, found))
    assert wanted.keys() == got.keys() == {"data"}
    close(got["data"], wanted["data"])
    for layer, gradients in expected.param_grads.items():
        for gradient, other in zip(gradients, found.param_grads[layer], strict=True):
            assert (gradient is None) == (other is None)
            if gradient is not None:
                close(other, gradient)


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_a_gradient_is_a_difference_quotient(target):
    compiled = module(target)
    compiled.forward(data=DATA, label=LABEL)
    gradient = compiled.backward()["data"]
    direction = np.sign(gradient)
    ahead, behind = (
        float(compiled.forward(data=DATA + step * direction, label=LABEL)["loss"]) for step in (1e-3, -1e-3)
    )
    expected = 2 * (ahead - behind) / 2e-3  # the loss weighs 2
    np.testing.assert_allclose(float((gradient * direction).sum()), expected, rtol=2e-2)


def test_gradients_scale_with_those_of_the_outputs():
    compiled = module()
    compiled.forward(data=DATA, label=LABEL)
    once = compiled.backward()["data"]
    for weight, expected in ((4, 2 * once), (0, 0 * once)):
        compiled.forward(data=DATA, label=LABEL)
        close(compiled.backward(loss=np.float32(weight))["data"], expected)


def test_parameters_that_do_not_learn_have_no_gradient():
    compiled = module()
    compiled.forward(data=DATA, label=LABEL)
    compiled.backward()
    grads = compiled.param_grads
    assert grads["feature"] == [None, None]
    assert grads["bn"] == [None, None, None]
    assert grads["conv"][0].shape == (16, 3, 3, 3)


def test_moving_sums_move_once_a_forward_pass():
    compiled = module()
    for count in (1, 2):
        compiled.forward(data=DATA, label=LABEL)
        compiled.backward()
        expected = sum(0.999**i for i in range(count))
        np.testing.assert_allclose(compiled.params["bn"][2], expected, rtol=1e-6)


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_a_descent_by_hand_lowers_the_loss(target):
    compiled = module(target)
    losses = []
    for _ in range(8):
        losses.append(float(compiled.forward(data=DATA, label=LABEL)["loss"]))
        compiled.backward()
        for layer, gradients in compiled.param_grads.items():
            for param, gradient in zip(compiled.params[layer], gradients, strict=True):
                if gradient is not None:
                    param -= 0.05 * gradient
    assert losses[-1] < 0.8 * losses[0]


def test_any_batch_size_goes_backward_where_the_batch_is_a_symbol():
    compiled = module(input_shapes={"data": ("N", 3, 8, 8), "label": ("N",)})
    fixed = module()
    compiled.forward(data=DATA[:2], label=LABEL[:2])
    assert compiled.backward()["data"].shape == (2, 3, 8, 8)
    for each in (compiled, fixed):
        each.forward(data=DATA, label=LABEL)
    close(compiled.backward()["data"], fixed.backward()["data"])


def test_backward_before_forward_is_refused():
    compiled = module()
    with pytest.raises(NetcError, match="call forward first"):
        compiled.backward()
    compiled.forward(data=DATA, label=LABEL)
    compiled.backward()
    with pytest.raises(NetcError, match="once"):
        compiled.backward()


def test_a_gradient_for_no_output_is_refused():
    compiled = module()
    compiled.forward(data=DATA, label=LABEL)
    with pytest.raises(NetcError, match="no gradient can be given for 'conv'"):
        compiled.backward(conv=DATA)
    with pytest.raises(NetcError, match="the gradient of 'side' has the shape 4x5; expected 4x6"):
        compiled.backward(side=np.zeros((4, 5)))


def test_a_training_module_is_not_saved(tmp_path):
    with pytest.raises(NetcError, match="compiled for training is not saved"):
        module().save(tmp_path / "net.netc")


ALIASES = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 2 dim: 3 } } }
layer { name: "s" type: "Eltwise" bottom: "data" bottom: "p" top: "s" eltwise_param { operation: SUM } }
layer { name: "split" type: "Split" bottom: "s" top: "m" top: "k" loss_weight: 1 loss_weight: 2 }
layer { name: "free" type: "Parameter" top: "free" parameter_param { shape { dim: 4 } } }
"""


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_outputs_that_are_one_value_or_a_parameter_are_there_after_the_forward_pass(target):
    compiled = netc.compile(ALIASES, phase="TRAIN", training=True, target=target)
    compiled.params["p"][0][...] = 5
    compiled.params["free"][0][...] = 7
    out = compiled.forward(data=np.ones((2, 3)))
    np.testing.assert_array_equal(out["m"], np.full((2, 3), 6))
    np.testing.assert_array_equal(out["k"], out["m"])
    np.testing.assert_array_equal(out["free"], np.full(4, 7))


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_an_input_that_is_an_output_is_handed_back(target):
    text = NET.replace('top: "data" top: "label"', 'top: "data" top: "label" top: "extra"')
    text = text.replace("shape { dim: 4 } }", "shape { dim: 4 } shape { dim: 2 } }")
    compiled = netc.compile(text, phase="TRAIN", training=True, target=target)
    for extra in ([1, 2], [3, 4]):
        out = compiled.forward(data=DATA, label=LABEL, extra=extra)
        np.testing.assert_array_equal(out["extra"], extra)
        compiled.backward()


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_outputs_that_are_one_value_have_one_gradient(target):
    compiled = netc.compile(ALIASES, phase="TRAIN", training=True, target=target)
    given = [{}, {"m": np.full((2, 3), 5)}, {"m": np.ones((2, 3)), "k": np.ones((2, 3))}]
    for gradients, expected in zip(given, (3, 5, 2), strict=True):
        compiled.forward(data=np.ones((2, 3)))
        gradient = compiled.backward(**gradients)["data"]
        np.testing.assert_array_equal(gradient, np.full((2, 3), expected))
        np.testing.assert_array_equal(compiled.param_grads["p"][0], gradient)


def test_a_parameter_that_reaches_no_output_with_a_gradient_gets_zeros():
    text = NET + 'layer { name: "l" type: "InnerProduct" bottom: "feature" top: "l" '
    text += 'inner_product_param { num_output: 2 } } layer { name: "q" type: "Silence" bottom: "l" }'
    compiled = netc.compile(text, phase="TRAIN", training=True)
    compiled.forward(data=DATA, label=LABEL)
    compiled.backward()
    assert compiled.param_grads["l"][0] is not None
    assert not compiled.param_grads["l"][0].any()


def test_a_strided_convolution_of_any_size_has_no_gradient_and_says_so():
    text = NET.replace("num_output: 16 kernel_size: 3", "num_output: 16 kernel_size: 3 stride: 2")
    text = text[: text.index('layer { name: "feature"')]
    with pytest.raises(NetcError, match="needs a fixed extent"):
        netc.compile(
            text,
            phase="TRAIN",
            training=True,
            input_shapes={"data": (1, 3, "H", "W"), "label": (1,)},
        )
