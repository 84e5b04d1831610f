"""Random numbers and dropout: the reference's to the bit, on any layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, check_launch, launch_of, one_op, random

from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.elementwise import AffineAttrs
from netc.ir.ops.random import STATE, RandomDropoutAttrs, UniformAttrs
from netc.ir.types import BufferType, TensorType

STATES = [np.array([0, 0]), np.array([-(2**62) + 12345, 2**33 + 7]), np.array([2**32 - 1, -1])]


def f32(*shape: Any, block: int | None = None) -> TensorType:
    return TensorType("f32", shape, None if block is None else Blocked(1, block))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("state", STATES, ids=str)
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 37), (4, 16, 3, 3), (2, 1000)], ids=str)
def test_numbers_are_those_of_the_reference(shape: tuple[int, ...], state: Any, target: str) -> None:
    launch = launch_of([STATE], one_op("random.uniform", UniformAttrs(f32(*shape), 3)))
    check_launch(launch, [state], target=target, tolerance=0)


@pytest.mark.parametrize("state", STATES, ids=str)
def test_the_next_state_is_one_step_on(state: Any) -> None:
    check_launch(launch_of([STATE], one_op("random.next")), [state])
    check_launch(launch_of([STATE], one_op("random.next"), in_place={0: 0}), [state], threads=(1,))


def dropout(ratio: float, stream: int = 2) -> Any:
    return one_op("random.dropout", RandomDropoutAttrs(ratio, stream))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(7,), (3, 37), (2, 20, 5, 7), (2, 16, 1, 1), (1, 33, 4, 4)], ids=str)
def test_dropout_in_both_layouts(shape: tuple[int, ...], target: str) -> None:
    for block in (None, LANES[target]) if len(shape) > 2 else (None,):
        for ratio in (0.0, 0.3, 0.5, 0.9):
            launch = launch_of([f32(*shape, block=block), STATE], dropout(ratio))
            check_launch(launch, [random(shape), STATES[1]], target=target, tolerance=1e-7)


def test_the_layout_does_not_change_which_elements_drop() -> None:
    shape = (2, 24, 3, 5)
    runs = [
        check_launch(launch_of([f32(*shape, block=b), STATE], dropout(0.5)), [random(shape), STATES[1]])
        for b in (None, 8, 16)
    ]
    first, *others = [run.outputs[0].logical() for run in runs]
    assert 0.3 < np.mean(first == 0) < 0.7
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_dropout_with_symbols_and_elementwise_ops() -> None:
    def build(b: FuncBuilder, args: list[Value]) -> Value:
        y = b.add1("random.dropout", args[:2], RandomDropoutAttrs(0.25, 0), hint="y")
        y = b.add1("math.mul", [y, args[2]], hint="m")
        return b.add1("math.affine", [y], AffineAttrs(3.0, 0.5), hint="r")

    n, h = symbol("N"), symbol("H")
    for block in (None, 8):
        x = f32(n, 12, h, 3, block=block)
        launch = launch_of([x, STATE, x], build)
        for sizes in ((1, 1), (3, 7)):
            shape = (sizes[0], 12, sizes[1], 3)
            arrays = [random(shape), STATES[2], random(shape, 1)]
            check_launch(launch, arrays, symbols=dict(zip("NH", sizes, strict=True)))


def test_dropout_of_views() -> None:
    view = BufferType(f32(2, 7, 4, 3), (400, 40, 8, 2))
    check_launch(launch_of([view, STATE], dropout(0.5)), [random((2, 7, 4, 3)), STATES[0]])


def test_what_is_no_number_stays_none() -> None:
    x = np.array([np.nan, np.inf] * 8, np.float32)
    run = check_launch(launch_of([f32(16), STATE], dropout(0.5)), [x, STATES[0]])
    assert np.isnan(run.outputs[0].logical()[::2]).all()
