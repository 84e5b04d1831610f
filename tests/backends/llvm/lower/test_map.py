"""Elementwise kernels: layouts, broadcasting, strides, symbols, memory taken over."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, check_launch, launch_of, one_op, random

from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.elementwise import AffineAttrs, PowAttrs, ReluAttrs
from netc.ir.types import BufferType, TensorType, contiguous_strides


def f32(*shape: Any, block: int | None = None) -> TensorType:
    return TensorType("f32", shape, None if block is None else Blocked(1, block))


SHAPES = [(1,), (3,), (16,), (17,), (5, 7), (1, 1, 1), (2, 3, 4, 5), (1, 1000), (3, 64, 7, 7), (2, 4099)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_unary_op_on_contiguous_memory(shape: tuple[int, ...], target: str) -> None:
    launch = launch_of([f32(*shape)], one_op("math.relu", ReluAttrs(0.1)))
    check_launch(launch, [random(shape)], target=target)


EXTREMES = np.array([-np.inf, -2, -0.0, 0, 3, np.inf, np.nan], np.float32)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("slope", [0.0, 0.25, -0.5])
def test_a_relu_of_infinities(slope: float, target: str) -> None:
    launch = launch_of([f32(7)], one_op("math.relu", ReluAttrs(slope)))
    check_launch(launch, [EXTREMES], target=target)


@pytest.mark.parametrize("target", TARGETS)
def test_infinite_slopes(target: str) -> None:
    x, slopes = (np.ascontiguousarray(each) for each in np.broadcast_arrays(EXTREMES, EXTREMES[:, None]))
    launch = launch_of([f32(7, 7), f32(7, 7)], one_op("math.prelu"))
    check_launch(launch, [x, slopes], target=target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((4, 5), (1, 5)),
        ((4, 5), (4, 1)),
        ((4, 1), (1, 5)),
        ((2, 3, 5, 7), (1, 3, 1, 1)),
        ((2, 64, 8, 8), (1, 64, 1, 1)),
        ((2, 64, 1, 1), (1, 64, 1, 1)),
        ((2, 3, 5, 40), (2, 1, 5, 1)),
        ((2, 3, 5, 40), (1, 1, 1, 40)),
        ((3, 1, 5), (1, 4, 1)),
        ((50, 3), (50, 1)),
    ],
    ids=str,
)
def test_row_major_operands_broadcast(left: tuple[int, ...], right: tuple[int, ...], target: str) -> None:
    launch = launch_of([f32(*left), f32(*right)], one_op("math.sub"))
    check_launch(launch, [random(left), random(right, 1)], target=target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("left", "right", "right_blocked"),
    [
        ((2, 32, 5, 7), (2, 32, 5, 7), True),
        ((2, 20, 5, 7), (1, 20, 1, 1), True),
        ((2, 20, 5, 7), (2, 1, 5, 7), False),
        ((2, 20, 5, 7), (2, 1, 5, 7), True),
        ((2, 20, 5, 7), (1, 1, 1, 1), False),
        ((2, 20, 5, 7), (1, 1, 1, 7), False),
        ((1, 20, 1, 1), (4, 20, 3, 3), True),
        ((2, 1, 3, 3), (2, 1, 3, 3), True),
    ],
    ids=str,
)
def test_blocked_operands_broadcast(
    left: tuple[int, ...], right: tuple[int, ...], right_blocked: bool, target: str
) -> None:
    block = LANES[target]
    types = [f32(*left, block=block), f32(*right, block=block if right_blocked else None)]
    check_launch(launch_of(types, one_op("math.mul")), [random(left), random(right, 1)], target=target)


def test_blocks_need_not_be_registers() -> None:
    for block in (4, 8, 16):
        launch = launch_of([f32(2, 20, 3, 3, block=block), f32(1, 20, 1, 1, block=block)], one_op("math.add"))
        check_launch(launch, [random((2, 20, 3, 3)), random((1, 20, 1, 1))])


def chain(builder: FuncBuilder, args: list[Value]) -> Value:
    x, bias, other = args
    y = builder.add1("math.add", [x, bias], hint="a")
    y = builder.add1("math.affine", [y], AffineAttrs(0.5, -0.25), hint="b")
    y = builder.add1("math.mul", [y, other], hint="c")
    return builder.add1("math.sigmoid", [y], hint="d")


@pytest.mark.parametrize("target", TARGETS)
def test_a_chain_of_ops_with_symbolic_extents(target: str) -> None:
    n, h, w = symbol("N"), symbol("H"), symbol("W")
    for block in (None, LANES[target]):
        types = [f32(n, 20, h, w, block=block), f32(1, 20, 1, 1, block=block), f32(n, 20, h, w, block=block)]
        launch = launch_of(types, chain)
        for sizes in ((1, 1, 1), (3, 5, 7), (2, 16, 16)):
            shape = (sizes[0], 20, *sizes[1:])
            check_launch(
                launch,
                [random(shape), random((1, 20, 1, 1), 1), random(shape, 2)],
                target=target,
                symbols=dict(zip("NHW", sizes, strict=True)),
            )


@pytest.mark.parametrize("target", TARGETS)
def test_views_leave_the_gaps_between_their_elements_alone(target: str) -> None:
    block = LANES[target]
    part, whole = f32(2, 5, 3, 4), f32(3, 9, 3, 4)
    view = BufferType(part, contiguous_strides(whole))
    narrow = BufferType(part, contiguous_strides(f32(2, 5, 6, 11)))
    for left, right, out in ((view, narrow, narrow), (narrow, part, view)):
        launch = launch_of([left, right], one_op("math.add"), result_strides={0: contiguous_strides(whole)})
        check_launch(launch, [random((2, 5, 3, 4)), random((2, 5, 3, 4), 1)], target=target)
        assert out is not None
    blocked = f32(2, 2 * block, 3, 4, block=block)
    strides = contiguous_strides(f32(2, 5 * block, 3, 4, block=block))
    launch = launch_of(
        [BufferType(blocked, strides), blocked], one_op("math.max"), result_strides={0: strides}
    )
    shape = (2, 2 * block, 3, 4)
    check_launch(launch, [random(shape), random(shape, 1)], target=target)


def test_rows_with_gaps_of_any_width_are_read_element_by_element() -> None:
    strided = BufferType(f32(3, 20), (100, 3))
    launch = launch_of([strided, f32(3, 20)], one_op("math.add"), result_strides={0: (50, 2)})
    check_launch(launch, [random((3, 20)), random((3, 20), 1)])


@pytest.mark.parametrize("taken", [0, 1])
def test_a_result_takes_over_the_memory_of_an_operand(taken: int) -> None:
    launch = launch_of([f32(3, 1000), f32(3, 1000)], one_op("math.sub"), in_place={0: taken})
    check_launch(launch, [random((3, 1000)), random((3, 1000), 1)])


def test_one_buffer_may_be_read_twice() -> None:
    def build(builder: FuncBuilder, args: list[Value]) -> Value:
        return builder.add1("math.mul", [args[0], args[0]], hint="y")

    check_launch(launch_of([f32(77)], build), [random((77,))])


def test_several_results_are_written() -> None:
    def build(builder: FuncBuilder, args: list[Value]) -> list[Value]:
        low = builder.add1("math.relu", [args[0]], ReluAttrs(0.0), hint="low")
        return [low, builder.add1("math.pow", [low], PowAttrs(2.0), hint="high")]

    check_launch(launch_of([f32(3, 33)], build), [random((3, 33))])


def test_a_chain_computes_on_every_optimisation_level() -> None:
    types = [f32(2, 6, 3, 3), f32(1, 6, 1, 1), f32(2, 6, 3, 3)]
    arrays = [random((2, 6, 3, 3)), random((1, 6, 1, 1), 1), random((2, 6, 3, 3), 2)]
    results = [
        check_launch(launch_of(types, chain), arrays, opt=opt).outputs[0].logical() for opt in (0, 1, 2, 3)
    ]
    for one, other in pairwise(results):
        np.testing.assert_array_equal(one, other)
