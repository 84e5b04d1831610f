"""The softmax loss and its gradient against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import TARGETS, check_launch, launch_of, one_op, random
from windows import symbolic

from netc.ir.ops.loss import SoftmaxLossAttrs
from netc.ir.types import BufferType, TensorType, contiguous_strides

CASES = [
    ((1, 10), 1),
    ((7, 1000), 1),
    ((4, 3), 1),
    ((5, 1), 1),
    ((9,), 0),
    ((2, 5, 1, 1), 1),
    ((2, 21, 5, 7), 1),
    ((3, 4, 33), 0),
    ((2, 3, 40), 2),
    ((2, 300, 3), 1),
]


def f32(*shape: Any) -> TensorType:
    return TensorType("f32", shape)


def labels(positions: tuple[int, ...], classes: int) -> Any:
    """Classes, with fractions, some ignored, and some that are none."""
    rng = np.random.default_rng(1)
    found = rng.integers(-1, classes + 1, positions) + rng.choice([0.0, 0.25, 0.9], positions)
    odd = rng.random(positions)
    found = np.where(odd < 0.05, np.nan, np.where(odd < 0.1, -1e30, np.where(odd < 0.15, 1e30, found)))
    return found.astype(np.float32)


def arrays_of(shape: tuple[int, ...], axis: int) -> tuple[Any, ...]:
    positions = (*shape[:axis], *shape[axis + 1 :])
    return random(shape, low=-20, high=20), labels(positions, shape[axis]), random(positions, 2)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("ignore", [None, 1, 255])
@pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
@pytest.mark.parametrize("gradient", [False, True])
def test_a_softmax_loss_along_any_axis(
    shape: tuple[int, ...], axis: int, ignore: int | None, gradient: bool, target: str
) -> None:
    arrays = arrays_of(shape, axis)[: 3 if gradient else 2]
    name = "nn.softmax_loss_gradient" if gradient else "nn.softmax_loss"
    launch = launch_of([f32(*a.shape) for a in arrays], one_op(name, SoftmaxLossAttrs(axis, ignore)))
    check_launch(launch, arrays, target=target, tolerance=5e-6)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((3, 7), 1), ((2, 5, 6, 7), 1)], ids=str)
def test_a_softmax_loss_with_symbols(shape: tuple[int, ...], axis: int, gradient: bool) -> None:
    if len(shape) == 4:
        dims, values = symbolic(shape)
    else:
        dims, values = (symbolic((*shape, 1, 1))[0][0], shape[1]), {"N": shape[0]}
    positions = (*dims[:axis], *dims[axis + 1 :])
    types = [f32(*dims), f32(*positions), f32(*positions)][: 3 if gradient else 2]
    name = "nn.softmax_loss_gradient" if gradient else "nn.softmax_loss"
    launch = launch_of(types, one_op(name, SoftmaxLossAttrs(axis, 2)))
    check_launch(launch, arrays_of(shape, axis)[: len(types)], symbols=values, tolerance=5e-6)


def test_a_softmax_loss_of_views() -> None:
    for strides in (contiguous_strides(f32(2, 7, 6, 5)), (400, 40, 8, 2)):
        x, label, dloss = arrays_of((2, 7, 4, 3), 1)
        types = [BufferType(f32(2, 7, 4, 3), strides), f32(2, 4, 3), f32(2, 4, 3)]
        launch = launch_of(types, one_op("nn.softmax_loss_gradient", SoftmaxLossAttrs(1)))
        check_launch(launch, [x, label, dloss], tolerance=5e-6)


def test_a_loss_is_bounded_where_the_probability_is_0() -> None:
    x = np.array([[200.0, -200.0]], np.float32)
    launch = launch_of([f32(1, 2), f32(1)], one_op("nn.softmax_loss", SoftmaxLossAttrs(1)))
    run = check_launch(launch, [x, np.ones(1, np.float32)])
    assert 87 < run.outputs[0].logical()[0] < 88
