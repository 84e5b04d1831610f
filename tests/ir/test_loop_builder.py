"""Writing loop-level functions: index arithmetic that folds, loops that vanish, modules that verify and read back."""

from __future__ import annotations

import numpy as np
import pytest

from netc.ir.core import Module, walk
from netc.ir.dim import floordiv, minimum, symbol
from netc.ir.loop_builder import LoopBuilder
from netc.ir.parser import parse_module
from netc.ir.printer import print_module
from netc.ir.verify import verify


def checked(b: LoopBuilder) -> Module:
    """The module of the function built, verified; its text reads back as the same module."""
    module = Module("m", "loop", (b.finish(),))
    verify(module)
    text = print_module(module)
    assert print_module(parse_module(text)) == text
    return module


def names(module: Module) -> list[str]:
    return [op.name.removeprefix("loop.") for op in walk(module.funcs[0].ops)]


def test_known_indices_are_computed_at_once() -> None:
    b = LoopBuilder("f", 8)
    assert b.iadd(2, 3) == 5
    assert b.isub(2, 3) == -1
    assert b.imul(2, 3) == 6
    assert b.idiv(7, 2) == 3
    assert b.irem(7, 2) == 1
    assert b.imin(7, 2) == 2
    assert b.imax(7, 2) == 7
    assert b.ceildiv(7, 2) == 4
    assert b.iproduct([2, 3, 4]) == 24
    assert b.linear([1, 2], [10, 1]) == 12
    assert b.split(123, [4, 5, 10]) == [2, 2, 3]
    assert b.at_most(4, 12, 8) == 4
    assert b.at_most(4, 10, 8) == 2
    assert b.icompare("lt", 1, 2) is True
    assert names(checked(b)) == []


def test_neutral_elements_leave_no_instruction() -> None:
    b = LoopBuilder("f", 8)
    n = b.index_arg("n")
    assert b.iadd(n, 0) is n
    assert b.iadd(0, n) is n
    assert b.isub(n, 0) is n
    assert b.imul(1, n) is n
    assert b.imul(n, 0) == 0
    assert b.idiv(n, 1) is n
    assert b.irem(n, 1) == 0
    assert names(checked(b)) == []


def test_dimensions_become_instructions_on_symbols() -> None:
    b = LoopBuilder("f", 8)
    b.symbol_arg("H")
    h = symbol("H")
    b.dim(minimum(floordiv(3 * h + 1, 2), h * h))
    assert b.dim(4) == 4
    assert sorted(set(names(checked(b)))) == ["add", "const", "div", "min", "mul"]


def test_a_loop_carries_values() -> None:
    b = LoopBuilder("f", 8)
    x, n = b.pointer("x"), b.index_arg("n")
    with b.loop(0, n, 8, [b.const(0.0, "f32x8")]) as loop:
        loop.carry([b.add(loop.carried[0], b.load(x, loop.index, 8))])
    b.store(b.reduce("sum", loop.results[0]), x, 0)
    assert names(checked(b)) == ["const", "const", "const", "for", "load", "add", "reduce", "store"]


def test_a_loop_that_runs_once_leaves_its_body() -> None:
    b = LoopBuilder("f", 8)
    x = b.pointer("x")
    with b.loop(3, 5, 2, [b.const(1.0, "f32")]) as loop:
        assert loop.index == 3
        loop.carry([b.load(x, loop.index)])
    b.store(loop.results[0], x, 0)
    assert "for" not in names(checked(b))


def test_a_loop_that_never_runs_leaves_nothing() -> None:
    b = LoopBuilder("f", 8)
    x = b.pointer("x")
    start = b.const(1.0, "f32")
    with b.loop(3, 3, 1, [start]) as loop:
        loop.carry([b.load(x, loop.index)])
    assert loop.results == (start,)
    b.store(loop.results[0], x, 0)
    assert names(checked(b)) == ["const", "const", "store"]


def test_known_conditions_leave_no_test() -> None:
    b = LoopBuilder("f", 8)
    x, n = b.pointer("x"), b.index_arg("n")
    one = b.const(1.0, "f32")
    with b.when(True):
        b.store(one, x, n)
    with b.when(False):
        b.store(one, x, n)
    assert names(checked(b)) == ["const", "store"]
    with b.when(b.icompare("lt", n, 4)):
        b.store(one, x, n)
    assert names(checked(b)) == ["const", "store", "const", "compare", "if", "store"]
    assert b.select(True, one, n) is one


def test_constants_are_shared_where_they_are_visible() -> None:
    b = LoopBuilder("f", 8)
    n = b.index_arg("n")
    outside = b.const(1.0, "f32")
    with b.loop(0, n):
        assert b.const(1.0, "f32") is outside
        inside = b.const(2.0, "f32")
        assert b.const(2, "f32") is inside
    assert b.const(2.0, "f32") is not inside
    # they are equal numbers, but not the same
    assert b.const(0.0, "f32") is not b.const(-0.0, "f32")
    checked(b)


def test_full_counts_make_plain_loads_and_stores() -> None:
    b = LoopBuilder("f", 8)
    x, n = b.pointer("x"), b.index_arg("n")
    assert b.first_lanes(8, 8) is True
    b.store_first(b.load_first(x, n, 8, 8), x, n, 9)
    b.store_first(b.load_strided(x, n, 1, 8), x, n, n)
    b.load_strided(x, n, 0, 8)
    b.load_strided(x, n, 3, 8)
    b.first_lanes(n, 8)
    assert names(checked(b)) == [
        *("load", "store", "load", "store_first", "load", "splat"),
        *("const", "load_strided", "first_lanes"),
    ]


def test_every_op_verifies_and_reads_back() -> None:
    b = LoopBuilder("f", 8)
    x, i = b.pointer("x"), b.index_arg("i")
    v, s = b.load(x, i, 8), b.load(x, i)
    assert b.splat(s, 0) is s
    assert b.splat(v, 8) is v
    for value in (v, s):
        for name in ("add", "sub", "mul", "div", "min", "max"):
            b.binary(name, value, value)
        for name in ("neg", "abs", "sqrt", "floor", "round"):
            b.unary(name, value)
        b.fma(value, value, value)
        b.maximum(value, b.like(float("nan"), value))
        b.select(b.compare("ge", value, b.like(float("inf"), value)), value, value)
        bits = b.cast("bitcast", value, "i32")
        for name in ("and", "or", "shl", "shr", "add", "sub"):
            b.binary(name, bits, b.like(3, bits))
        b.cast("to_float", b.cast("to_int", value, "i32"), "f32")
        b.cast("truncate", b.cast("extend", value, "f64"), "f32")
        b.reduce("max", value)
    b.extract(b.shuffle(v, v, (0, 15, 3, 8)), 2)
    checked(b)


@pytest.mark.parametrize("extent", [1, 7, 8, 9, 64])
def test_split_and_linear_are_inverse(extent: int) -> None:
    b = LoopBuilder("f", 8)
    for flat in range(3 * extent):
        indices = b.split(flat, [3, extent])
        assert [int(str(i)) for i in indices] == list(np.unravel_index(flat, (3, extent)))
        assert b.linear(indices, [extent, 1]) == flat
