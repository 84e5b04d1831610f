"""CUDA kernels that reduce, normalise and pool, against the reference, in the emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_harness import check_launch, needs_emulator
from harness import Build, launch_of, one_op, random

from netc.backends.cuda.lower.table import has_kernel
from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.dim import symbol
from netc.ir.ops.elementwise import AffineAttrs, ThresholdAttrs
from netc.ir.ops.loss import SoftmaxLossAttrs
from netc.ir.ops.normalize import LrnAttrs, SoftmaxAttrs
from netc.ir.ops.pick import TopKAttrs
from netc.ir.ops.pool import GlobalPoolAttrs, PoolAttrs
from netc.ir.ops.pool_gradient import PoolGradientAttrs
from netc.ir.ops.reduce import MomentsAttrs, ReduceAttrs
from netc.ir.types import BufferType, TensorType, contiguous_strides

pytestmark = needs_emulator


def f32(*shape: Any) -> TensorType:
    return TensorType("f32", shape)


def with_tail(name: str, attrs: Any) -> Build:
    """One op on the first argument, then a difference with the second and an affine op."""

    def build(builder: FuncBuilder, args: list[Value]) -> Value:
        y = builder.add1(name, args[:1], attrs, hint="y")
        y = builder.add1("math.sub", [y, args[1]], hint="z")
        return builder.add1("math.affine", [y], AffineAttrs(3.0, 0.5), hint="r")

    return build


# --- reductions ---
BOXES = [
    ((7,), (0,)),
    ((1, 1), (1,)),
    ((3, 100), (1,)),
    ((300, 40), (0,)),
    ((2, 10_000), (1,)),
    ((9000, 3), (0,)),
    ((4, 5, 6, 7), (0, 2, 3)),
    ((4, 5, 6, 7), (1,)),
    ((4, 5, 6, 7), (0, 2)),
    ((4, 5, 6, 7), (0, 1, 2, 3)),
    ((2, 16, 1, 1), (0, 2, 3)),
    ((3, 2, 50, 40), (0, 2, 3)),
]


@pytest.mark.parametrize("kind", ["sum", "mean", "max"])
@pytest.mark.parametrize(("shape", "axes"), BOXES, ids=str)
def test_reductions_along_any_axes(shape: tuple[int, ...], axes: tuple[int, ...], kind: Any) -> None:
    launch = launch_of([f32(*shape)], one_op("tensor.reduce", ReduceAttrs(kind, axes)))
    check_launch(launch, [random(shape) - np.float32(3)])


def batch_norm_sums(axes: tuple[int, ...]) -> Build:
    """sum dy, sum dy (x - mean), and an elementwise op of both, where dy is masked by the sign of y."""

    def build(b: FuncBuilder, args: list[Value]) -> list[Value]:
        dy, y, x, mean = args
        mask = b.add1("math.threshold", [y], ThresholdAttrs(0.0), hint="m")
        masked = b.add1("math.mul", [dy, mask], hint="d")
        centred = b.add1("math.sub", [x, mean], hint="c")
        first = b.add1("tensor.reduce", [masked], ReduceAttrs("sum", axes), hint="s")
        product = b.add1("math.mul", [masked, centred], hint="p")
        second = b.add1("tensor.reduce", [product], ReduceAttrs("mean", axes), hint="t")
        scaled = b.add1("math.affine", [second], AffineAttrs(3.0, 1.0), hint="a")
        return [first, second, b.add1("math.sub", [first, scaled], hint="b")]

    return build


@pytest.mark.parametrize(("shape", "axes"), BOXES[6:], ids=str)
def test_several_reductions_of_computed_values_in_one_walk(
    shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    kept = tuple(1 if a in axes else d for a, d in enumerate(shape))
    launch = launch_of([f32(*shape), f32(*shape), f32(*shape), f32(*kept)], batch_norm_sums(axes))
    arrays = [random(shape, 1), random(shape, 2), random(shape, 3), random(kept, 4)]
    check_launch(launch, arrays, tolerance=5e-6)


@pytest.mark.parametrize(("shape", "axes"), BOXES, ids=str)
def test_mean_and_variance(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    launch = launch_of([f32(*shape)], lambda b, a: b.add("nn.moments", a, MomentsAttrs(axes), hint="m"))
    check_launch(launch, [random(shape) + np.float32(1)])


def test_the_variance_of_numbers_far_from_0_is_exact() -> None:
    for shape, axes in (((2, 4, 50, 40), (0, 2, 3)), ((600, 40), (0,))):
        launch = launch_of(
            [f32(*shape)], lambda b, a, axes=axes: b.add("nn.moments", a, MomentsAttrs(axes), hint="m")
        )
        check_launch(launch, [random(shape) + np.float32(1000)], tolerance=1e-5)


def test_one_kernel_of_reductions_serves_any_size_and_views() -> None:
    n, h = symbol("N"), symbol("H")
    view = BufferType(f32(n, 6, h), (60 * h, 10 * h, 2))
    launch = launch_of([view], one_op("tensor.reduce", ReduceAttrs("sum", (0, 2))))
    for sizes in ((1, 1), (3, 9)):
        array = random((sizes[0], 6, sizes[1]))
        check_launch(launch, [array], symbols=dict(zip("NH", sizes, strict=True)))


# --- softmax and its loss ---
SOFTMAXES = [
    ((1, 10), 1),
    ((3, 1000), 1),
    ((5,), 0),
    ((40, 1), 0),
    ((2, 21, 5, 7), 1),
    ((3, 4, 33), 0),
    ((2, 3, 4, 5), 3),
]


@pytest.mark.parametrize(("shape", "axis"), SOFTMAXES, ids=str)
def test_softmax_along_any_axis(shape: tuple[int, ...], axis: int) -> None:
    launch = launch_of([f32(*shape)], one_op("nn.softmax", SoftmaxAttrs(axis)))
    check_launch(launch, [random(shape, low=-8, high=8)], relative_to_each=True)
    other = (1, *shape[1:])
    launch = launch_of([f32(*shape), f32(*other)], with_tail("nn.softmax", SoftmaxAttrs(axis)))
    check_launch(launch, [random(shape), random(other, 1)])


@pytest.mark.parametrize("axis", [1, 2])
def test_softmax_of_extreme_numbers(axis: int) -> None:
    array = random((8, 6, 300)) * np.float32(1e38)
    array[0], array[1], array[2] = 3e38, -3e38, 0
    array[3, :, 5], array[3, 5, :7] = -np.inf, -np.inf
    array[4] = random((6, 300)) * 60
    array[5, 2, 3], array[6, 2, 3], array[7] = np.nan, np.inf, -np.inf
    check_launch(launch_of([f32(8, 6, 300)], one_op("nn.softmax", SoftmaxAttrs(axis))), [array])


@pytest.mark.parametrize("shape", [(3, 1000), (3, 20), (2, 5, 40)], ids=str)
def test_softmax_takes_over_memory(shape: tuple[int, ...]) -> None:
    launch = launch_of([f32(*shape)], one_op("nn.softmax", SoftmaxAttrs(1)), in_place={0: 0})
    check_launch(launch, [random(shape)])


def labels(positions: tuple[int, ...], classes: int) -> Any:
    """Classes, with fractions, some ignored, and some that are none."""
    rng = np.random.default_rng(1)
    found = rng.integers(-1, classes + 1, positions) + rng.choice([0.0, 0.25, 0.9], positions)
    odd = rng.random(positions)
    found = np.where(odd < 0.05, np.nan, np.where(odd < 0.1, -1e30, np.where(odd < 0.15, 1e30, found)))
    return found.astype(np.float32)


@pytest.mark.parametrize("ignore", [None, 1])
@pytest.mark.parametrize(("shape", "axis"), [*SOFTMAXES, ((70, 3), 1)], ids=str)
@pytest.mark.parametrize("gradient", [False, True])
def test_a_softmax_loss_along_any_axis(
    shape: tuple[int, ...], axis: int, ignore: int | None, gradient: bool
) -> None:
    positions = (*shape[:axis], *shape[axis + 1 :])
    arrays = [random(shape, low=-20, high=20), labels(positions, shape[axis]), random(positions, 2)]
    name = "nn.softmax_loss_gradient" if gradient else "nn.softmax_loss"
    arrays = arrays[: 3 if gradient else 2]
    launch = launch_of([f32(*a.shape) for a in arrays], one_op(name, SoftmaxLossAttrs(axis, ignore)))
    check_launch(launch, arrays, tolerance=5e-6)


@pytest.mark.parametrize("what", ["values", "indices"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((7,), 0), ((5, 1), 0), ((3, 21, 5, 7), 1), ((2, 4, 300), 2)], ids=str
)
def test_the_largest_is_found_and_of_equals_the_last(shape: tuple[int, ...], axis: int, what: Any) -> None:
    launch = launch_of([f32(*shape)], one_op("tensor.top_k", TopKAttrs(axis, 1, what)))
    check_launch(launch, [np.round(random(shape))])


def test_several_largest_have_no_kernel() -> None:
    assert not has_kernel(launch_of([f32(9)], one_op("tensor.top_k", TopKAttrs(0, 2, "values"))))


# --- local response normalisation ---
@pytest.mark.parametrize("shape", [(2, 20, 5, 7), (1, 3, 4, 4), (3, 1, 2)], ids=str)
@pytest.mark.parametrize(
    "attrs", [LrnAttrs(5, 1.0, 0.75, 1.0), LrnAttrs(3, 0.1, 0.5, 2.0), LrnAttrs(41, 2.0, 1.0, 1.0)], ids=str
)
def test_local_response_normalisation_and_its_gradient(shape: tuple[int, ...], attrs: LrnAttrs) -> None:
    check_launch(
        launch_of([f32(*shape), f32(*shape)], with_tail("nn.lrn", attrs)), [random(shape), random(shape, 1)]
    )
    launch = launch_of([f32(*shape), f32(*shape)], one_op("nn.lrn_gradient", attrs))
    check_launch(launch, [random(shape), random(shape, 1)], tolerance=5e-6)


# --- pooling ---
POOLS: list[tuple[tuple[int, ...], int, int, Any, Any, bool]] = [
    ((2, 5, 9, 31), 3, 2, 0, "ceil", True),
    ((1, 6, 14, 13), 3, 2, 1, "ceil", True),
    ((1, 6, 14, 13), 3, 2, 1, "floor", True),
    ((1, 4, 13, 12), 5, 3, 2, "ceil", False),
    ((1, 5, 4, 4), 2, 3, 0, "ceil", True),
    ((1, 2, 8, 8), 3, 1, (0, 1), "ceil", True),
    ((1, 3, 5, 6, 9), 2, 2, 1, "ceil", True),
    ((1, 2, 30, 30), 17, 5, 2, "ceil", False),
]


def pooling(case: Any, kind: Any) -> PoolAttrs:
    shape, kernel, stride, pad, rounding, count = case
    axes = len(shape) - 2
    pads = pad if isinstance(pad, tuple) else (pad, pad)
    return PoolAttrs(kind, (kernel,) * axes, (stride,) * axes, (pads,) * axes, rounding, count)


@pytest.mark.parametrize("kind", ["max", "ave"])
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_a_pool_and_its_gradient(case: Any, kind: Any) -> None:
    shape = case[0]
    attrs = pooling(case, kind)
    x = random(shape)
    name = "nn.max_pool_choice" if kind == "max" else "nn.pool"
    builder = FuncBuilder("f")
    made = builder.add(name, [builder.arg("x", f32(*shape), "input")], attrs, hint="y")
    outputs = [value.type for value in made]
    check_launch(launch_of([f32(*shape)], one_op("nn.pool", attrs)), [x])
    gradient = PoolGradientAttrs.of(attrs, shape[2:])
    assert isinstance(outputs[0], TensorType)
    dy = random(outputs[0].static_shape, 1)
    if kind == "ave":
        launch = launch_of([outputs[0]], one_op("nn.ave_pool_gradient", gradient))
        check_launch(launch, [dy])
        return
    assert isinstance(outputs[1], TensorType)
    rounded = np.round(x)  # many are equal, and the first counts
    recorded = launch_of([f32(*shape)], lambda b, a: b.add(name, a, attrs, hint="y"))
    check_launch(recorded, [rounded])
    taps = int(np.prod(attrs.kernel))
    choice = np.random.default_rng(2).integers(0, taps + 1, outputs[1].static_shape)
    launch = launch_of([outputs[0], outputs[1]], one_op("nn.max_pool_gradient", gradient))
    check_launch(launch, [dy, choice.astype(np.uint8 if outputs[1].dtype == "u8" else np.int32)])


def test_the_maximum_of_a_window_of_nothing_but_nan_is_the_lowest_number() -> None:
    attrs = PoolAttrs("max", (2, 2), (2, 2), ((0, 0), (0, 0)))
    x = random((1, 1, 4, 4))
    x[0, 0, :2, :2], x[0, 0, 2, 2] = np.nan, np.nan
    check_launch(launch_of([f32(1, 1, 4, 4)], one_op("nn.pool", attrs)), [x])


@pytest.mark.parametrize("kind", ["max", "ave"])
@pytest.mark.parametrize("shape", [(2, 20, 5, 7), (1, 3, 40, 41), (2, 4, 1, 1)], ids=str)
def test_a_pool_of_whole_planes_and_the_gradient_of_its_maximum(shape: tuple[int, ...], kind: Any) -> None:
    kept = (*shape[:2], 1, 1)
    launch = launch_of([f32(*shape), f32(*kept)], with_tail("nn.global_pool", GlobalPoolAttrs(kind)))
    check_launch(launch, [random(shape), random(kept, 1)])
    x = np.round(random(shape))
    x[0, 1] = np.nan
    check_launch(launch_of([f32(*kept), f32(*shape)], one_op("nn.global_max_gradient")), [random(kept, 1), x])


def test_pools_of_symbolic_extents() -> None:
    n, h, w = (symbol(s) for s in "NHW")
    attrs = PoolAttrs("ave", (3, 3), (2, 2), ((1, 1), (1, 1)))
    view = BufferType(f32(n, 4, h, w), contiguous_strides(f32(n, 7, h, w)))
    check_launch(
        launch_of([view], one_op("nn.pool", attrs)), [random((2, 4, 9, 6))], symbols={"N": 2, "H": 9, "W": 6}
    )
