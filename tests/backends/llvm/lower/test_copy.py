"""Kernels that move elements: copies, fills, slices, concatenations, reshapes, transposes, conversions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, Build, check_launch, launch_of, one_op, random

from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.elementwise import AffineAttrs, ReluAttrs
from netc.ir.ops.layout_ops import LayoutAttrs
from netc.ir.ops.shape import ConcatAttrs, FillAttrs, ReshapeAttrs, SliceAttrs, TransposeAttrs
from netc.ir.types import BufferType, TensorType, contiguous_strides


def f32(*shape: Any, block: int | None = None, axis: int = 1) -> TensorType:
    return TensorType("f32", shape, None if block is None else Blocked(axis, block))


def with_tail(name: str, attrs: Any) -> Build:
    """One op on the first argument, then a product with the second and a ReLU."""

    def build(builder: FuncBuilder, args: list[Value]) -> Value:
        y = builder.add1(name, args[:1], attrs, hint="y")
        y = builder.add1("math.mul", [y, args[1]], hint="z")
        return builder.add1("math.relu", [y], ReluAttrs(0.25), hint="r")

    return build


# --- copies and fills ---
@pytest.mark.parametrize("target", TARGETS)
def test_a_body_without_ops_copies(target: str) -> None:
    block = LANES[target]
    whole = f32(2, 5 * block, 6, 7, block=block)
    part = f32(2, 2 * block, 6, 7, block=block)
    launch = launch_of([part], lambda _, args: args, result_strides={0: contiguous_strides(whole)})
    check_launch(launch, [random((2, 2 * block, 6, 7))], target=target)
    launch = launch_of([f32(3, 5)], lambda _, args: args, result_strides={0: (11, 1)})
    check_launch(launch, [random((3, 5))], target=target)


@pytest.mark.parametrize("block", [None, 16])
def test_fill_writes_one_value(block: int | None) -> None:
    type_ = f32(2, 19, 3, block=block)
    check_launch(launch_of([], one_op("tensor.fill", FillAttrs(type_, 1.5))), [])

    def with_sum(builder: FuncBuilder, args: list[Value]) -> Value:
        y = builder.add1("tensor.fill", [], FillAttrs(type_, 1.5), hint="y")
        return builder.add1("math.add", [y, args[0]], hint="z")

    check_launch(launch_of([type_], with_sum), [random((2, 19, 3))])


# --- slice, concat ---
@pytest.mark.parametrize("target", TARGETS)
def test_slice_takes_a_box(target: str) -> None:
    shape = (3, 70, 5, 9)
    attrs = SliceAttrs((1, 3, 0, 2), (2, 40, 5, 6))
    check_launch(launch_of([f32(*shape)], one_op("tensor.slice", attrs)), [random(shape)], target=target)
    block = LANES[target]
    attrs = SliceAttrs((1, block, 1, 2), (2, 2 * block, 4, 6))
    type_ = f32(3, 70, 5, 9, block=block)
    tail = with_tail("tensor.slice", attrs)
    arrays = [random(shape), random((1, 2 * block, 1, 1), 1)]
    check_launch(launch_of([type_, f32(1, 2 * block, 1, 1, block=block)], tail), arrays, target=target)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_concat_joins_along_any_axis(axis: int) -> None:
    shapes = [[2, 16, 3, 5] for _ in range(3)]
    for i, extent in enumerate((16, 32, 7)):
        shapes[i][axis] = extent
    arrays = [random(s, i) for i, s in enumerate(shapes)]
    for block in (None, 8):
        launch = launch_of([f32(*s, block=block) for s in shapes], one_op("tensor.concat", ConcatAttrs(axis)))
        check_launch(launch, arrays)


def test_concat_runs_elementwise_ops_on_what_it_writes() -> None:
    def build(builder: FuncBuilder, args: list[Value]) -> Value:
        y = builder.add1("tensor.concat", args[:2], ConcatAttrs(1), hint="y")
        return builder.add1("math.add", [y, args[2]], hint="z")

    shapes = [(2, 3, 4), (2, 5, 4), (1, 8, 1)]
    check_launch(launch_of([f32(*s) for s in shapes], build), [random(s, i) for i, s in enumerate(shapes)])


# --- reshape ---
@pytest.mark.parametrize("to", [(120,), (6, 20), (2, 60, 1), (4, 5, 6), (2, 3, 4, 5)], ids=str)
def test_reshape_of_contiguous_memory(to: tuple[int, ...]) -> None:
    launch = launch_of([f32(2, 3, 4, 5)], one_op("tensor.reshape", ReshapeAttrs(to)))
    check_launch(launch, [random((2, 3, 4, 5))])


@pytest.mark.parametrize("to", [(120,), (6, 20), (2, 60, 1), (4, 5, 6), (3, 40), (5, 24)], ids=str)
def test_reshape_of_memory_with_gaps(to: tuple[int, ...]) -> None:
    strided = BufferType(f32(2, 3, 4, 5), contiguous_strides(f32(2, 7, 5, 6)))
    out = (*(s * 2 for s in contiguous_strides(f32(*to))[:-1]), 1)
    launch = launch_of(
        [strided, f32(*to)], with_tail("tensor.reshape", ReshapeAttrs(to)), result_strides={0: out}
    )
    check_launch(launch, [random((2, 3, 4, 5)), random(to, 1)])


def test_reshape_with_symbols() -> None:
    n, h = symbol("N"), symbol("H")
    for type_ in (f32(n, 3, h), BufferType(f32(n, 3, h), (6 * h, 2 * h, 1))):
        launch = launch_of([type_], one_op("tensor.reshape", ReshapeAttrs((n, 3 * h))))
        check_launch(launch, [random((2, 3, 5))], symbols={"N": 2, "H": 5})


# --- transpose ---
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("shape", "perm"),
    [
        ((5, 7), (1, 0)),
        ((64, 32), (1, 0)),
        ((100, 33), (1, 0)),
        ((3, 300), (1, 0)),
        ((2, 3, 4, 5), (0, 2, 3, 1)),
        ((2, 20, 6, 6), (0, 2, 3, 1)),
        ((2, 6, 6, 20), (0, 3, 1, 2)),
        ((2, 3, 4, 5), (3, 2, 1, 0)),
        ((20, 3, 18, 5), (2, 1, 0, 3)),
        ((2, 3, 40), (1, 0, 2)),
        ((1, 40, 1), (2, 1, 0)),
        ((4, 1, 40), (2, 1, 0)),
        ((2, 17, 2, 18), (2, 3, 0, 1)),
    ],
    ids=str,
)
def test_transpose(shape: tuple[int, ...], perm: tuple[int, ...], target: str) -> None:
    attrs = TransposeAttrs(perm)
    check_launch(launch_of([f32(*shape)], one_op("tensor.transpose", attrs)), [random(shape)], target=target)
    result = tuple(shape[p] for p in perm)
    for other in (result, (1,) * len(result), (*(1,) * (len(result) - 1), result[-1]), (*result[:-1], 1)):
        launch = launch_of([f32(*shape), f32(*other)], with_tail("tensor.transpose", attrs))
        check_launch(launch, [random(shape), random(other, 1)], target=target)


def test_transpose_with_symbols() -> None:
    n, c, h = symbol("N"), symbol("C"), symbol("H")
    for perm in ((0, 2, 1), (2, 1, 0), (1, 0, 2)):
        launch = launch_of([f32(n, c, h)], one_op("tensor.transpose", TransposeAttrs(perm)))
        for sizes in ((1, 1, 1), (2, 17, 35), (3, 32, 16), (1, 5, 3)):
            check_launch(launch, [random(sizes)], symbols=dict(zip("NCH", sizes, strict=True)))


def test_transpose_of_views() -> None:
    strided = BufferType(f32(20, 35), (50, 1))
    launch = launch_of(
        [strided], one_op("tensor.transpose", TransposeAttrs((1, 0))), result_strides={0: (29, 1)}
    )
    check_launch(launch, [random((20, 35))])
    strided = BufferType(f32(20, 35), (120, 3))
    launch = launch_of([strided], one_op("tensor.transpose", TransposeAttrs((1, 0))))
    check_launch(launch, [random((20, 35))])


# --- layout.convert ---
CONVERTED = [
    (2, 3, 5, 7),
    (1, 16, 4, 4),
    (2, 20, 7, 7),
    (2, 37, 1, 1),
    (3, 32, 1, 1),
    (1, 64, 13, 13),
    (2, 20),
    (2, 20, 50),
    (1, 17, 2, 3, 4),
    (1, 1, 9, 9),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", CONVERTED, ids=str)
def test_convert_to_blocks_and_back(shape: tuple[int, ...], target: str) -> None:
    for block in (4, 8, 16):
        launch = launch_of([f32(*shape)], one_op("layout.convert", LayoutAttrs(1, block)))
        run = check_launch(launch, [random(shape)], target=target)
        assert (run.outputs[0].padding() == 0).all()
        launch = launch_of([f32(*shape, block=block)], one_op("layout.convert", LayoutAttrs(None)))
        check_launch(launch, [random(shape)], target=target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", CONVERTED, ids=str)
def test_convert_with_elementwise_ops_after_it(shape: tuple[int, ...], target: str) -> None:
    block = LANES[target]
    channels = (1, shape[1], *[1] * (len(shape) - 2))
    image = (shape[0], 1, *shape[2:])
    for other, blocked in ((shape, True), (channels, True), (image, False)):
        types = [f32(*shape), f32(*other, block=block if blocked else None)]
        build = with_tail("layout.convert", LayoutAttrs(1, block))
        check_launch(launch_of(types, build), [random(shape), random(other, 1)], target=target)
    for other in (shape, channels, image):
        types = [f32(*shape, block=block), f32(*other)]
        build = with_tail("layout.convert", LayoutAttrs(None))
        check_launch(launch_of(types, build), [random(shape), random(other, 1)], target=target)


@pytest.mark.parametrize("target", TARGETS)
def test_convert_with_symbols(target: str) -> None:
    block = LANES[target]
    n, c, h, w = (symbol(s) for s in "NCHW")
    for sizes in ((1, 1, 1, 1), (2, 20, 3, 5), (1, 35, 8, 8), (3, 32, 1, 1)):
        symbols = dict(zip("NCHW", sizes, strict=True))
        for channels in (c, sizes[1]):
            launch = launch_of([f32(n, channels, h, w)], one_op("layout.convert", LayoutAttrs(1, block)))
            run = check_launch(launch, [random(sizes)], target=target, symbols=symbols)
            assert (run.outputs[0].padding() == 0).all()
            type_ = f32(n, channels, h, w, block=block)
            launch = launch_of([type_], one_op("layout.convert", LayoutAttrs(None)))
            check_launch(launch, [random(sizes)], target=target, symbols=symbols)


def test_convert_of_views() -> None:
    type_, whole = f32(2, 20, 5, 6), f32(3, 40, 7, 9)
    for strides in (contiguous_strides(whole), (40 * 30, 30, 6, 1), (1600, 40, 8, 1)):
        launch = launch_of([BufferType(type_, strides)], one_op("layout.convert", LayoutAttrs(1, 16)))
        check_launch(launch, [random((2, 20, 5, 6))])
        launch = launch_of(
            [f32(2, 20, 5, 6, block=16)],
            one_op("layout.convert", LayoutAttrs(None)),
            result_strides={0: strides},
        )
        check_launch(launch, [random((2, 20, 5, 6))])


def test_convert_of_views_with_one_position() -> None:
    strides = (20 * 12, 12, 4, 1)
    launch = launch_of([BufferType(f32(2, 20, 1, 1), strides)], one_op("layout.convert", LayoutAttrs(1, 16)))
    check_launch(launch, [random((2, 20, 1, 1))])
    back = one_op("layout.convert", LayoutAttrs(None))
    launch = launch_of([f32(2, 20, 1, 1, block=16)], back, result_strides={0: strides})
    check_launch(launch, [random((2, 20, 1, 1))])


def test_convert_between_any_layouts() -> None:
    shape = (6, 20, 3, 5)
    arrays = [random(shape)]
    for source in (f32(*shape, block=8), f32(*shape, block=4, axis=0), f32(*shape)):
        for to in (
            LayoutAttrs(1, 16),
            LayoutAttrs(0, 4),
            LayoutAttrs(3, 4),
            LayoutAttrs(1, 8),
            LayoutAttrs(1, 3),
        ):
            check_launch(launch_of([source], one_op("layout.convert", to)), arrays)


def test_a_conversion_keeps_infinities_and_nan() -> None:
    array = random((1, 16, 4, 4))
    array[0, 3] = np.inf
    array[0, 5, 1] = np.nan
    check_launch(launch_of([f32(1, 16, 4, 4)], one_op("layout.convert", LayoutAttrs(1, 16))), [array])


def test_affine_after_a_transpose_on_every_level() -> None:
    def build(builder: FuncBuilder, args: list[Value]) -> Value:
        y = builder.add1("tensor.transpose", args, TransposeAttrs((1, 0)), hint="y")
        return builder.add1("math.affine", [y], AffineAttrs(2.0, 1.0), hint="z")

    for opt in (0, 1, 2, 3):
        check_launch(launch_of([f32(19, 33)], build), [random((19, 33))], opt=opt)
