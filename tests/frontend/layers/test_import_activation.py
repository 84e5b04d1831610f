"""Elementwise layers against their formulas, at the points where Caffe is peculiar."""

import math

import numpy as np
import pytest

POINTS = [-7.5, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0, 6.5, 9.0]


def layer(kind: str, settings: str = "") -> str:
    return f'layer {{ name: "l" type: "{kind}" bottom: "x" top: "y" {settings} }}'


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        (layer("ReLU"), lambda x: max(x, 0)),
        (layer("ReLU", "relu_param { negative_slope: 0.25 }"), lambda x: x if x > 0 else 0.25 * x),
        (layer("ReLU", "relu_param { relu6: true }"), lambda x: min(max(x, 0), 6)),
        (layer("ReLU6"), lambda x: min(max(x, 0), 6)),
        (layer("ReLU6", "relu_param { negative_slope: 0.1 }"), lambda x: min(max(x, 0), 6) + 0.1 * min(x, 0)),
        (layer("HardSwish"), lambda x: x * min(max(x + 3, 0), 6) / 6),
        (layer("HardSigmoid"), lambda x: min(max(0.2 * x + 0.5, 0), 1)),
        (layer("ELU", "elu_param { alpha: 0.5 }"), lambda x: x if x > 0 else 0.5 * math.expm1(x)),
        (layer("Sigmoid"), lambda x: 1 / (1 + math.exp(-x))),
        (layer("TanH"), math.tanh),
        (layer("AbsVal"), abs),
        (layer("Power"), lambda x: x),
        (layer("Power", "power_param { power: 2 scale: 3 shift: -1 }"), lambda x: (3 * x - 1) ** 2),
        (layer("Power", "power_param { power: 3 scale: 0.5 }"), lambda x: (0.5 * x) ** 3),
        (layer("Power", "power_param { power: 0 shift: 4 }"), lambda x: 1),
        (layer("Power", "power_param { power: 2 scale: 0 shift: 3 }"), lambda x: 9),
        (layer("Exp"), math.exp),
        (layer("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }"), lambda x: 2 ** (1 + 0.5 * x)),
        (layer("Log", "log_param { shift: 10 }"), lambda x: math.log(10 + x)),
        (layer("Log", "log_param { base: 2 scale: -1 shift: 10 }"), lambda x: math.log2(10 - x)),
    ],
)
def test_the_layer_computes_its_formula(run_layer, text, formula):
    (y,) = run_layer(text, x=[POINTS])
    np.testing.assert_allclose(y, [[formula(x) for x in POINTS]], rtol=1e-6, atol=1e-6)


def test_prelu_has_a_slope_for_every_channel(run_layer):
    x = -np.ones((1, 3, 2))
    (y,) = run_layer(layer("PReLU"), ([1.0, 2.0, 3.0],), x=x)
    np.testing.assert_array_equal(y, [[[-1, -1], [-2, -2], [-3, -3]]])


def test_a_shared_prelu_slope_is_a_scalar(ir_of):
    assert ir_of(layer("PReLU", "prelu_param { channel_shared: true }"), x=(1, 3, 2)) == (
        "func @main(%x: f32[1,3,2], %l.slope: param f32[]) -> (y = %y) {\n"
        "  %y.slope: f32[1,1,1] = tensor.reshape %l.slope {shape = [1, 1, 1]}\n"
        "  %y: f32[1,3,2] = math.prelu %x, %y.slope\n"
        "}"
    )


def test_a_square_is_a_product(ir_of):
    assert ir_of(layer("Power", "power_param { power: 2 }"), x=(4,)) == (
        "func @main(%x: f32[4]) -> (y = %y) {\n  %y: f32[4] = math.mul %x, %x\n}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("Exp", "exp_param { base: @0 }"), "base must be positive, or -1 for e; got 0"),
        (layer("Log", "log_param { base: @1 }"), "base must be positive and not 1, or -1 for e; got 1"),
        (layer("Log", "log_param { base: @-2 }"), "base must be positive and not 1, or -1 for e; got -2"),
        (layer("PReLU").replace('"x"', '@"x"'), "needs an input with at least 2 axes, got 1"),
        (layer("ReLU").replace('"x"', '"x" bottom: @"x"'), "ReLU takes 1 bottom, got 2"),
        ("@" + layer("ReLU").replace('top: "y"', ""), "ReLU takes 1 top, got 0"),
    ],
)
def test_a_bad_layer_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=(3,)) == message
