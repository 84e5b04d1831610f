"""take, one_hot, top_k, select, tile, count, im2col."""

from __future__ import annotations

import numpy as np
import pytest
from op_cases import f32, infer, normal, run

from netc.ir.diagnostics import OpError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.im2col import Im2colAttrs
from netc.ir.ops.pick import OneHotAttrs, TopKAttrs
from netc.ir.ops.shape import CountAttrs, TileAttrs
from netc.ir.types import TensorType

N = symbol("N")


def test_take_rounds_indices_towards_zero_and_gives_zeros_where_there_is_no_row():
    x = np.arange(6.0).reshape(3, 2)
    rows = run("tensor.take", (x, np.array([2.9, 0, -0.5, 3, -1, np.nan])))
    np.testing.assert_array_equal(rows, [[4, 5], [0, 1], [0, 1], [0, 0], [0, 0], [0, 0]])


def test_one_hot_marks_the_class_and_nothing_for_what_is_none():
    marked = run("tensor.one_hot", (np.array([1.0, 0, 3, -1]),), OneHotAttrs(3))
    np.testing.assert_array_equal(marked, [[0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]])


def test_top_k_is_in_descending_order_and_the_later_of_equals_comes_first():
    x = np.array([[1.0, 3, 3, 2], [0, 0, -1, 0]])
    np.testing.assert_array_equal(
        run("tensor.top_k", (x,), TopKAttrs(1, 3, "indices")), [[2, 1, 3], [3, 1, 0]]
    )
    np.testing.assert_array_equal(
        run("tensor.top_k", (x,), TopKAttrs(1, 3, "values")), [[3, 3, 2], [0, 0, 0]]
    )
    np.testing.assert_array_equal(run("tensor.top_k", (x,), TopKAttrs(0, 1, "indices")), [[0, 0, 0, 0]])


def test_select_moves_the_chosen_rows_to_the_front():
    x = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(
        run("tensor.select", (x, np.array([0, -0.1, 0, 2]))), [[2, 3], [6, 7], [0, 0], [0, 0]]
    )


def test_tile_repeats_the_whole_axis():
    x = normal(2, 3)
    np.testing.assert_array_equal(run("tensor.tile", (x,), TileAttrs(1, 2)), np.concatenate([x, x], 1))


def test_count_is_the_product_of_the_extents_that_may_be_symbols():
    assert run("tensor.count", (normal(2, 3, 4),), CountAttrs((0, 2))) == 8
    assert infer("tensor.count", (f32(N, 3),), CountAttrs((0,))).shape == ()
    assert infer("tensor.tile", (f32(N, 3),), TileAttrs(0, 2)).shape == (2 * N, 3)


def test_the_columns_of_im2col_times_the_weights_are_the_convolution():
    x, w = normal(2, 3, 7, 6), normal(4, 3, 3, 2, seed=1)
    columns = run("nn.im2col", (x,), Im2colAttrs((3, 2), (2, 1), ((1, 1), (0, 0)), (1, 2)))
    from netc.ir.ops.conv import ConvAttrs

    conv = run("nn.conv", (x, w), ConvAttrs((2, 1), ((1, 1), (0, 0)), (1, 2)))
    product = np.einsum("ok,nkhw->nohw", w.reshape(4, -1), columns)
    np.testing.assert_allclose(product, conv, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("op", "operands", "attrs", "faulty", "message"),
    [
        ("tensor.top_k", (f32(2, 3),), TopKAttrs(2, 1, "values"), "axis", "within 0..1"),
        ("tensor.top_k", (f32(2, 3),), TopKAttrs(1, 4, "values"), "k", "k must be within 1..3"),
        ("tensor.top_k", (f32(2, 3),), TopKAttrs(1, 1, "both"), "what", "values or indices"),
        ("tensor.one_hot", (f32(2),), OneHotAttrs(0), "size", "size must be >= 1, got 0"),
        ("tensor.take", (f32(2, 3), f32(2, 1)), None, None, r"indices of shape \[M\] expected"),
        ("tensor.take", (f32(), f32(2)), None, None, "a table with rows expected"),
        ("tensor.select", (f32(2, 3), f32(3)), None, None, "one number a row expected"),
        ("tensor.tile", (f32(2, 3),), TileAttrs(0, 0), "tiles", "tiles must be >= 1, got 0"),
        ("tensor.tile", (f32(2, 3),), TileAttrs(-1, 2), "axis", "within 0..1"),
        ("tensor.count", (f32(2, 3),), CountAttrs((1, 0)), "axes", "ascending"),
        ("tensor.count", (f32(2, 3),), CountAttrs((2,)), "axes", "within 0..1"),
        ("nn.im2col", (f32(2, 3),), Im2colAttrs((), (), (), ()), None, "row-major input"),
        ("nn.im2col", (f32(1, 1, 2),), Im2colAttrs((3,), (1,), ((0, 0),), (1,)), "kernel", "does not fit"),
        ("nn.im2col", (f32(1, 1, 2),), Im2colAttrs((1,), (1,), ((0, 0),), (0,)), "dilation", ">= 1, got 0"),
        ("tensor.tile", (TensorType("f32", (1, 8), Blocked(1, 4)),), TileAttrs(0, 2), None, "row-major"),
        ("tensor.one_hot", (TensorType("f32", (1, 8), Blocked(1, 4)),), OneHotAttrs(2), None, "row-major"),
    ],
)
def test_bad_operands_and_attributes_are_refused(op, operands, attrs, faulty, message):
    with pytest.raises(OpError, match=message) as caught:
        infer(op, operands, attrs)
    assert caught.value.attr == faulty
