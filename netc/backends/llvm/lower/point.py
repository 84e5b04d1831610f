"""Where an elementwise body is evaluated: one register's worth of result elements.

A :class:`Point` names the elements: one index per storage axis, and which logical axis the lanes of the
register run along. ``load_at`` reads any operand that broadcasts to the result at that point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.scalar_ops import ELEMENTWISE
from netc.ir.core import Op, Value
from netc.ir.layout import Layout
from netc.ir.loop_builder import Index, LoopBuilder


@dataclass(frozen=True, slots=True)
class Point:
    """``indices``: one per logical axis (on a blocked axis: the block). ``axis``: the lanes' axis.

    ``lanes`` elements along ``axis``; with ``count`` only the first so many exist. On a blocked layout
    the lanes are the elements of one block, all of which exist in memory.
    """

    indices: tuple[Index, ...]
    layout: Layout
    axis: int
    lanes: int
    count: Index | None = None


def offset(kernel: Kernel, memory: Memory, point: Point) -> Index:
    """The element offset of the point's first lane in an operand that broadcasts to it."""
    indices = [
        0 if extent == 1 else index for extent, index in zip(memory.type.shape, point.indices, strict=True)
    ]
    return kernel.b.linear(indices, memory.strides[: len(indices)])


def load_at(kernel: Kernel, memory: Memory, point: Point) -> Value:
    """The operand's elements at a point, as a vector (a scalar where the point has no lanes)."""
    b = kernel.b
    at = offset(kernel, memory, point)
    if memory.type.layout is not None:
        # one element on the blocked axis: its block's first lane, the others are padding
        if memory.type.shape[memory.type.layout.axis] == 1:
            return b.splat(b.load(memory.pointer, at), point.lanes)
        return b.load(memory.pointer, at, point.lanes)
    if not point.lanes or memory.type.shape[point.axis] == 1:
        return b.splat(b.load(memory.pointer, at), point.lanes)
    stride = memory.strides[point.axis]
    if point.count is not None:
        if stride == 1:
            return b.load_first(memory.pointer, at, point.count, point.lanes)
        raise NotImplementedError("a partial vector across rows")
    return b.load_strided(memory.pointer, at, stride, point.lanes)


def store_at(kernel: Kernel, memory: Memory, point: Point, value: Value) -> None:
    """Write a result at a point; its lanes are contiguous."""
    at = offset(kernel, memory, point)
    if point.count is not None and memory.type.layout is None:
        kernel.b.store_first(value, memory.pointer, at, point.count)
    else:
        kernel.b.store(value, memory.pointer, at)


def evaluate(
    kernel: Kernel, ops: Sequence[Op], known: Mapping[str, Value], results: Sequence[Value], point: Point
) -> list[Value]:
    """The values of ``results`` at a point: elementwise ops on known registers and loaded operands."""
    registers = dict(known)

    def register(value: Value) -> Value:
        if value.name not in registers:
            registers[value.name] = load_at(kernel, kernel.operand(value), point)
        return registers[value.name]

    for op in ops:
        operands = [register(v) for v in op.operands]
        registers[op.result.name] = ELEMENTWISE[op.name](kernel.b, op.attrs, operands)
    return [register(v) for v in results]


def apply(
    b: LoopBuilder, ops: Sequence[Op], known: Mapping[str, Value], results: Sequence[Value]
) -> list[Value]:
    """The values of ``results``: elementwise ops applied to registers that hold everything they read."""
    registers = dict(known)
    for op in ops:
        registers[op.result.name] = ELEMENTWISE[op.name](
            b, op.attrs, [registers[v.name] for v in op.operands]
        )
    return [registers[v.name] for v in results]


def finish_at(
    kernel: Kernel, anchor: Op, value: Value, ops: Sequence[Op], memory: Sequence[Memory], point: Point
) -> None:
    """Run the elementwise tail of an anchor on its result in a register, and store what the body yields."""
    finish_all_at(kernel, {anchor.result.name: value}, ops, memory, point)


def finish_all_at(
    kernel: Kernel, made: Mapping[str, Value], ops: Sequence[Op], memory: Sequence[Memory], point: Point
) -> None:
    """The same for results by their names."""
    values = evaluate(kernel, ops, made, kernel.body.results, point)
    for result, target in zip(values, memory, strict=True):
        store_at(kernel, target, point, result)
