"""Layouts and the types that carry them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc.ir.diagnostics import OpError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked, pack, storage_elements, storage_shape, unpack
from netc.ir.types import (
    BufferType,
    PointerType,
    ScalarType,
    TensorType,
    VectorType,
    check_type,
    contiguous_strides,
    substitute_type,
    type_symbols,
)

N, C = symbol("N"), symbol("C")


@st.composite
def shapes_and_layouts(draw):
    shape = tuple(draw(st.lists(st.integers(1, 7), max_size=4)))
    if not shape or draw(st.booleans()):
        return shape, None
    return shape, Blocked(draw(st.integers(0, len(shape) - 1)), draw(st.integers(2, 5)))


@given(shapes_and_layouts())
def test_unpacking_what_was_packed_gives_the_array_back(case):
    shape, layout = case
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape) + 1
    storage = pack(array, layout)
    assert storage.shape == storage_shape(shape, layout)
    assert storage.size == storage_elements(shape, layout)
    assert storage.flags.c_contiguous
    assert storage.sum() == array.sum(), "padding is zero"
    np.testing.assert_array_equal(unpack(storage, shape, layout), array)


def test_an_element_lies_where_its_block_and_lane_say():
    array = np.random.default_rng(0).standard_normal((2, 5, 3))
    storage = pack(array, Blocked(1, 4))
    for n, c, h in np.ndindex(array.shape):
        assert storage[n, c // 4, h, c % 4] == array[n, c, h]


def test_symbolic_shapes_have_symbolic_storage():
    assert storage_shape((N, 20, C), Blocked(1, 16)) == (N, 2, C, 16)
    assert str(storage_elements((N, C), Blocked(1, 16))) == "16*N*floordiv(C+15, 16)"


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (TensorType("f32", (N, 3, 8, 8), Blocked(1, 16)), "f32[N,3,8,8]{1:16}"),
        (TensorType("f64", ()), "f64[]"),
        (BufferType(TensorType("f32", (N, 8))), "buffer f32[N,8]"),
        (BufferType(TensorType("f32", (N, 8)), (16, 1)), "buffer f32[N,8] strides(16,1)"),
        (ScalarType("i64"), "i64"),
        (VectorType("f32", 16), "f32x16"),
        (PointerType("f32"), "ptr<f32>"),
    ],
)
def test_a_type_prints_as_documented(type_, text):
    assert str(type_) == text


def test_the_strides_of_a_blocked_tensor_are_those_of_its_storage():
    assert contiguous_strides(TensorType("f32", (N, 20, 3), Blocked(1, 16))) == (96, 48, 16, 1)
    assert contiguous_strides(TensorType("f32", ())) == ()


def test_the_bytes_of_a_blocked_tensor_count_its_padding():
    assert TensorType("f32", (2, 20), Blocked(1, 16)).storage_bytes == 2 * 32 * 4
    assert TensorType("f64", (N, 3)).storage_bytes == 24 * N


def test_symbols_are_replaced_in_shapes_and_strides():
    buffer = BufferType(TensorType("f32", (N, C)), (2 * C, 1))
    assert substitute_type(buffer, {"C": 5}) == BufferType(TensorType("f32", (N, 5)), (10, 1))
    assert type_symbols(buffer) == {"N", "C"}
    assert type_symbols(ScalarType("f32")) == frozenset()


def test_a_symbolic_shape_is_not_static():
    with pytest.raises(ValueError, match="symbolic"):
        _ = TensorType("f32", (N,)).static_shape


@pytest.mark.parametrize(
    "type_",
    [
        TensorType("f32", (0,)),
        TensorType("f32", (2, -1)),
        TensorType("f32", (2,), Blocked(1, 16)),
        TensorType("f32", (2,), Blocked(0, 1)),
        TensorType("f32", (2,), Blocked(-1, 4)),
        BufferType(TensorType("f32", (), Blocked(0, 4))),
    ],
)
def test_impossible_types_are_refused(type_):
    with pytest.raises(OpError):
        check_type(type_)
