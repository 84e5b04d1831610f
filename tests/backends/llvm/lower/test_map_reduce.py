"""Reductions of what elementwise ops compute, several at once, and moments; row-major and blocked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, check_launch, launch_of, one_op, random, run_launch

from netc.backends.llvm.lower.table import has_kernel, lower_launch
from netc.backends.llvm.target import parse_target
from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.diagnostics import NetcError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.elementwise import AffineAttrs, ThresholdAttrs
from netc.ir.ops.reduce import MomentsAttrs, ReduceAttrs
from netc.ir.types import BufferType, TensorType


def f32(*shape: Any, block: int | None = None) -> TensorType:
    return TensorType("f32", shape, None if block is None else Blocked(1, block))


SHAPES = [
    ((3, 20, 5, 7), (0, 2, 3)),
    ((3, 20, 5, 7), (2, 3)),
    ((3, 20, 5, 7), (0,)),
    ((2, 16, 1, 1), (0, 2, 3)),
    ((1, 33, 9, 40), (0, 2, 3)),
    ((1, 3, 30, 40), (2, 3)),
    ((1, 40, 1, 1), (2, 3)),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)
def test_reduce_on_a_blocked_layout(shape: tuple[int, ...], axes: tuple[int, ...], target: str) -> None:
    for kind in ("sum", "mean", "max"):
        launch = launch_of(
            [f32(*shape, block=LANES[target])], one_op("tensor.reduce", ReduceAttrs(kind, axes))
        )
        check_launch(launch, [random(shape) - np.float32(3)], target=target)


def batch_norm_sums(axes: tuple[int, ...]) -> Any:
    """sum dy, sum dy (x - mean), and an elementwise op of both, where dy is masked by the sign of y."""

    def build(b: FuncBuilder, args: list[Value]) -> list[Value]:
        dy, y, x, mean = args
        masked = b.add1(
            "math.mul", [dy, b.add1("math.threshold", [y], ThresholdAttrs(0.0), hint="m")], hint="d"
        )
        centred = b.add1("math.sub", [x, mean], hint="c")
        first = b.add1("tensor.reduce", [masked], ReduceAttrs("sum", axes), hint="s")
        product = b.add1("math.mul", [masked, centred], hint="p")
        second = b.add1("tensor.reduce", [product], ReduceAttrs("mean", axes), hint="t")
        both = b.add1(
            "math.sub", [first, b.add1("math.affine", [second], AffineAttrs(3.0, 1.0), hint="a")], hint="b"
        )
        return [first, second, both]

    return build


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("blocked", [True, False])
@pytest.mark.parametrize(("shape", "axes"), SHAPES[:5], ids=str)
def test_several_reductions_of_computed_values_in_one_walk(
    shape: tuple[int, ...], axes: tuple[int, ...], blocked: bool, target: str
) -> None:
    block = LANES[target] if blocked else None
    kept = tuple(1 if a in axes else d for a, d in enumerate(shape))
    big = f32(*shape, block=block)
    launch = launch_of([big, big, big, f32(*kept, block=block)], batch_norm_sums(axes))
    arrays = [random(shape, 1), random(shape, 2), random(shape, 3), random(kept, 4)]
    check_launch(launch, arrays, target=target, tolerance=5e-6)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)], ids=str)
def test_computed_values_of_rows_and_columns(axes: tuple[int, ...]) -> None:
    def build(b: FuncBuilder, args: list[Value]) -> list[Value]:
        product = b.add1("math.mul", args, hint="p")
        total = b.add1("tensor.reduce", [product], ReduceAttrs("sum", axes), hint="s")
        return [total, b.add1("tensor.reduce", [args[0]], ReduceAttrs("max", axes), hint="m")]

    for shape in ((5, 37), (64, 3), (1, 1000), (300, 48)):
        for other in (shape, (1, shape[1]), (shape[0], 1)):
            launch = launch_of([f32(*shape), f32(*other)], build)
            check_launch(launch, [random(shape), random(other, 1)], tolerance=5e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("shape", "axes"), [*SHAPES, ((40, 7), (0,)), ((6, 50), (1,))], ids=str)
def test_moments(shape: tuple[int, ...], axes: tuple[int, ...], target: str) -> None:
    def build(b: FuncBuilder, args: list[Value]) -> list[Value]:
        mean, variance = b.add("nn.moments", args, MomentsAttrs(axes), hint="m")
        return [mean, b.add1("math.affine", [variance], AffineAttrs(2.0, 0.5), hint="v"), variance]

    for block in (None, LANES[target]) if len(shape) > 2 else (None,):
        launch = launch_of([f32(*shape, block=block)], build)
        check_launch(launch, [random(shape)], target=target)


def test_the_variance_of_numbers_far_from_0_is_exact() -> None:
    for block in (None, 8):
        launch = launch_of(
            [f32(2, 16, 50, 40, block=block)],
            lambda b, a: b.add("nn.moments", a, MomentsAttrs((0, 2, 3)), hint="m"),
        )
        check_launch(launch, [random((2, 16, 50, 40)) + np.float32(1000)], tolerance=1e-5)


@pytest.mark.parametrize("blocked", [True, False])
def test_map_reduce_with_symbols(blocked: bool) -> None:
    n, h, w = (symbol(s) for s in "NHW")
    block = 8 if blocked else None
    big = f32(n, 12, h, w, block=block)
    launch = launch_of([big, big, big, f32(1, 12, 1, 1, block=block)], batch_norm_sums((0, 2, 3)))
    for sizes in ((1, 1, 1), (3, 5, 7), (2, 40, 30)):
        shape = (sizes[0], 12, *sizes[1:])
        arrays = [random(shape, 1), random(shape, 2), random(shape, 3), random((1, 12, 1, 1), 4)]
        check_launch(launch, arrays, symbols=dict(zip("NHW", sizes, strict=True)), tolerance=5e-6)


def test_map_reduce_of_views() -> None:
    view = BufferType(f32(2, 7, 4, 3), (400, 40, 8, 2))
    for axes in ((0, 2, 3), (1,), (3,)):
        kept = tuple(1 if a in axes else d for a, d in enumerate((2, 7, 4, 3)))
        launch = launch_of([view, f32(2, 7, 4, 3), view, f32(*kept)], batch_norm_sums(axes))
        shape = (2, 7, 4, 3)
        arrays = [random(shape, 1), random(shape, 2), random(shape, 3), random(kept, 4)]
        check_launch(launch, arrays, tolerance=5e-6)


def test_reductions_of_other_axes_share_no_kernel() -> None:
    def build(b: FuncBuilder, args: list[Value]) -> list[Value]:
        return [b.add1("tensor.reduce", args, ReduceAttrs("sum", (a,)), hint="s") for a in (0, 1)]

    launch = launch_of([f32(3, 3)], build)
    with pytest.raises(NetcError, match="no kernel holds"):
        lower_launch("kernel", launch, parse_target("cpu"))


def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    launch = launch_of([f32(4, 64, 30, 30, block=8)], one_op("tensor.reduce", ReduceAttrs("sum", (0, 2, 3))))
    assert has_kernel(launch)
    run_launch(launch, [random((4, 64, 30, 30))], threads=(1, 2, 5, 8))
