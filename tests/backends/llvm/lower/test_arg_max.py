"""Kernels of tensor.top_k with k = 1, and of tensor.tile."""

from __future__ import annotations

import numpy as np
import pytest
from harness import TARGETS, check_launch, launch_of, one_op, random

from netc.ir.dim import symbol
from netc.ir.opdef import NoAttrs
from netc.ir.ops.elementwise import ClipAttrs, DiffersAttrs, ThresholdAttrs
from netc.ir.ops.pick import TopKAttrs
from netc.ir.ops.shape import TileAttrs
from netc.ir.types import TensorType

SHAPES = [
    ((7,), 0),
    ((5, 1), 0),
    ((1, 9), 1),
    ((3, 21, 5, 7), 1),
    ((2, 4, 300), 1),
    ((3, 4, 37), 2),
    ((3, 4, 37), 0),
]


def f32(*shape):
    return TensorType("f32", shape)


@pytest.mark.parametrize("what", ["values", "indices"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_the_largest_is_found_and_of_equals_the_last(shape, axis, what, target):
    launch = launch_of([f32(*shape)], one_op("tensor.top_k", TopKAttrs(axis, 1, what)))
    x = np.round(random(shape))  # many are equal
    check_launch(launch, [x], target=target)


def test_the_largest_is_found_at_any_size():
    n = symbol("N")
    launch = launch_of([f32(n, 3, 2 * n)], one_op("tensor.top_k", TopKAttrs(1, 1, "indices")))
    for size in (1, 5, 40):
        check_launch(launch, [np.round(random((size, 3, 2 * size)))], symbols={"N": size})


@pytest.mark.parametrize(
    ("shape", "axis", "tiles"),
    [((3,), 0, 4), ((2, 3, 4), 0, 2), ((2, 3, 4), 1, 3), ((2, 3, 17), 2, 5), ((1, 1), 1, 70), ((2, 3), 1, 1)],
)
@pytest.mark.parametrize("target", TARGETS)
def test_tiles_follow_each_other(shape, axis, tiles, target):
    launch = launch_of([f32(*shape)], one_op("tensor.tile", TileAttrs(axis, tiles)))
    check_launch(launch, [random(shape)], target=target)


@pytest.mark.parametrize(
    ("name", "attrs"),
    [("clip", ClipAttrs(-0.5, 1.0)), ("threshold", ThresholdAttrs(0.5)), ("sign", NoAttrs())]
    + [("differs", DiffersAttrs(value)) for value in (-2, -1, 0, 1, 2)],
)
@pytest.mark.parametrize("target", TARGETS)
def test_steps_are_exact_at_their_bounds(name, attrs, target):
    x = np.concatenate([np.arange(-4, 4.25, 0.25), np.nextafter([-3, -2, -1, 1, 2, 3], 0), [0.0, -0.0]])
    x = x.astype(np.float32)
    check_launch(launch_of([f32(*x.shape)], one_op(f"math.{name}", attrs)), [x], target=target)
