"""Kernels that pad with a constant."""

from __future__ import annotations

import pytest
from harness import TARGETS, check_launch, launch_of, one_op, random

from netc.backends.llvm.lower.table import has_kernel
from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.dim import symbol
from netc.ir.ops.pad import PadAttrs
from netc.ir.types import BufferType, TensorType, contiguous_strides


def f32(*shape: object) -> TensorType:
    return TensorType("f32", shape)  # type: ignore[arg-type]


PADS = [
    ((4, 5), (0, 0), (0, 0)),
    ((4, 5), (2, 0), (0, 3)),
    ((2, 3, 40), (0, 0, 3), (0, 0, 20)),
    ((2, 3, 40), (1, 0, 0), (0, 2, 0)),
    ((2, 3, 7, 9), (1, 2, 0, 3), (0, 1, 4, 2)),
    ((1, 1), (0, 31), (40, 0)),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("shape", "low", "high"), PADS, ids=str)
def test_a_constant_lies_around_the_operand(
    shape: tuple[int, ...], low: tuple[int, ...], high: tuple[int, ...], target: str
) -> None:
    attrs = PadAttrs(low, high, "constant", -1.5)
    check_launch(launch_of([f32(*shape)], one_op("tensor.pad", attrs)), [random(shape)], target=target)


def test_memory_with_gaps_and_symbols() -> None:
    n, w = symbol("N"), symbol("W")
    strided = BufferType(f32(n, 3, w), (6 * w, 2 * w, 1))
    attrs = PadAttrs((0, 1, 2), (1, 0, 3))
    launch = launch_of([strided], one_op("tensor.pad", attrs))
    check_launch(launch, [random((2, 3, 5))], symbols={"N": 2, "W": 5})
    out = contiguous_strides(f32(5, 9, 20))
    launch = launch_of(
        [f32(4, 8, 7)], one_op("tensor.pad", PadAttrs((0, 1, 0), (1, 0, 5))), result_strides={0: out}
    )
    check_launch(launch, [random((4, 8, 7))])


def test_elementwise_ops_follow_on_both_parts() -> None:
    def build(builder: FuncBuilder, args: list[Value]) -> Value:
        y = builder.add1("tensor.pad", args[:1], PadAttrs((0, 2), (1, 3)), hint="y")
        return builder.add1("math.add", [y, args[1]], hint="z")

    check_launch(launch_of([f32(4, 8), f32(5, 13)], build), [random((4, 8)), random((5, 13), 1)])


def test_other_kinds_have_no_kernel() -> None:
    for kind, wanted in (("constant", True), ("edge", False), ("reflect", False)):
        attrs = PadAttrs((1, 0), (0, 2), kind)  # type: ignore[arg-type]
        assert has_kernel(launch_of([f32(4, 8)], one_op("tensor.pad", attrs))) is wanted
