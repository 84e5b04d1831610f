"""Pooling with its choice, and the gradients of poolings, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, check_launch, launch_of, one_op, random
from windows import symbolic

from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.dim import evaluate
from netc.ir.layout import Blocked
from netc.ir.opdef import numpy_dtype
from netc.ir.ops.elementwise import ThresholdAttrs
from netc.ir.ops.pool import LOWEST, PoolAttrs, pool_extents
from netc.ir.ops.pool_gradient import PoolGradientAttrs, choice_dtype
from netc.ir.types import TensorType

# shape, kernel, stride, pad, round, count_padding
CASES = [
    ((2, 20, 9, 31), (3, 3), (2, 2), ((0, 0), (0, 0)), "ceil", True),
    ((1, 32, 14, 13), (3, 3), (2, 2), ((1, 1), (1, 1)), "ceil", True),
    ((1, 32, 14, 13), (3, 3), (2, 2), ((1, 1), (1, 1)), "floor", True),
    ((1, 32, 14, 14), (3, 3), (1, 1), ((1, 1), (1, 1)), "ceil", True),
    ((1, 16, 14, 14), (2, 2), (2, 2), ((0, 0), (0, 0)), "ceil", True),
    ((1, 16, 13, 12), (5, 5), (3, 3), ((2, 2), (2, 2)), "ceil", False),
    ((1, 16, 7, 7), (7, 7), (1, 1), ((0, 0), (0, 0)), "ceil", True),
    ((1, 5, 4, 4), (2, 2), (3, 3), ((0, 0), (0, 0)), "ceil", True),
    ((1, 8, 11, 9), (4, 2), (1, 3), ((3, 0), (1, 1)), "ceil", True),
    ((1, 3, 20, 20), (18, 17), (2, 1), ((0, 0), (3, 3)), "ceil", True),
]
THREE_AXES = ((1, 3, 5, 6, 40), (2, 3, 3), (2, 2, 1), ((0, 0), (1, 1), (1, 0)), "ceil", True)


def attrs_of(case: Any, kind: Any) -> PoolAttrs:
    _, kernel, stride, pad, rounding, count = case
    return PoolAttrs(kind, kernel, stride, pad, rounding, count)


def layout(block: int) -> Blocked | None:
    return Blocked(1, block) if block else None


def gradient_launch(
    case: Any, kind: str, block: int, shape: tuple[Any, ...], masked: bool = False
) -> tuple[Any, TensorType]:
    attrs = attrs_of(case, kind)
    dy = TensorType("f32", (*shape[:2], *pool_extents(shape[2:], attrs)), layout(block))
    choice = TensorType(choice_dtype(attrs.kernel), dy.shape, dy.layout)
    gradient = PoolGradientAttrs.of(attrs, tuple(shape[2:]))
    types = [dy, choice] if kind == "max" else [dy]
    if not masked:
        return launch_of(types, one_op(f"nn.{kind}_pool_gradient", gradient)), dy

    def build(b: FuncBuilder, args: list[Value]) -> Value:
        dx = b.add1(f"nn.{kind}_pool_gradient", args[:-1], gradient, hint="dx")
        mask = b.add1("math.threshold", args[-1:], ThresholdAttrs(0.0), hint="mask")
        return b.add1("math.mul", [dx, mask], hint="r")

    return launch_of([*types, TensorType("f32", tuple(shape), layout(block))], build), dy


def arrays_of(case: Any, kind: str, dy: tuple[int, ...]) -> list[Any]:
    gradient = random(dy, 1)
    taps = int(np.prod(case[1]))
    choice = np.random.default_rng(2).integers(0, taps + 1, dy).astype(numpy_dtype(choice_dtype(case[1])))
    return [gradient, choice] if kind == "max" else [gradient]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", [*CASES, THREE_AXES], ids=str)
@pytest.mark.parametrize("blocked", [True, False])
def test_a_maximum_comes_with_its_choice(case: Any, blocked: bool, target: str) -> None:
    if blocked and len(case[0]) != 4:
        pytest.skip("pooling on a blocked layout has two axes")
    x = TensorType("f32", case[0], layout(LANES[target] if blocked else 0))
    values = random(case[0])
    values[0, 0] = np.round(values[0, 0])  # ties
    values[0, 1], values[0, 2] = np.nan, LOWEST

    def build(b: FuncBuilder, args: list[Value]) -> list[Value]:
        return list(b.add("nn.max_pool_choice", args, attrs_of(case, "max"), hint="y"))

    check_launch(launch_of([x], build), [values], target=target, threads=(1, 2))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["max", "ave"])
@pytest.mark.parametrize("case", [*CASES, THREE_AXES], ids=str)
@pytest.mark.parametrize("blocked", [True, False])
def test_a_gradient_is_gathered_from_the_windows(case: Any, kind: str, blocked: bool, target: str) -> None:
    block = LANES[target] if blocked else 0
    launch, dy = gradient_launch(case, kind, block, case[0])
    check_launch(launch, arrays_of(case, kind, dy.static_shape), target=target, threads=(1, 2))


@pytest.mark.parametrize("kind", ["max", "ave"])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("block", [0, 8])
def test_one_kernel_of_a_gradient_serves_any_size_and_takes_a_mask(case: Any, kind: str, block: int) -> None:
    shape, values = symbolic(case[0])
    launch, dy = gradient_launch(case, kind, block, shape, masked=True)
    extents = tuple(evaluate(d, values) for d in dy.shape)
    arrays = [*arrays_of(case, kind, extents), random(case[0], 3)]
    check_launch(launch, arrays, symbols=values, threads=(2,))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(2, 36, 7, 7), (1, 16, 3, 5), (3, 5, 1, 1), (1, 4, 9, 40)], ids=str)
@pytest.mark.parametrize("blocked", [True, False])
@pytest.mark.parametrize("symbols", [True, False])
def test_the_gradient_of_a_global_maximum(shape: Any, blocked: bool, symbols: bool, target: str) -> None:
    dims, values = symbolic(shape) if symbols else (shape, {})
    x = TensorType("f32", dims, layout(LANES[target] if blocked else 0))
    dy = TensorType("f32", (*dims[:2], 1, 1), x.layout)
    array = np.round(random(shape))
    array[0, 1] = np.nan
    launch = launch_of([dy, x], one_op("nn.global_max_gradient"))
    check_launch(
        launch, [random((*shape[:2], 1, 1), 1), array], target=target, symbols=values, threads=(1, 2)
    )
