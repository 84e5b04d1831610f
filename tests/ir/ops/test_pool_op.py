"""Pooling: Caffe's output sizes, divisors and borders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from op_cases import f32, infer, normal, run, square_pool

from netc.ir.diagnostics import OpError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.pool import LOWEST, GlobalPoolAttrs, PoolAttrs
from netc.ir.types import substitute_type

X = f32(2, 3, 7, 7)


def caffe_extents(spatial, kernel, stride, pad, rounding):
    """Output sizes as the original computes them, with its afterthought for padding."""
    out = []
    for size, k, s, p in zip(spatial, kernel, stride, pad, strict=True):
        count = (size + 2 * p - k) / s
        out.append(int(np.ceil(count) if rounding == "ceil" else np.floor(count)) + 1)
    if any(pad):
        out = [
            o - 1 if (o - 1) * s >= size + p else o
            for o, s, size, p in zip(out, stride, spatial, pad, strict=True)
        ]
    return tuple(out)


def caffe_pool(x, kind, kernel, stride, pad, out):
    """The loops of the definition over one window after the other."""
    y = np.zeros((*x.shape[:2], *out))
    for n, c, *p in np.ndindex(y.shape):
        begin = [o * s - q for o, s, q in zip(p, stride, pad, strict=True)]
        end = [min(b + k, size + q) for b, k, size, q in zip(begin, kernel, x.shape[2:], pad, strict=True)]
        divisor = np.prod([e - b for b, e in zip(begin, end, strict=True)])
        inside = [range(max(b, 0), min(e, size)) for b, e, size in zip(begin, end, x.shape[2:], strict=True)]
        seen = [x[(n, c, *at)] for at in itertools.product(*inside)]
        y[(n, c, *p)] = max(seen, default=LOWEST) if kind == "max" else sum(seen) / divisor
    return y


@st.composite
def poolings(draw):
    axes = draw(st.integers(1, 2))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(axes))
    pad = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    stride = tuple(draw(st.integers(1, k)) for k in kernel)
    spatial = tuple(draw(st.integers(1, 7)) for _ in range(axes))
    return (
        spatial,
        kernel,
        stride,
        pad,
        draw(st.sampled_from(["max", "ave"])),
        draw(st.sampled_from(["ceil", "floor"])),
    )


@settings(max_examples=100)
@given(poolings())
def test_pooling_is_what_the_original_computes(case):
    spatial, kernel, stride, pad, kind, rounding = case
    out = caffe_extents(spatial, kernel, stride, pad, rounding)
    assume(min(out) >= 1)
    attrs = PoolAttrs(kind, kernel, stride, tuple((p, p) for p in pad), rounding)
    x = normal(2, 2, *spatial)
    assert infer("nn.pool", (f32(*x.shape),), attrs).shape == (2, 2, *out)
    np.testing.assert_allclose(
        run("nn.pool", (x,), attrs), caffe_pool(x, kind, kernel, stride, pad, out), atol=1e-12
    )


@given(poolings())
def test_symbolic_sizes_become_the_static_ones(case):
    spatial, kernel, stride, pad, kind, rounding = case
    assume(min(caffe_extents(spatial, kernel, stride, pad, rounding)) >= 1)
    attrs = PoolAttrs(kind, kernel, stride, tuple((p, p) for p in pad), rounding)
    names = [symbol(f"S{i}") for i in range(len(spatial))]
    result = infer("nn.pool", (f32(2, 2, *names),), attrs)
    bound = {f"S{i}": size for i, size in enumerate(spatial)}
    static = infer("nn.pool", (f32(2, 2, *spatial),), attrs)
    assert substitute_type(result, bound) == static


def test_an_average_counts_padding_but_not_what_lies_beyond_it():
    x = np.ones((1, 1, 4, 4))
    # the last window begins at 3 and ends at 5, the end of the padded input, instead of 6
    y = run("nn.pool", (x,), square_pool("ave", 3, 2, 1))
    np.testing.assert_allclose(y[0, 0, 0], [4 / 9, 6 / 9, 2 / 6])


def test_an_average_without_padding_divides_by_the_elements_seen():
    y = run("nn.pool", (np.ones((1, 1, 4, 4)),), square_pool("ave", 3, 2, 1, count_padding=False))
    np.testing.assert_allclose(y, 1)


def test_padding_never_wins_a_maximum():
    x = -np.ones((1, 1, 3, 3))
    np.testing.assert_array_equal(run("nn.pool", (x,), square_pool("max", 3, 2, 1)), -1)


def test_pads_may_differ_at_both_ends():
    attrs = PoolAttrs("max", (3,), (2,), ((0, 2),))
    assert infer("nn.pool", (f32(1, 1, 6),), attrs).shape == (1, 1, 3)
    y = run("nn.pool", (np.arange(6.0).reshape(1, 1, 6),), attrs)
    np.testing.assert_array_equal(y, [[[2, 4, 5]]])


def test_an_empty_window_has_the_lowest_number_as_its_maximum():
    y = run("nn.pool", (np.ones((1, 1, 4, 1)),), PoolAttrs("max", (1, 1), (2, 1), ((0, 0),) * 2))
    np.testing.assert_array_equal(y.ravel(), [1, 1, LOWEST])


def test_a_global_pool_sees_the_whole_plane():
    x = normal(2, 3, 4, 5)
    mean = run("nn.global_pool", (x,), GlobalPoolAttrs("ave"))
    np.testing.assert_allclose(mean[..., 0, 0], x.mean(axis=(2, 3)), atol=1e-12)
    largest = run("nn.global_pool", (x,), GlobalPoolAttrs("max"))
    np.testing.assert_array_equal(largest[..., 0, 0], x.max(axis=(2, 3)))


@pytest.mark.parametrize("op", ["nn.pool", "nn.global_pool"])
def test_the_result_has_the_layout_of_the_input(op):
    attrs = square_pool("max", 2, 2) if op == "nn.pool" else GlobalPoolAttrs("max")
    for layout in (None, Blocked(1, 8)):
        assert infer(op, (X.with_layout(layout),), attrs).layout == layout
    with pytest.raises(OpError, match="blocked by channels expected"):
        infer(op, (X.with_layout(Blocked(2, 4)),), attrs)


@pytest.mark.parametrize(
    ("x", "attrs", "attr", "message"),
    [
        (X, square_pool("median", 2, 2), "kind", "kind must be max or ave, got median"),
        (X, square_pool("max", 2, 2, round="up"), "round", "round must be ceil or floor"),
        (f32(2, 3), square_pool("max", 2, 2), None, "an input of (N, C, spatial...) expected"),
        (X, PoolAttrs("max", (2,), (2, 2), ((0, 0),) * 2), "kernel", "one entry for each of 2"),
        (X, PoolAttrs("max", (2, 0), (2, 2), ((0, 0),) * 2), "kernel", "kernel must be >= 1, got 0"),
        (X, PoolAttrs("max", (2, 2), (2,), ((0, 0),) * 2), "stride", "one entry for each of 2"),
        (X, PoolAttrs("max", (2, 2), (2, 0), ((0, 0),) * 2), "stride", "stride must be >= 1, got 0"),
        (X, PoolAttrs("max", (2, 2), (2, 2), ((0, 0),)), "pad", "one entry for each of 2"),
        (X, square_pool("max", 2, 2, -1), "pad", "pad must be >= 0, got -1"),
        (X, square_pool("max", 2, 2, 2), "pad", "pad must be smaller than the kernel, got pad 2 for 2"),
        (X, PoolAttrs("max", (3, 3), (1, 1), ((0, 3), (0, 0))), "pad", "smaller than the kernel"),
        (
            X,
            square_pool("max", 9, 1),
            "kernel",
            "the kernel covers 9 elements of spatial axis 0, which has 7",
        ),
        (X, square_pool("max", 8, 2, round="floor"), "kernel", "covers 8 elements"),
    ],
)
def test_a_bad_pooling_is_refused(x, attrs, attr, message):
    with pytest.raises(OpError) as caught:
        infer("nn.pool", (x,), attrs)
    assert message in caught.value.message
    assert caught.value.attr == attr


@pytest.mark.parametrize("kind", ["max", "ave"])
def test_a_huge_window_costs_what_it_meets_and_no_padding(kind):
    x, size = normal(2, 3, 7, 7), 100_000_000
    y = run("nn.pool", (x,), square_pool(kind, size, size, size - 1))
    corner = x[:, :, 0, 0] if kind == "max" else x[:, :, 0, 0] / size**2
    assert y.shape == (2, 3, 2, 2)
    np.testing.assert_allclose(y[:, :, 0, 0], corner)


def test_a_bad_global_pooling_is_refused():
    with pytest.raises(OpError, match="kind must be"):
        infer("nn.global_pool", (X,), GlobalPoolAttrs("sum"))
    with pytest.raises(OpError, match="spatial"):
        infer("nn.global_pool", (f32(2, 3),), GlobalPoolAttrs("max"))
