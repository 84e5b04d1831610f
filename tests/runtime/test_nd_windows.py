"""Convolution and Deconvolution over one and three axes, and from another axis on: compiled as the reference."""

import numpy as np
import pytest

import netc

CASES = [
    ((2, 3, 9), "num_output: 4 kernel_size: 3 stride: 2 pad: 1"),
    ((1, 4, 3, 4, 5), "num_output: 6 kernel_size: 2 stride: 1 stride: 2 stride: 1 group: 2"),
    ((2, 2, 3, 6, 5), "num_output: 4 kernel_size: 3 pad: 1 axis: 2"),
    ((3, 5, 6), "num_output: 2 kernel_size: 3 axis: 0"),
]


@pytest.mark.parametrize("opt_level", [0, 3])
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize(("shape", "settings"), CASES)
def test_windows_slide_over_any_number_of_axes(shape, settings, kind, opt_level):
    dims = " ".join(f"dim: {d}" for d in shape)
    filler = 'weight_filler { type: "gaussian" std: 1 } bias_filler { type: "uniform" }'
    net = f"""layer {{ type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}
    layer {{ name: "l" type: "{kind}" bottom: "x" top: "y" convolution_param {{ {settings} {filler} }} }}"""
    x = np.random.default_rng(0).normal(size=shape).astype("f4")
    expected = netc.compile(net, target="numpy").run(x=x)["y"]
    got = netc.compile(net, opt_level=opt_level).run(x=x)["y"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
