"""Winograd's convolution is a convolution, up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netc.ir.diagnostics import OpError
from netc.ir.layout import Blocked
from netc.ir.opdef import Array, opdef
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.winograd import WinogradConvAttrs, WinogradWeightAttrs
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import SIZES

# input, outputs, pad, group
CASES = [
    ((1, 3, 8, 8), 4, ((1, 1), (1, 1)), 1),
    ((2, 4, 5, 7), 6, ((0, 0), (0, 0)), 2),
    ((1, 2, 3, 13), 2, ((2, 0), (1, 3)), 1),
    ((3, 6, 1, 1), 3, ((2, 2), (3, 2)), 3),
]


def apply(name: str, attrs: Any, *operands: Array) -> Array:
    rule = opdef(name).reference
    assert rule is not None
    return rule(operands, attrs)[0]


@pytest.mark.parametrize(("tile", "taps"), SIZES)
@pytest.mark.parametrize(("shape", "outputs", "pad", "group"), CASES)
def test_it_is_the_convolution_of_the_weight_that_was_transformed(shape, outputs, pad, group, tile, taps):
    random = np.random.default_rng(0)
    x = random.normal(size=shape)
    w = random.normal(size=(outputs, shape[1] // group, taps, taps))
    bias = random.normal(size=outputs)
    u = apply("nn.winograd_weight", WinogradWeightAttrs(tile), w)
    y = apply("nn.winograd_conv", WinogradConvAttrs(tile, taps, pad, group), x, u, bias)
    expected = apply("nn.conv", ConvAttrs((1, 1), pad, (1, 1), group), x, w, bias)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_array_equal(
        apply("nn.winograd_conv", WinogradConvAttrs(tile, taps, pad, group), x, w, bias), y
    )


@pytest.mark.parametrize(
    ("tile", "taps", "bound"), [(2, 3, 2e-6), (4, 3, 5e-5), (6, 3, 5e-5), (2, 5, 5e-5), (4, 5, 5e-5)]
)
def test_the_error_in_float32_stays_below_its_bound(tile, taps, bound):
    """256 channels of unit scale, relative to the largest result, as docs/performance.md states it."""
    random = np.random.default_rng(1)
    x = random.uniform(-1, 1, (1, 256, 24, 24))
    w = random.uniform(-1, 1, (32, 256, taps, taps))
    pad = ((1, 1), (1, 1))
    exact = apply("nn.conv", ConvAttrs((1, 1), pad, (1, 1)), x, w)
    u = apply("nn.winograd_weight", WinogradWeightAttrs(tile), w.astype(np.float32))
    y = apply("nn.winograd_conv", WinogradConvAttrs(tile, taps, pad), x.astype(np.float32), u)
    assert y.dtype == np.float32
    assert np.abs(y - exact).max() < bound * np.abs(exact).max()


X, U = TensorType("f32", (1, 8, 6, 6)), TensorType("f32", (4, 16, 8))
PAD = ((1, 1), (1, 1))


@pytest.mark.parametrize(
    ("operands", "attrs", "message"),
    [
        ((X, U), WinogradConvAttrs(3, 3, PAD), "the tiles for 3 taps are 2, 4, 6, got 3"),
        ((X, U), WinogradConvAttrs(4, 3, PAD), r"a weight of \(O, 36, C/group\) expected"),
        (
            (X, TensorType("f32", (4, 8, 5, 5))),
            WinogradConvAttrs(2, 3, PAD),
            r"a weight of \(O, C/group, 3, 3\) expected",
        ),
        ((X, U), WinogradConvAttrs(2, 3, PAD, 2), "takes 16 input channels, the input has 8"),
        (
            (TensorType("f32", (1, 24, 6, 6)), U),
            WinogradConvAttrs(2, 3, PAD, 3),
            "group 3 does not divide the 4",
        ),
        ((TensorType("f32", (1, 8, 1, 6)), U), WinogradConvAttrs(2, 3, ((0, 0), (0, 0))), "does not fit"),
        ((X, U.with_layout(Blocked(0, 4))), WinogradConvAttrs(2, 3, PAD), "an input blocked like the weight"),
        ((X, U, TensorType("f32", (5,))), WinogradConvAttrs(2, 3, PAD), r"a bias of shape \[4\]"),
    ],
)
def test_operands_that_do_not_fit_are_refused(operands, attrs, message):
    infer = opdef("nn.winograd_conv").infer
    assert infer is not None
    with pytest.raises(OpError, match=message):
        infer(operands, attrs)


def test_a_weight_of_other_windows_is_refused():
    infer = opdef("nn.winograd_weight").infer
    assert infer is not None
    with pytest.raises(OpError, match=r"a row-major weight of \(O, C/group, taps, taps\) expected"):
        infer((TensorType("f32", (4, 8, 5, 3)),), WinogradWeightAttrs(2))
