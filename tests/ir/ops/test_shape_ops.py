"""Reshape, transpose, concat, slice, fill; reduce; layout.convert."""

from __future__ import annotations

import numpy as np
import pytest
from op_cases import f32, infer, normal, run

from netc.ir.diagnostics import OpError
from netc.ir.dim import floordiv, symbol
from netc.ir.layout import Blocked
from netc.ir.opdef import opdef
from netc.ir.ops.layout_ops import LayoutAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import ConcatAttrs, FillAttrs, ReshapeAttrs, SliceAttrs, TransposeAttrs
from netc.ir.types import TensorType

N, H = symbol("N"), symbol("H")
X = f32(2, 32, 5)
BLOCKED = X.with_layout(Blocked(1, 16))


def refused(op, operands, attrs, message, attr=None):
    with pytest.raises(OpError) as caught:
        infer(op, operands, attrs)
    assert message in caught.value.message
    assert caught.value.attr == attr


def test_a_reshape_keeps_the_row_major_order():
    x = normal(2, 6)
    np.testing.assert_array_equal(run("tensor.reshape", (x,), ReshapeAttrs((3, 4))).ravel(), x.ravel())
    assert opdef("tensor.reshape").identity


def test_a_reshape_of_symbolic_extents_needs_the_same_product():
    assert infer("tensor.reshape", (f32(N, 3, H),), ReshapeAttrs((3 * N, H))) == f32(3 * N, H)
    halves = floordiv(H, 2)
    assert infer("tensor.reshape", (f32(N, 4, halves),), ReshapeAttrs((2 * N, 2 * halves))).rank == 2
    refused(
        "tensor.reshape",
        (f32(N, 3),),
        ReshapeAttrs((N, 4)),
        "[N,4] holds 4*N elements, f32[N,3] has 3*N",
        "shape",
    )
    refused("tensor.reshape", (f32(N, 3),), ReshapeAttrs((2, 3)), "[2,3] holds 6 elements", "shape")


def test_a_bad_reshape_is_refused():
    refused("tensor.reshape", (X,), ReshapeAttrs((0, 320)), "extents must be >= 1, got 0", "shape")
    refused("tensor.reshape", (X,), ReshapeAttrs((-2, -160)), "extents must be >= 1, got -2", "shape")
    refused("tensor.reshape", (BLOCKED,), ReshapeAttrs((320,)), "a row-major operand expected")


def test_a_transpose_moves_every_element():
    x = normal(2, 3, 4)
    y = run("tensor.transpose", (x,), TransposeAttrs((2, 0, 1)))
    for i, j, k in np.ndindex(x.shape):
        assert y[k, i, j] == x[i, j, k]
    assert y.flags.c_contiguous


def test_a_bad_transpose_is_refused():
    for perm in ((0, 1), (0, 1, 1), (0, 1, 3), (-1, 0, 1)):
        refused("tensor.transpose", (X,), TransposeAttrs(perm), "perm must name each of 3 axes once", "perm")
    refused("tensor.transpose", (BLOCKED,), TransposeAttrs((0, 1, 2)), "a row-major operand expected")


def test_slices_of_a_concat_are_its_operands():
    parts = [normal(2, c, 3, seed=c) for c in (1, 4, 2)]
    whole = run("tensor.concat", tuple(parts), ConcatAttrs(1))
    start = 0
    for part in parts:
        again = run("tensor.slice", (whole,), SliceAttrs((0, start, 0), part.shape))
        np.testing.assert_array_equal(again, part)
        start += part.shape[1]


def test_concat_and_slice_keep_a_layout_whose_blocks_they_do_not_cut():
    assert infer("tensor.concat", (BLOCKED, BLOCKED), ConcatAttrs(1)) == f32(2, 64, 5).with_layout(
        Blocked(1, 16)
    )
    tail = f32(2, 7, 5).with_layout(Blocked(1, 16))
    assert infer("tensor.concat", (BLOCKED, tail), ConcatAttrs(1)).shape == (2, 39, 5)
    assert infer("tensor.concat", (tail, tail), ConcatAttrs(0)).shape == (4, 7, 5)
    refused(
        "tensor.concat", (tail, BLOCKED), ConcatAttrs(1), "an operand begins at 7, inside of a block", "axis"
    )
    whole = f32(2, 39, 5).with_layout(Blocked(1, 16))
    assert infer("tensor.slice", (whole,), SliceAttrs((0, 16, 1), (2, 23, 4))).layout == Blocked(1, 16)
    assert infer("tensor.slice", (whole,), SliceAttrs((0, 0, 0), (2, 32, 5))).layout == Blocked(1, 16)
    refused(
        "tensor.slice", (whole,), SliceAttrs((0, 8, 0), (2, 31, 5)), "axis 1: [8, 39) cuts a block", "start"
    )
    refused(
        "tensor.slice", (whole,), SliceAttrs((0, 0, 0), (2, 20, 5)), "axis 1: [0, 20) cuts a block", "start"
    )


def test_symbolic_extents_concat_and_slice():
    assert infer("tensor.concat", (f32(N, 3), f32(N + 1, 3)), ConcatAttrs(0)) == f32(2 * N + 1, 3)
    assert infer("tensor.slice", (f32(N, 3),), SliceAttrs((0, 1), (N, 2))) == f32(N, 2)
    refused(
        "tensor.slice",
        (f32(N, 3),),
        SliceAttrs((1, 1), (N, 2)),
        "axis 0: [1, N+1) does not lie within N",
        "shape",
    )


def test_a_bad_concat_is_refused():
    refused("tensor.concat", (), ConcatAttrs(0), "takes 1 or more operands, got 0")
    refused("tensor.concat", (X, X), ConcatAttrs(3), "axis must be within 0..2", "axis")
    refused("tensor.concat", (X, X), ConcatAttrs(-1), "axis must be within 0..2", "axis")
    refused("tensor.concat", (X, f32(2, 32, 6)), ConcatAttrs(1), "operands may differ on axis 1 only")
    refused("tensor.concat", (X, f32(2, 32)), ConcatAttrs(1), "operands may differ on axis 1 only")
    refused("tensor.concat", (X, BLOCKED), ConcatAttrs(1), "operands of one layout expected")
    refused(
        "tensor.concat", (X, TensorType("f64", X.shape)), ConcatAttrs(1), "operands of one dtype expected"
    )


def test_a_bad_slice_is_refused():
    refused("tensor.slice", (X,), SliceAttrs((0, 0), (2, 32, 5)), "start needs 3 entries", "start")
    refused("tensor.slice", (X,), SliceAttrs((0, 0, 0), (2, 32)), "shape needs 3 entries", "shape")
    refused("tensor.slice", (X,), SliceAttrs((0, -1, 0), (2, 32, 5)), "start must be >= 0, got -1", "start")
    refused(
        "tensor.slice",
        (X,),
        SliceAttrs((0, 1, 0), (2, 32, 5)),
        "axis 1: [1, 33) does not lie within 32",
        "shape",
    )
    refused("tensor.slice", (X,), SliceAttrs((0, 1, 0), (2, 0, 5)), "extents must be >= 1, got 0", "shape")


def test_a_fill_has_the_type_that_it_is_given():
    type_ = TensorType("i32", (2, 3), Blocked(0, 2))
    assert infer("tensor.fill", (), FillAttrs(type_, 7)) == type_
    filled = run("tensor.fill", (), FillAttrs(type_, 7))
    assert filled.dtype == np.int32
    np.testing.assert_array_equal(filled, 7)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_a_reduction_keeps_its_axes_with_extent_one(axes):
    x = normal(2, 3, 4)
    for kind, function in (("sum", np.sum), ("mean", np.mean), ("max", np.max)):
        y = run("tensor.reduce", (x,), ReduceAttrs(kind, axes))
        np.testing.assert_allclose(y, function(x, axis=axes, keepdims=True), atol=1e-12)
    assert infer("tensor.reduce", (f32(N, 3, 4),), ReduceAttrs("sum", (0, 2))) == f32(1, 3, 1)


def test_a_bad_reduction_is_refused():
    refused("tensor.reduce", (X,), ReduceAttrs("min", (0,)), "kind must be sum, mean or max", "kind")
    for axes in ((), (1, 0), (1, 1)):
        refused(
            "tensor.reduce", (X,), ReduceAttrs("sum", axes), "axes must be one or more, ascending", "axes"
        )
    for axes in ((3,), (-1,)):
        refused("tensor.reduce", (X,), ReduceAttrs("sum", axes), "axes must be within 0..2", "axes")
    refused(
        "tensor.reduce",
        (BLOCKED,),
        ReduceAttrs("sum", (0, 1)),
        "the blocked axis of f32[2,32,5]{1:16} cannot be reduced",
        "axes",
    )


def test_a_conversion_changes_nothing_but_the_layout():
    for layout in (None, Blocked(1, 8), Blocked(0, 2)):
        attrs = LayoutAttrs.of(layout)
        assert attrs.layout == layout
        assert infer("layout.convert", (BLOCKED,), attrs) == X.with_layout(layout)
    x = normal(2, 32, 5)
    np.testing.assert_array_equal(run("layout.convert", (x,), LayoutAttrs(1, 8)), x)


def test_a_bad_conversion_is_refused():
    refused("layout.convert", (X,), LayoutAttrs(3, 8), "axis must be within 0..2", "axis")
    refused("layout.convert", (X,), LayoutAttrs(-1, 8), "axis must be within 0..2", "axis")
    refused("layout.convert", (X,), LayoutAttrs(1, 1), "size must be >= 2, got 1", "size")
    refused("layout.convert", (X,), LayoutAttrs(None, 8), "size must be 1 for the row-major layout", "size")
