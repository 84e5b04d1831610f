"""Convolution and its transpose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import f32, infer, normal, run, square_conv

from netc.ir.diagnostics import OpError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.conv import ConvAttrs
from netc.ir.types import TensorType

N, C, H = symbol("N"), symbol("C"), symbol("H")
WEIGHT = f32(8, 4, 3, 3)
INPUT = f32(2, 4, 7, 7)
ONE = square_conv(2)


def naive_conv(x, w, b, attrs):
    """The definition, one product at a time."""
    group, spatial = attrs.group, x.shape[2:]
    out = [
        (size + lo + hi - d * (k - 1) - 1) // s + 1
        for size, (lo, hi), d, k, s in zip(
            spatial, attrs.pad, attrs.dilation, w.shape[2:], attrs.stride, strict=True
        )
    ]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    outputs_a_group, inputs_a_group = w.shape[0] // group, w.shape[1]
    for n, o, *p in np.ndindex(y.shape):
        y[(n, o, *p)] = b[o]
        for c, *t in np.ndindex(w.shape[1:]):
            at = [
                s * i - lo + d * j
                for s, i, (lo, _), d, j in zip(attrs.stride, p, attrs.pad, attrs.dilation, t, strict=True)
            ]
            if all(0 <= a < size for a, size in zip(at, spatial, strict=True)):
                channel = o // outputs_a_group * inputs_a_group + c
                y[(n, o, *p)] += w[(o, c, *t)] * x[(n, channel, *at)]
    return y


@st.composite
def convolutions(draw):
    axes = draw(st.integers(1, 2))
    group = draw(st.sampled_from([1, 1, 2, 3]))
    attrs = ConvAttrs(
        tuple(draw(st.integers(1, 3)) for _ in range(axes)),
        tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(axes)),
        tuple(draw(st.integers(1, 2)) for _ in range(axes)),
        group,
    )
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    spatial = [draw(st.integers(1, 3)) + d * (k - 1) for d, k in zip(attrs.dilation, kernel, strict=True)]
    inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    return attrs, (draw(st.integers(1, 2)), group * inputs, *spatial), (group * outputs, inputs, *kernel)


@settings(max_examples=40)
@given(convolutions())
def test_a_convolution_is_the_sum_of_its_definition(case):
    attrs, x_shape, w_shape = case
    x, w, b = normal(*x_shape, seed=1), normal(*w_shape, seed=2), normal(w_shape[0], seed=3)
    expected = naive_conv(x, w, b, attrs)
    y = run("nn.conv", (x, w, b), attrs)
    assert y.shape == infer("nn.conv", (f32(*x_shape), f32(*w_shape)), attrs).shape
    np.testing.assert_allclose(y, expected, atol=1e-12)


@settings(max_examples=40)
@given(convolutions())
def test_a_deconvolution_is_the_transpose_of_the_convolution(case):
    # <conv(x), y> = <x, deconv(y)> where the convolution reaches every element of x
    attrs, x_shape, w_shape = case
    x, w = normal(*x_shape, seed=1), normal(*w_shape, seed=2)
    conv = run("nn.conv", (x, w), attrs)
    y = normal(*conv.shape, seed=3)
    back_type = f32(*y.shape)
    spatial = [
        s * (size - 1) + d * (k - 1) + 1 - lo - hi
        for s, size, d, k, (lo, hi) in zip(
            attrs.stride, conv.shape[2:], attrs.dilation, w_shape[2:], attrs.pad, strict=True
        )
    ]
    if min(spatial) < 1:
        with pytest.raises(OpError, match="leaves"):
            infer("nn.deconv", (back_type, f32(*w_shape)), attrs)
        return
    back = run("nn.deconv", (y, w), attrs)
    assert back.shape == (*x_shape[:2], *spatial)
    assert back.shape == infer("nn.deconv", (back_type, f32(*w_shape)), attrs).shape
    reached = x[tuple(slice(0, size) for size in back.shape)]
    again = run("nn.conv", (reached, w), attrs)
    np.testing.assert_allclose(np.sum(again * y), np.sum(reached * back), atol=1e-9)


def test_a_deconvolution_adds_its_bias_once():
    x, w, b = normal(1, 2, 3, 3), normal(2, 4, 3, 3), normal(4)
    attrs = square_conv(2, stride=2, pad=1)
    difference = run("nn.deconv", (x, w, b), attrs) - run("nn.deconv", (x, w), attrs)
    np.testing.assert_allclose(
        difference, np.broadcast_to(b.reshape(1, 4, 1, 1), difference.shape), atol=1e-12
    )


def test_a_huge_dilation_costs_no_padding():
    far = 1_000_000_000
    x, w = normal(1, 2, 4, 4), normal(3, 2, 3, 3)
    y = run("nn.conv", (x, w), ConvAttrs((1, 1), ((far, far),) * 2, (far, far)))
    np.testing.assert_allclose(y, np.einsum("nchw,oc->nohw", x, w[:, :, 1, 1]))


def test_symbolic_extents_go_through():
    x = f32(N, 4, H, 7)
    assert (
        str(infer("nn.conv", (x, WEIGHT), square_conv(2, stride=2, pad=1))) == "f32[N,8,floordiv(H+1, 2),4]"
    )
    assert str(infer("nn.conv", (x, WEIGHT), square_conv(2, pad=1))) == "f32[N,8,H,7]"
    w = f32(4, 8, 4, 4)
    assert str(infer("nn.deconv", (x, w), square_conv(2, stride=2, pad=1))) == "f32[N,8,2*H,14]"


@pytest.mark.parametrize(
    ("operands", "attrs", "attr", "message"),
    [
        ((f32(2, 4), WEIGHT), ONE, None, "an input of (N, C, spatial...) expected"),
        ((INPUT, f32(8, 4, 3)), ONE, "kernel", "a weight of rank 4 expected"),
        ((INPUT, WEIGHT), ConvAttrs((1,), ((0, 0),) * 2, (1, 1)), "stride", "one entry for each of 2"),
        ((INPUT, WEIGHT), ConvAttrs((1, 1), ((0, 0),), (1, 1)), "pad", "one entry for each of 2"),
        ((INPUT, WEIGHT), ConvAttrs((1, 1), ((0, 0),) * 2, (1, 1, 1)), "dilation", "got 3"),
        ((INPUT, WEIGHT), ConvAttrs((1, 0), ((0, 0),) * 2, (1, 1)), "stride", "stride must be >= 1, got 0"),
        ((INPUT, WEIGHT), ConvAttrs((1, -2), ((0, 0),) * 2, (1, 1)), "stride", "got -2"),
        ((INPUT, WEIGHT), ConvAttrs((1, 1), ((0, 0), (0, -1)), (1, 1)), "pad", "pad must be >= 0, got -1"),
        ((INPUT, WEIGHT), ConvAttrs((1, 1), ((0, 0),) * 2, (0, 1)), "dilation", "dilation must be >= 1"),
        ((INPUT, WEIGHT), square_conv(2, group=0), "group", "group must be >= 1, got 0"),
        ((INPUT, WEIGHT), square_conv(2, group=3), "group", "group 3 does not divide the 4 input channels"),
        ((f32(2, 6, 7, 7), f32(8, 2, 3, 3)), square_conv(2, group=3), "group", "the 8 output channels"),
        ((f32(2, 3, 7, 7), WEIGHT), ONE, None, "takes 4 input channels (group 1), the input has 3"),
        ((f32(2, C, 7, 7), WEIGHT), ONE, None, "the input has C"),
        ((f32(2, 4, 2, 7), WEIGHT), ONE, "kernel", "covers 3 elements of spatial axis 0, which has 2 and 0"),
        ((INPUT, WEIGHT), square_conv(2, dilation=4), "kernel", "covers 9 elements"),
        ((INPUT, f32(8, 4, H, 3)), ONE, "kernel", "a constant kernel expected"),
        ((INPUT, WEIGHT, f32(9)), ONE, None, "a bias of shape [8] expected, got f32[9]"),
        ((INPUT, WEIGHT, f32(8, 1)), ONE, None, "a bias of shape [8] expected"),
        (
            (INPUT, TensorType("f64", WEIGHT.shape)),
            ONE,
            None,
            "operands of one dtype expected, got f32 and f64",
        ),
    ],
)
def test_a_bad_convolution_is_refused(operands, attrs, attr, message):
    with pytest.raises(OpError) as caught:
        infer("nn.conv", operands, attrs)
    assert message in caught.value.message
    assert caught.value.attr == attr


@pytest.mark.parametrize(
    ("operands", "attrs", "attr", "message"),
    [
        ((INPUT, f32(5, 8, 3, 3)), ONE, None, "takes 5 input channels, the input has 4"),
        ((INPUT, f32(4, 8, 3, 3)), square_conv(2, group=3), "group", "does not divide the 4 input channels"),
        ((f32(1, 4, 1, 1), f32(4, 8, 3, 3)), square_conv(2, pad=2), "pad", "leaves -1 elements"),
        ((INPUT, f32(4, 8, 3, 3), f32(4)), ONE, None, "a bias of shape [8] expected"),
    ],
)
def test_a_bad_deconvolution_is_refused(operands, attrs, attr, message):
    with pytest.raises(OpError) as caught:
        infer("nn.deconv", operands, attrs)
    assert message in caught.value.message
    assert caught.value.attr == attr


def blocked(type_, axis, size=16):
    return type_.with_layout(Blocked(axis, size))


X, W, B = f32(2, 32, 7, 7), f32(64, 32, 3, 3), f32(64)
DEPTHWISE_X, DEPTHWISE = f32(2, 32, 7, 7), f32(32, 1, 3, 3)
DECONV_W = f32(32, 64, 3, 3)
IN_GROUPS = square_conv(2, group=32)


@pytest.mark.parametrize(
    ("op", "operands", "attrs", "layout"),
    [
        ("nn.conv", (X, W, B), ONE, None),
        ("nn.conv", (blocked(X, 1), W), ONE, None),
        ("nn.conv", (X, blocked(W, 0)), ONE, Blocked(1, 16)),
        ("nn.conv", (blocked(X, 1), blocked(W, 0), B), ONE, Blocked(1, 16)),
        ("nn.conv", (blocked(X, 1), blocked(W, 0), blocked(B, 0)), ONE, Blocked(1, 16)),
        ("nn.conv", (blocked(DEPTHWISE_X, 1, 8), blocked(DEPTHWISE, 0, 8)), IN_GROUPS, Blocked(1, 8)),
        ("nn.deconv", (X, DECONV_W), ONE, None),
        ("nn.deconv", (blocked(X, 1), DECONV_W), ONE, None),
        ("nn.deconv", (blocked(X, 1), blocked(DECONV_W, 1)), ONE, Blocked(1, 16)),
        ("nn.deconv", (blocked(DEPTHWISE_X, 1), blocked(DEPTHWISE, 0)), IN_GROUPS, Blocked(1, 16)),
    ],
)
def test_blocked_weights_make_a_blocked_result(op, operands, attrs, layout):
    assert infer(op, operands, attrs).layout == layout


@pytest.mark.parametrize(
    ("op", "operands", "attrs", "message"),
    [
        ("nn.conv", (blocked(X, 2), W), ONE, "an input that is row-major or blocked by channels"),
        ("nn.conv", (X, blocked(W, 1)), ONE, "a weight that is row-major or blocked on axis 0"),
        ("nn.conv", (blocked(X, 1, 8), blocked(W, 0)), ONE, "input and weight are blocked by 8 and 16"),
        ("nn.conv", (X, W, blocked(B, 0)), ONE, "a bias that is row-major or blocked like the weight"),
        ("nn.conv", (X, blocked(W, 0), blocked(B, 0, 8)), ONE, "a bias that is row-major or blocked like"),
        ("nn.deconv", (X, blocked(DECONV_W, 0)), ONE, "blocked on axis 1"),
        (
            "nn.deconv",
            (X, blocked(f32(32, 32, 3, 3), 1)),
            square_conv(2, group=2),
            "needs group 1 or one group",
        ),
    ],
)
def test_layouts_that_no_kernel_has_are_refused(op, operands, attrs, message):
    with pytest.raises(OpError) as caught:
        infer(op, operands, attrs)
    assert message in caught.value.message
