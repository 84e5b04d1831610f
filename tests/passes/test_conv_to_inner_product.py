"""conv_to_inner_product: which convolutions are inner products, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from checks import UNIT, keeps_meaning, main, stays

import netc
from netc.ir.parser import parse_module
from netc.passes.assign_layouts import assign_layouts
from netc.passes.canonicalize import canonicalize
from netc.passes.conv_to_inner_product import conv_to_inner_product
from netc.passes.dce import dce


def names(module):
    return [op.name for op in dce(canonicalize(module)).func("main").ops]


@pytest.mark.parametrize(("plane", "stride"), [("1,1", 1), ("3,2", 1), ("3,2", 2)])
def test_a_window_as_large_as_the_plane_is_an_inner_product(plane, stride):
    module = parse_module(
        main(
            f"%x: f32[3,8,{plane}], %w: param f32[5,8,{plane}], %b: param f32[5]",
            f"%y: f32[3,5,1,1] = nn.conv %x, %w, %b "
            f"{{stride = [{stride}, {stride}], pad = [[0, 0], [0, 0]], dilation = [1, 1]}}",
        ),
        "<test>",
    )
    keeps_meaning(conv_to_inner_product, module)
    assert "nn.inner_product" in names(conv_to_inner_product(module))
    assert "nn.conv" not in names(conv_to_inner_product(module))
    keeps_meaning(lambda m: assign_layouts(conv_to_inner_product(m), block=4), module)


def test_a_chain_of_them_stays_flat_and_activations_come_along():
    module = parse_module(
        main(
            "%x: f32[3,8,6,6], %w: param f32[16,8,6,6], %v: param f32[5,16,1,1]",
            f"""%a: f32[3,16,1,1] = nn.conv %x, %w {UNIT}
%r: f32[3,16,1,1] = math.relu %a
%y: f32[3,5,1,1] = nn.conv %r, %v {UNIT}""",
        ),
        "<test>",
    )
    keeps_meaning(conv_to_inner_product, module)
    assert [n for n in names(conv_to_inner_product(module)) if n != "tensor.reshape"] == [
        "nn.inner_product",
        "math.relu",
        "nn.inner_product",
    ]
    last = dce(canonicalize(conv_to_inner_product(module))).func("main").ops
    assert [op.name for op in last].count("tensor.reshape") == 4  # the image, two weights, the result


@pytest.mark.parametrize(
    ("x", "w", "result", "attrs"),
    [
        ("3,8,3,3", "5,8,2,2", "3,5,2,2", UNIT),
        ("3,8,2,2", "5,8,2,2", "3,5,3,3", UNIT.replace("[0, 0]", "[1, 1]")),
        ("3,8,1,1", "8,1,1,1", "3,8,1,1", UNIT.replace("}", ", group = 8}")),
        ("3,8,H,W", "5,8,1,1", "3,5,H,W", UNIT),
    ],
)
def test_other_convolutions_stay(x, w, result, attrs):
    stays(
        conv_to_inner_product,
        main(f"%x: f32[{x}], %w: param f32[{w}]", f"%y: f32[{result}] = nn.conv %x, %w {attrs}"),
    )


def test_weights_that_learn_stay_in_the_layout_of_convolutions():
    stays(
        conv_to_inner_product,
        main("%x: f32[3,8,1,1], %w: state f32[5,8,1,1]", f"%y: f32[3,5,1,1] = nn.conv %x, %w {UNIT}"),
    )


NET = """
name: "squeeze"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 20 dim: 16 dim: 4 dim: 4 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "a" type: "Convolution" bottom: "pool" top: "a"
  convolution_param { num_output: 24 kernel_size: 1 weight_filler { type: "xavier" } bias_filler { type: "gaussian" } } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "Convolution" bottom: "a" top: "b"
  convolution_param { num_output: 16 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "gate" type: "Sigmoid" bottom: "b" top: "b" }
layer { name: "scale" type: "Scale" bottom: "data" bottom: "b" top: "y" scale_param { axis: 0 } }
"""


@pytest.mark.parametrize("batch", [1, 3, 20])
def test_a_gate_of_two_pointwise_convolutions_gives_the_same_numbers(batch):
    net = NET.replace('bottom: "b" top: "y" scale_param { axis: 0 }', 'bottom: "b" top: "y"')
    net = net.replace('type: "Scale" bottom: "data"', 'type: "Eltwise" bottom: "pool"')
    x = np.random.default_rng(0).standard_normal((batch, 16, 4, 4), np.float32)
    shapes = {"data": x.shape}
    reference = netc.compile(net, target="numpy", input_shapes=shapes)
    fast = netc.compile(net, reference.params, input_shapes=shapes)
    np.testing.assert_allclose(fast.run(data=x)["y"], reference.run(data=x)["y"], rtol=1e-5, atol=1e-5)
