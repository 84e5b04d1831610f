"""The buffer level: memory, views, launches."""

from __future__ import annotations

import pytest
from op_cases import f32, infer

from netc.ir.builder import infer_types
from netc.ir.core import Block, Value
from netc.ir.diagnostics import OpError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.buffer import AllocAttrs, LaunchAttrs, ReinterpretAttrs, ViewAttrs
from netc.ir.types import BufferType

N = symbol("N")
TENSOR = f32(2, 32, 5)
BASE = BufferType(TENSOR)
BLOCKED = BufferType(TENSOR.with_layout(Blocked(1, 16)))


def test_an_allocation_holds_its_tensor():
    assert infer("buffer.alloc", (), AllocAttrs(TENSOR)) == BASE


def test_a_view_has_the_strides_of_its_base():
    view = infer("buffer.view", (BASE,), ViewAttrs((0, 8, 1), (2, 16, 4)))
    assert view == BufferType(f32(2, 16, 4), (160, 5, 1))
    view = infer("buffer.view", (BLOCKED,), ViewAttrs((0, 16, 0), (2, 16, 5)))
    assert view == BufferType(f32(2, 16, 5).with_layout(Blocked(1, 16)), (160, 80, 16, 1))


def test_contiguous_memory_can_be_read_as_another_shape():
    assert infer("buffer.reinterpret", (BASE,), ReinterpretAttrs(f32(64, 5))) == BufferType(f32(64, 5))


@pytest.mark.parametrize(
    ("op", "base", "attrs", "attr", "message"),
    [
        ("buffer.view", BASE, ViewAttrs((0, 0), (2, 32)), "start", "needs 3 starts and extents"),
        ("buffer.view", BASE, ViewAttrs((0, 0, 3), (2, 32, 3)), "start", "axis 2: [3, 6) lies outside of 5"),
        ("buffer.view", BASE, ViewAttrs((0, -1, 0), (2, 3, 5)), "start", "start must be >= 0, got -1"),
        ("buffer.view", BASE, ViewAttrs((0, 0, 0), (2, 0, 5)), "start", "lies outside"),
        ("buffer.view", BLOCKED, ViewAttrs((0, 8, 0), (2, 16, 5)), "start", "cannot start at 8"),
        ("buffer.reinterpret", BASE, ReinterpretAttrs(f32(2, 32)), "tensor", "does not have the size"),
        ("buffer.reinterpret", BufferType(f32(2, 3), (4, 1)), ReinterpretAttrs(f32(6)), None, "contiguous"),
    ],
)
def test_parts_that_do_not_lie_in_the_memory_are_refused(op, base, attrs, attr, message):
    with pytest.raises(OpError) as caught:
        infer(op, (base,), attrs)
    assert message in caught.value.message
    assert caught.value.attr == attr


def test_a_launch_reads_the_first_buffers_and_writes_the_last():
    x, y = Value("x", BASE), Value("y", BASE)
    arg = Value("a", TENSOR)
    copy = Block((arg,), (), (arg,))
    assert infer_types("buffer.launch", [x, y], LaunchAttrs(1), copy) == ()
    for writes, message in (
        (2, "arguments do not have the types"),
        (0, "arguments do not"),
        (3, "within 0..2"),
    ):
        with pytest.raises(OpError, match=message):
            infer_types("buffer.launch", [x, y], LaunchAttrs(writes), copy)
    with pytest.raises(OpError, match="does not yield"):
        infer_types("buffer.launch", [x, y], LaunchAttrs(1), Block((arg,), (), ()))
    with pytest.raises(OpError, match="needs a body"):
        infer_types("buffer.launch", [x, y], LaunchAttrs(1))


def test_ops_of_the_buffer_level_take_buffers_only():
    with pytest.raises(OpError, match="takes values of the buffer level, got %x0"):
        infer("buffer.view", (TENSOR,), ViewAttrs((0,), (N,)))
    with pytest.raises(OpError, match="takes values of the tensor level, got %x0"):
        infer("math.tanh", (BASE,))
