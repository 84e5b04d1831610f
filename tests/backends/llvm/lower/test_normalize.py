"""Softmax, reductions and local response normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, Build, check_launch, launch_of, one_op, random

from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.elementwise import AffineAttrs
from netc.ir.ops.normalize import LrnAttrs, SoftmaxAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.types import BufferType, TensorType, contiguous_strides


def f32(*shape: Any, block: int | None = None) -> TensorType:
    return TensorType("f32", shape, None if block is None else Blocked(1, block))


def with_tail(name: str, attrs: Any) -> Build:
    """One op on the first argument, then a difference with the second and an affine op."""

    def build(builder: FuncBuilder, args: list[Value]) -> Value:
        y = builder.add1(name, args[:1], attrs, hint="y")
        y = builder.add1("math.sub", [y, args[1]], hint="z")
        return builder.add1("math.affine", [y], AffineAttrs(3.0, 0.5), hint="r")

    return build


# --- softmax ---
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1, 10), 1),
        ((7, 10), 1),
        ((3, 1000), 1),
        ((3, 128), 1),
        ((2, 4099), 1),
        ((5,), 0),
        ((1, 1), 1),
        ((40, 1), 0),
        ((6, 1), 1),
        ((2, 5, 1, 1), 1),
        ((2, 21, 5, 7), 1),
        ((1, 3, 40, 50), 1),
        ((3, 4, 33), 0),
        ((2, 3, 4, 5), 2),
        ((2, 3, 4, 5), 3),
    ],
    ids=str,
)
def test_softmax_along_any_axis(shape: tuple[int, ...], axis: int, target: str) -> None:
    launch = launch_of([f32(*shape)], one_op("nn.softmax", SoftmaxAttrs(axis)))
    check_launch(launch, [random(shape, low=-8, high=8)], target=target, relative_to_each=True)


@pytest.mark.parametrize("axis", [1, 2])
def test_softmax_of_extreme_numbers(axis: int) -> None:
    launch = launch_of([f32(8, 6, 300)], one_op("nn.softmax", SoftmaxAttrs(axis)))
    array = random((8, 6, 300)) * np.float32(1e38)
    array[0] = 3e38
    array[1] = -3e38
    array[2] *= 0
    array[3, :, 5] = -np.inf
    array[3, 5, :7] = -np.inf
    array[4] = random((6, 300)) * 60
    array[5, 2, 3] = np.nan
    array[6, 2, 3] = np.inf
    array[7] = -np.inf
    check_launch(launch, [array])


@pytest.mark.parametrize("axis", [1, 3])
def test_softmax_with_symbols_and_elementwise_ops(axis: int) -> None:
    n, c, h, w = (symbol(s) for s in "NCHW")
    for sizes in ((1, 1, 1, 1), (2, 21, 5, 7), (1, 3, 1, 200), (2, 5, 32, 32)):
        symbols = dict(zip("NCHW", sizes, strict=True))
        launch = launch_of([f32(n, c, h, w)], one_op("nn.softmax", SoftmaxAttrs(axis)))
        check_launch(launch, [random(sizes)], symbols=symbols)
        launch = launch_of([f32(n, c, h, w), f32(1, c, 1, 1)], with_tail("nn.softmax", SoftmaxAttrs(axis)))
        arrays = [random(sizes), random((1, sizes[1], 1, 1), 1)]
        check_launch(launch, arrays, symbols=symbols)


@pytest.mark.parametrize("shape", [(3, 1000), (3, 20), (2, 5, 40)], ids=str)
def test_softmax_takes_over_memory(shape: tuple[int, ...]) -> None:
    launch = launch_of([f32(*shape)], one_op("nn.softmax", SoftmaxAttrs(1)), in_place={0: 0})
    check_launch(launch, [random(shape)])
    for taken in (0, 1):
        build = with_tail("nn.softmax", SoftmaxAttrs(1))
        launch = launch_of([f32(*shape), f32(*shape)], build, in_place={0: taken})
        check_launch(launch, [random(shape), random(shape, 1)])


def test_softmax_of_views() -> None:
    for strides in (contiguous_strides(f32(2, 7, 6, 5)), (400, 40, 8, 2)):
        for axis in range(4):
            launch = launch_of(
                [BufferType(f32(2, 7, 4, 3), strides)],
                one_op("nn.softmax", SoftmaxAttrs(axis)),
                result_strides={0: strides},
            )
            check_launch(launch, [random((2, 7, 4, 3))])


# --- reduce ---
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["sum", "mean", "max"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((7,), (0,)),
        ((1, 1), (1,)),
        ((3, 100), (1,)),
        ((3, 100), (0,)),
        ((300, 40), (0,)),
        ((2, 10_000), (1,)),
        ((600, 3), (0,)),
        ((4, 5, 6, 7), (0, 2, 3)),
        ((4, 5, 6, 7), (1,)),
        ((4, 5, 6, 7), (0, 2)),
        ((4, 5, 6, 7), (1, 3)),
        ((4, 5, 6, 7), (0, 1, 2, 3)),
        ((4, 1, 6, 1), (1, 3)),
        ((2, 3, 40), (0, 1)),
    ],
    ids=str,
)
def test_reduce_along_any_axes(shape: tuple[int, ...], axes: tuple[int, ...], kind: Any, target: str) -> None:
    launch = launch_of([f32(*shape)], one_op("tensor.reduce", ReduceAttrs(kind, axes)))
    check_launch(launch, [random(shape) - np.float32(3)], target=target)


@pytest.mark.parametrize("axes", [(0,), (1,), (1, 2), (0, 2), (0, 1, 2)], ids=str)
def test_reduce_with_symbols_and_elementwise_ops(axes: tuple[int, ...]) -> None:
    n, h, w = (symbol(s) for s in "NHW")
    for sizes in ((1, 1, 1), (3, 5, 7), (2, 40, 70)):
        symbols = dict(zip("NHW", sizes, strict=True))
        kept = [1 if i in axes else d for i, d in enumerate((n, h, w))]
        build = with_tail("tensor.reduce", ReduceAttrs("mean", axes))
        launch = launch_of([f32(n, h, w), f32(*kept)], build)
        shape = [1 if i in axes else d for i, d in enumerate(sizes)]
        check_launch(launch, [random(sizes), random(shape, 1)], symbols=symbols)


def test_reduce_of_views() -> None:
    for strides in (contiguous_strides(f32(2, 7, 6, 5)), (400, 40, 8, 2)):
        for axes in ((0,), (1,), (2,), (3,), (1, 2), (2, 3)):
            build = one_op("tensor.reduce", ReduceAttrs("sum", axes))
            launch = launch_of([BufferType(f32(2, 7, 4, 3), strides)], build)
            check_launch(launch, [random((2, 7, 4, 3))])


def test_long_sums_stay_exact() -> None:
    for shape, axis in (((1, 1_000_000), 1), ((100_000, 3), 0)):
        launch = launch_of([f32(*shape)], one_op("tensor.reduce", ReduceAttrs("sum", (axis,))))
        check_launch(launch, [random(shape, low=0, high=1)], tolerance=1e-6)


# --- lrn ---
LRN = [
    LrnAttrs(5, 1e-4, 0.75, 1.0),
    LrnAttrs(5, 2.0, 0.75, 2.0),
    LrnAttrs(3, 1.0, 0.5, 1.0),
    LrnAttrs(1, 1.0, 1.0, 0.5),
    LrnAttrs(7, 0.5, 0.6, 1.5),
    LrnAttrs(13, 0.5, -0.75, 1.5),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("attrs", LRN, ids=lambda a: f"{a.size}-{a.beta}")
@pytest.mark.parametrize(
    "shape", [(2, 20, 5, 7), (1, 64, 3, 3), (2, 3, 4, 4), (1, 1, 2, 3), (2, 33, 1, 1), (2, 40, 19)], ids=str
)
def test_lrn_in_both_layouts(shape: tuple[int, ...], attrs: LrnAttrs, target: str) -> None:
    for block in (None, LANES[target]):
        launch = launch_of([f32(*shape, block=block)], one_op("nn.lrn", attrs))
        check_launch(launch, [random(shape)], target=target)


@pytest.mark.parametrize("size", [3, 9, 17, 31, 63])
def test_lrn_windows_wider_than_a_block(size: int) -> None:
    for block in (None, 4, 8, 16):
        for channels in (1, 8, 30, 48):
            launch = launch_of(
                [f32(2, channels, 3, 3, block=block)], one_op("nn.lrn", LrnAttrs(size, 1.0, 0.75, 1.0))
            )
            check_launch(launch, [random((2, channels, 3, 3))])


def test_lrn_with_symbols_and_elementwise_ops() -> None:
    n, h, w = (symbol(s) for s in "NHW")
    for sizes in ((1, 1, 1), (2, 5, 7), (1, 13, 40)):
        symbols = dict(zip("NHW", sizes, strict=True))
        shape = (sizes[0], 20, *sizes[1:])
        for block in (None, 16):
            types = [f32(n, 20, h, w, block=block), f32(1, 20, 1, 1, block=block)]
            launch = launch_of(types, with_tail("nn.lrn", LRN[1]))
            check_launch(launch, [random(shape), random((1, 20, 1, 1), 1)], symbols=symbols)


def test_lrn_of_views_and_of_two_axes() -> None:
    check_launch(launch_of([f32(3, 20)], one_op("nn.lrn", LRN[1])), [random((3, 20))])
    check_launch(launch_of([f32(3, 20, block=8)], one_op("nn.lrn", LRN[1])), [random((3, 20))])
    for strides in (contiguous_strides(f32(2, 27, 6, 5)), (4000, 60, 14, 2)):
        launch = launch_of([BufferType(f32(2, 20, 4, 3), strides)], one_op("nn.lrn", LRN[1]))
        check_launch(launch, [random((2, 20, 4, 3))])
    strides = contiguous_strides(f32(2, 60, 6, 5, block=16))
    launch = launch_of(
        [BufferType(f32(2, 20, 4, 3, block=16), strides)],
        one_op("nn.lrn", LRN[1]),
        result_strides={0: strides},
    )
    check_launch(launch, [random((2, 20, 4, 3))])


# --- the gradient of lrn ---
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("attrs", LRN, ids=lambda a: f"{a.size}-{a.beta}")
@pytest.mark.parametrize(
    "shape", [(2, 20, 5, 7), (1, 64, 3, 3), (2, 3, 4, 4), (1, 1, 2, 3), (2, 33, 1, 1), (2, 40, 19)], ids=str
)
def test_the_gradient_of_lrn_in_both_layouts(shape: tuple[int, ...], attrs: LrnAttrs, target: str) -> None:
    for block in (None, LANES[target]):
        type_ = f32(*shape, block=block)
        launch = launch_of([type_, type_], one_op("nn.lrn_gradient", attrs))
        check_launch(launch, [random(shape, 1), random(shape)], target=target, tolerance=5e-6)


@pytest.mark.parametrize("size", [3, 9, 17, 31, 63])
def test_gradients_of_lrn_windows_wider_than_a_block(size: int) -> None:
    for block in (None, 4, 8, 16):
        for channels in (1, 8, 30, 48):
            shape = (2, channels, 3, 3)
            type_ = f32(*shape, block=block)
            launch = launch_of([type_, type_], one_op("nn.lrn_gradient", LrnAttrs(size, 1.0, 0.75, 1.0)))
            check_launch(launch, [random(shape, 1), random(shape)], tolerance=5e-6)


def test_the_gradient_of_lrn_with_symbols_and_elementwise_ops() -> None:
    n, h, w = (symbol(s) for s in "NHW")

    def build(b: FuncBuilder, args: list[Value]) -> Value:
        dx = b.add1("nn.lrn_gradient", args[:2], LrnAttrs(5, 0.1, 0.75, 1.0), hint="dx")
        return b.add1("math.mul", [dx, args[2]], hint="r")

    for sizes in ((1, 1, 1), (2, 5, 9)):
        for block in (None, 8):
            types = [f32(n, 20, h, w, block=block)] * 3
            shape = (sizes[0], 20, *sizes[1:])
            arrays = [random(shape, i) for i in range(3)]
            symbols = dict(zip("NHW", sizes, strict=True))
            check_launch(launch_of(types, build), arrays, symbols=symbols, tolerance=5e-6)
