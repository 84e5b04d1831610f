"""CUDA kernels that compute or move single elements, against the reference, in the emulator."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from cuda_harness import check_launch, needs_emulator
from harness import Build, launch_of, one_op, random

from netc.backends.cuda.lower.table import has_kernel
from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.dim import symbol
from netc.ir.ops.adjoint_weight import AdjointWeightAttrs
from netc.ir.ops.elementwise import (
    AffineAttrs,
    BroadcastAttrs,
    ClipAttrs,
    DiffersAttrs,
    EluAttrs,
    PowAttrs,
    ReluAttrs,
    SqrtAttrs,
    ThresholdAttrs,
)
from netc.ir.ops.pad import PadAttrs
from netc.ir.ops.random import STATE, RandomDropoutAttrs, UniformAttrs
from netc.ir.ops.shape import ConcatAttrs, FillAttrs, ReshapeAttrs, SliceAttrs, TileAttrs, TransposeAttrs
from netc.ir.types import BufferType, TensorType, contiguous_strides

pytestmark = needs_emulator
EXTREMES = np.array([-np.inf, -2, -0.0, 0, 3, np.inf, np.nan], np.float32)
STATES = [np.array([0, 0]), np.array([-(2**62) + 12345, 2**33 + 7]), np.array([2**32 - 1, -1])]


def f32(*shape: Any) -> TensorType:
    return TensorType("f32", shape)


def with_tail(name: str, attrs: Any) -> Build:
    """One op on the first argument, then a product with the second and a ReLU."""

    def build(builder: FuncBuilder, args: list[Value]) -> Value:
        y = builder.add1(name, args[:1], attrs, hint="y")
        y = builder.add1("math.mul", [y, args[1]], hint="z")
        return builder.add1("math.relu", [y], ReluAttrs(0.25), hint="r")

    return build


def updates(builder: FuncBuilder, args: list[Value]) -> list[Value]:
    """For each gradient, parameter, history and the rate: the new history and the new parameter."""
    results = []
    for gradient, weight, history, rate in zip(*[iter(args)] * 4, strict=True):
        step = builder.add1("math.mul", [gradient, rate], hint="s")
        kept = builder.add1("math.affine", [history], AffineAttrs(0.9, 0.0), hint="k")
        new = builder.add1("math.add", [kept, step], hint="h")
        results += [new, builder.add1("math.sub", [weight, new], hint="w")]
    return results


# --- elementwise ---
UNARY = [
    ("relu", ReluAttrs(0.0)),
    ("relu", ReluAttrs(-0.5)),
    ("affine", AffineAttrs(1.0, 0.5)),
    ("affine", AffineAttrs(-2.0, 0.0)),
    ("affine", AffineAttrs(3.0, float("inf"))),
    ("clip", ClipAttrs(-0.5, 1.0)),
    ("threshold", ThresholdAttrs(0.5)),
    ("differs", DiffersAttrs(-1)),
    ("abs", None),
    ("sign", None),
    ("reciprocal_or_zero", None),
    ("stop_gradient", None),
    ("broadcast", BroadcastAttrs((7,))),
    ("exp", None),
    ("tanh", None),
    ("sigmoid", None),
    ("bnll", None),
    ("elu", EluAttrs(0.7)),
    ("log", None),
    ("sqrt", SqrtAttrs()),
    ("pow", PowAttrs(2.0)),
    ("pow", PowAttrs(-0.75)),
]


@pytest.mark.parametrize(("name", "attrs"), UNARY, ids=str)
def test_an_op_of_one_operand_is_the_reference_s_for_any_number(name: str, attrs: Any) -> None:
    check_launch(launch_of([f32(7)], one_op(f"math.{name}", attrs)), [EXTREMES])
    if name not in ("broadcast",):
        x = random((3, 37), low=0.1 if name in ("log", "sqrt", "pow") else -4, high=4)
        check_launch(launch_of([f32(3, 37)], one_op(f"math.{name}", attrs)), [x], relative_to_each=True)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "max", "prelu"])
def test_an_op_of_two_operands_is_the_reference_s_for_any_number(name: str) -> None:
    x, y = (np.ascontiguousarray(each) for each in np.broadcast_arrays(EXTREMES, EXTREMES[:, None]))
    check_launch(launch_of([f32(7, 7), f32(7, 7)], one_op(f"math.{name}")), [x, y])


BROADCASTS = [
    ((4, 5), (1, 5)),
    ((4, 5), (4, 1)),
    ((4, 1), (1, 5)),
    ((2, 3, 5, 7), (1, 3, 1, 1)),
    ((2, 64, 8, 8), (1, 64, 1, 1)),
    ((2, 3, 5, 40), (2, 1, 5, 1)),
    ((3, 1, 8), (1, 4, 1)),
    ((2, 4100), (2, 4100)),
]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("left", "right"), BROADCASTS, ids=str)
def test_operands_broadcast(left: tuple[int, ...], right: tuple[int, ...], aligned: bool) -> None:
    launch = launch_of([f32(*left), f32(*right)], one_op("math.sub"))
    kernel = check_launch(launch, [random(left), random(right, 1)], aligned=aligned)
    assert aligned or "load4" not in kernel.text


def chain(builder: FuncBuilder, args: list[Value]) -> list[Value]:
    x, bias, other = args
    y = builder.add1("math.add", [x, bias], hint="a")
    z = builder.add1("math.affine", [y], AffineAttrs(0.5, -0.25), hint="b")
    y = builder.add1("math.mul", [z, other], hint="c")
    return [z, builder.add1("math.sigmoid", [y], hint="d")]


def test_one_kernel_of_a_chain_serves_any_size_and_has_several_results() -> None:
    n, h = symbol("N"), symbol("H")
    launch = launch_of([f32(n, 20, h), f32(1, 20, 1), f32(n, 20, h)], chain)
    for sizes in ((1, 1), (3, 8)):
        shape = (sizes[0], 20, sizes[1])
        arrays = [random(shape), random((1, 20, 1), 1), random(shape, 2)]
        check_launch(launch, arrays, symbols=dict(zip("NH", sizes, strict=True)))


def test_views_leave_the_gaps_between_their_elements_alone() -> None:
    part = f32(2, 5, 3, 4)
    view = BufferType(part, contiguous_strides(f32(3, 9, 3, 4)))
    for other in (BufferType(part, contiguous_strides(f32(2, 5, 6, 11))), BufferType(part, (400, 40, 8, 2))):
        launch = launch_of([view, other], one_op("math.add"), result_strides={0: view.storage_strides})
        check_launch(launch, [random((2, 5, 3, 4)), random((2, 5, 3, 4), 1)])


@pytest.mark.parametrize("taken", [0, 1])
def test_a_result_takes_over_the_memory_of_an_operand(taken: int) -> None:
    launch = launch_of([f32(3, 1000), f32(3, 1000)], one_op("math.sub"), in_place={0: taken})
    check_launch(launch, [random((3, 1000)), random((3, 1000), 1)])


# --- moves ---
@pytest.mark.parametrize("type_", [f32(3, 8), TensorType("i64", (3, 8)), TensorType("u8", (3, 8))], ids=str)
def test_a_body_without_ops_copies(type_: TensorType) -> None:
    launch = launch_of([type_], lambda _, args: args, result_strides={0: (12, 1)})
    check_launch(launch, [random((3, 8), low=0, high=200).astype(np.uint8)])


MOVES: list[tuple[str, Any, tuple[int, ...], tuple[int, ...]]] = [
    ("tensor.slice", SliceAttrs((1, 3, 0, 2), (2, 4, 5, 6)), (3, 7, 5, 9), (1, 4, 1, 1)),
    ("tensor.transpose", TransposeAttrs((1, 0)), (100, 33), (33, 100)),
    ("tensor.transpose", TransposeAttrs((0, 2, 3, 1)), (2, 3, 4, 5), (1, 1, 1, 3)),
    ("tensor.transpose", TransposeAttrs((2, 1, 0)), (4, 1, 40), (40, 1, 4)),
    ("tensor.tile", TileAttrs(1, 3), (2, 3, 4), (2, 9, 4)),
    ("tensor.tile", TileAttrs(0, 70), (1, 2), (1, 2)),
    ("tensor.pad", PadAttrs((1, 2, 0, 3), (0, 1, 4, 2), "constant", -1.5), (2, 3, 7, 9), (1, 6, 1, 1)),
    ("tensor.pad", PadAttrs((0, 31), (40, 0)), (1, 1), (41, 32)),
    ("nn.adjoint_weight", AdjointWeightAttrs(1), (20, 6, 3, 3), (6, 20, 3, 3)),
    ("nn.adjoint_weight", AdjointWeightAttrs(3), (12, 6, 5), (18, 4, 5)),
    ("nn.adjoint_weight", AdjointWeightAttrs(20), (20, 1, 3, 3), (20, 1, 1, 1)),
    ("tensor.reshape", ReshapeAttrs((3, 40)), (2, 3, 4, 5), (3, 40)),
]


@pytest.mark.parametrize(("name", "attrs", "shape", "other"), MOVES, ids=str)
def test_elements_move_and_elementwise_ops_follow(
    name: str, attrs: Any, shape: tuple[int, ...], other: tuple[int, ...]
) -> None:
    gaps = contiguous_strides(f32(*(d + 1 for d in shape)))
    for x in (BufferType(f32(*shape)), BufferType(f32(*shape), gaps)):
        launch = launch_of([x, f32(*other)], with_tail(name, attrs))
        check_launch(launch, [random(shape), random(other, 1)])


@pytest.mark.parametrize("perm", list(itertools.permutations(range(4))), ids=str)
def test_every_order_of_axes(perm: tuple[int, ...]) -> None:
    shape = (2, 35, 3, 34)
    kernel = check_launch(
        launch_of([f32(*shape)], one_op("tensor.transpose", TransposeAttrs(perm))), [random(shape)]
    )
    assert kernel.lowering == ("transpose" if perm[-1] == 3 else "tiles")


def test_a_transpose_of_symbolic_extents() -> None:
    n, h = symbol("N"), symbol("H")
    launch = launch_of([f32(n, 3, h)], one_op("tensor.transpose", TransposeAttrs((1, 2, 0))))
    for sizes in ((1, 1), (40, 33)):
        given = dict(zip("NH", sizes, strict=True))
        check_launch(launch, [random((sizes[0], 3, sizes[1]))], symbols=given)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_concat_joins_along_any_axis(axis: int) -> None:
    shapes = [[2, 6, 3] for _ in range(3)]
    for i, extent in enumerate((6, 2, 7)):
        shapes[i][axis] = extent
    launch = launch_of([f32(*s) for s in shapes], one_op("tensor.concat", ConcatAttrs(axis)))
    check_launch(launch, [random(s, i) for i, s in enumerate(shapes)])


def test_concat_of_symbolic_extents() -> None:
    n = symbol("N")
    launch = launch_of([f32(n, 3), f32(2 * n, 3)], one_op("tensor.concat", ConcatAttrs(0)))
    check_launch(launch, [random((4, 3)), random((8, 3), 1)], symbols={"N": 4})


def test_fill_writes_one_value_and_elementwise_ops_follow() -> None:
    def build(builder: FuncBuilder, args: list[Value]) -> Value:
        y = builder.add1("tensor.fill", [], FillAttrs(f32(2, 19), 1.5), hint="y")
        return builder.add1("math.add", [y, args[0]], hint="z")

    check_launch(launch_of([f32(2, 19)], build), [random((2, 19))])


# --- random numbers ---
@pytest.mark.parametrize("state", STATES, ids=str)
def test_random_numbers_are_those_of_the_reference_to_the_bit(state: Any) -> None:
    for shape in ((1,), (3, 37)):
        launch = launch_of([STATE], one_op("random.uniform", UniformAttrs(f32(*shape), 3)))
        check_launch(launch, [state], tolerance=0)
    check_launch(launch_of([STATE], one_op("random.next")), [state])
    check_launch(launch_of([STATE], one_op("random.next"), in_place={0: 0}), [state])


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.9])
def test_dropout_drops_what_the_reference_drops(ratio: float) -> None:
    def build(b: FuncBuilder, args: list[Value]) -> Value:
        y = b.add1("random.dropout", args[:2], RandomDropoutAttrs(ratio, 2), hint="y")
        return b.add1("math.mul", [y, args[2]], hint="m")

    launch = launch_of([BufferType(f32(2, 7, 4, 3), (400, 40, 8, 2)), STATE, f32(2, 7, 4, 3)], build)
    arrays = [random((2, 7, 4, 3)), STATES[1], random((2, 7, 4, 3), 1)]
    check_launch(launch, arrays, tolerance=1e-6)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(
    "shapes",
    [
        [(3, 4), (5,)],
        [(1025,), (7, 3, 3, 3), (2,), (2, 1024), (4,)],
        [(i + 2,) for i in range(40)],
    ],
    ids=["two", "several blocks", "many"],
)
def test_sweeps_of_several_sizes_are_one_kernel(shapes: list[tuple[int, ...]], aligned: bool) -> None:
    types = [t for s in shapes for t in (f32(*s), f32(*s), f32(*s), f32(*[1] * len(s)))]
    written = {2 * i + j: 4 * i + 2 - j for i in range(len(shapes)) for j in (0, 1)}
    launch = launch_of(types, updates, in_place=written)
    arrays = [random(t.static_shape, i) for i, t in enumerate(types)]
    kernel = check_launch(launch, arrays, aligned=aligned)
    assert len(kernel.stages) == 1
    assert ("whole = false" in kernel.text) != aligned


def test_unlike_sweeps_have_no_kernel() -> None:
    def unlike(builder: FuncBuilder, args: list[Value]) -> list[Value]:
        return [builder.add1(f"math.{n}", [a], hint="y") for n, a in zip(("exp", "abs"), args, strict=True)]

    assert not has_kernel(launch_of([f32(3), f32(5)], unlike))
    view = BufferType(f32(3, 4), (9, 2))
    shapes = [f32(3, 4), f32(3, 4), f32(3, 4), f32(1, 1), view, f32(3, 4), f32(3, 4), f32(1, 1)]
    assert not has_kernel(launch_of(shapes, updates))
    assert not has_kernel(launch_of([f32(4)] * 3 + [f32(1)] * 5, updates))
