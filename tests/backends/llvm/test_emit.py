"""Each op of the loop level, compiled and run: what the code does is what the op says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from netc.backends.llvm.emit import emit_kernel
from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.library import Library
from netc.backends.llvm.spmd import Program, Step, executor_for
from netc.backends.llvm.target import parse_target
from netc.ir.core import Module, Value
from netc.ir.loop_builder import LoopBuilder
from netc.ir.parser import parse_module
from netc.ir.printer import print_module
from netc.ir.verify import verify

Array = np.ndarray[Any, Any]
DTYPES = {"f32": np.float32, "f64": np.float64, "i64": np.int64, "i32": np.int32}
X = np.array([0.0, -0.0, 1.5, -2.5, 3e38, -np.inf, np.inf, np.nan], np.float32)
Y = np.array([1.0, 0.5, -1.5, 2.5, 3e38, 2.0, -np.inf, 1.0], np.float32)


def run(build: Callable[[LoopBuilder], None], arrays: Sequence[Array | int], opt: int = 1) -> None:
    """Run a kernel on arrays (pointers) and integers, in the order in which ``build`` declares them."""
    b = LoopBuilder("kernel", 8)
    build(b)
    b.index_arg("tid")
    b.index_arg("nth")
    func = b.finish()
    module = Module("m", "loop", (func,))
    verify(module)
    text = print_module(module)
    assert print_module(parse_module(text)) == text
    target = parse_target("cpu")
    library = Library({"kernel": compile_to_object(emit_kernel(func), target, opt)}, target)
    slots = np.array([a if isinstance(a, int) else a.ctypes.data for a in arrays], np.int64)
    Program(executor_for(1), [Step("kernel", library.address("kernel"), slots)], [library]).run()


def applied(
    function: Callable[..., Value], *operands: Array, result: Any = np.float32, opt: int = 1
) -> tuple[Array, Array]:
    """The function on vectors of whole arrays, and element by element as scalars."""
    lanes = len(operands[0])
    found = []
    for width in (lanes, 0):
        out = np.zeros(lanes, result)

        def build(b: LoopBuilder, width: int = width) -> None:
            names = {np.dtype(v): k for k, v in DTYPES.items()}
            pointers = [b.pointer(f"x{i}", names[x.dtype]) for i, x in enumerate(operands)]
            target = b.pointer("y", names[np.dtype(result)])
            for start in range(0, lanes, width or 1):
                values = [b.load(p, start, width) for p in pointers]
                b.store(function(b, *values), target, start)

        run(build, [*operands, out], opt)
        found.append(out)
    return found[0], found[1]


def check(function: Callable[..., Value], expected: Array, *operands: Array, opt: int = 1) -> None:
    for got in applied(function, *operands, result=expected.dtype, opt=opt):
        np.testing.assert_array_equal(got, expected)
        if expected.dtype.kind == "f":
            zeros = expected == 0
            np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(expected[zeros]))


@pytest.mark.parametrize("opt", [0, 1, 3])
def test_arithmetic_of_floats(opt: int) -> None:
    with np.errstate(all="ignore"):
        for dtype in (np.float32, np.float64):
            x, y = X.astype(dtype), Y.astype(dtype)
            check(lambda b, x, y: b.add(x, y), x + y, x, y, opt=opt)
            check(lambda b, x, y: b.sub(x, y), x - y, x, y, opt=opt)
            check(lambda b, x, y: b.mul(x, y), x * y, x, y, opt=opt)
            check(lambda b, x, y: b.div(x, y), x / y, x, y, opt=opt)
            check(lambda b, x: b.unary("neg", x), -x, x, opt=opt)
            check(lambda b, x: b.unary("abs", x), np.abs(x), x, opt=opt)
            check(lambda b, x: b.unary("sqrt", x), np.sqrt(x), x, opt=opt)
            check(lambda b, x: b.unary("floor", x), np.floor(x), x, opt=opt)
            check(lambda b, x: b.unary("round", x), np.rint(x), x, opt=opt)


def test_minimum_and_maximum_give_the_second_operand_for_nan() -> None:
    nan = np.float32(np.nan)
    x = np.array([1.0, nan, 1.0, 0.0], np.float32)
    y = np.array([2.0, 1.0, nan, -0.0], np.float32)
    check(lambda b, x, y: b.binary("min", x, y), np.array([1.0, 1.0, nan, -0.0], np.float32), x, y)
    check(lambda b, x, y: b.maximum(x, y), np.array([2.0, 1.0, nan, -0.0], np.float32), x, y)


def test_fma_rounds_once() -> None:
    x = np.array([1 + 2.0**-12] * 4, np.float32)
    y = np.full(4, -(1 + 2.0**-11), np.float32)
    check(lambda b, x, y: b.fma(x, x, y), np.full(4, 2.0**-24, np.float32), x, y)


@pytest.mark.parametrize("predicate", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons_and_selections(predicate: str) -> None:
    compare = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
    compare |= {"eq": np.equal, "ne": np.not_equal}
    y = np.array([0.0, 0.0, 2.5, -2.5, 1.0, -np.inf, 1.0, np.nan], np.float32)

    def select(b: LoopBuilder, x: Value, y: Value) -> Value:
        return b.select(b.compare(predicate, x, y), x, y)

    check(select, np.where(compare[predicate](X, y), X, y), X, y)
    for dtype in (np.int32, np.int64):
        i, j = np.array([-1, 0, 5, 7], dtype), np.array([2, 0, -5, 7], dtype)
        check(select, np.where(compare[predicate](i, j), i, j), i, j)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_arithmetic_of_integers_wraps_and_shifts(dtype: Any) -> None:
    top = np.iinfo(dtype).max
    x, y = np.array([1, 7, top, 12], dtype), np.array([3, 2, 5, 4], dtype)
    with np.errstate(all="ignore"):
        if dtype == np.int32:
            check(lambda b, x, y: b.add(x, y), x + y, x, y)
            check(lambda b, x, y: b.mul(x, y), x * y, x, y)
        check(lambda b, x, y: b.sub(x, y), x - y, x, y)
        check(lambda b, x, y: b.div(x, y), x // y, x, y)
        check(lambda b, x, y: b.binary("rem", x, y), x % y, x, y)
        check(lambda b, x, y: b.binary("and", x, y), x & y, x, y)
        check(lambda b, x, y: b.binary("or", x, y), x | y, x, y)
        check(lambda b, x, y: b.binary("shl", x, y), x << y, x, y)
        check(lambda b, x: b.unary("neg", x), -x, x)
        unsigned = np.uint32 if dtype == np.int32 else np.uint64
        negative = -x
        check(
            lambda b, x, y: b.binary("shr", x, y),
            (negative.view(unsigned) >> y.astype(unsigned)).view(dtype),
            negative,
            y,
        )
        check(lambda b, x, y: b.binary("min", x, y), np.minimum(x, y), x, y)
        check(lambda b, x, y: b.maximum(x, y), np.maximum(x, y), x, y)


def test_casts() -> None:
    x = np.array([1.75, -1.75, 0.0, 1e6], np.float32)
    check(lambda b, x: b.cast("to_int", x, "i32"), x.astype(np.int32), x)
    check(lambda b, x: b.cast("extend", x, "f64"), x.astype(np.float64), x)
    check(lambda b, x: b.cast("bitcast", x, "i32"), x.view(np.int32), x)
    i = np.array([-3, 0, 7, 1 << 20], np.int32)
    check(lambda b, i: b.cast("to_float", i, "f32"), i.astype(np.float32), i)
    check(lambda b, i: b.cast("extend", i, "i64"), i.astype(np.int64), i)
    check(lambda b, i: b.cast("truncate", b.cast("extend", i, "i64"), "i32"), i, i)
    d = np.array([1.1, -1e300, 1e-300, 2.0**24 + 1])
    with np.errstate(all="ignore"):
        check(lambda b, d: b.cast("truncate", d, "f32"), d.astype(np.float32), d)


@pytest.mark.parametrize("value", [1.5, 0.1, -0.0, np.inf, -np.inf, np.nan, 1e300, 1e-40, 3e-50])
def test_constants_are_rounded_to_their_type(value: float) -> None:
    x = np.zeros(4, np.float32)
    with np.errstate(all="ignore"):
        wanted = np.full(4, value).astype(np.float32)
    for got in applied(lambda b, x: b.like(value, x), x):
        np.testing.assert_array_equal(got, wanted)
        assert (np.signbit(got) == np.signbit(wanted)).all()


def test_lanes_are_picked_spread_and_extracted() -> None:
    x, out = np.arange(8, dtype=np.float32), np.zeros(24, np.float32)

    def build(b: LoopBuilder) -> None:
        p, q = b.pointer("x"), b.pointer("y")
        low, high = b.load(p, 0, 4), b.load(p, 4, 4)
        b.store(b.shuffle(low, high, (7, 0, 4, 3, 3, 1, 2, 6)), q, 0)
        b.store(b.splat(b.extract(high, 2), 4), q, 8)
        b.store(b.reduce("sum", b.load(p, 0, 8)), q, 12)
        b.store(b.reduce("max", b.load(p, 0, 8)), q, 13)
        b.store(b.reduce("min", b.load(p, 0, 8)), q, 14)
        b.store(b.reduce("sum", b.load(p, 3)), q, 15)
        b.store(b.load_strided(p, 1, 2, 4), q, 16)
        b.store(b.load_strided(p, 7, -2, 4), q, 20)

    run(build, [x, out])
    wanted = [7, 0, 4, 3, 3, 1, 2, 6, 6, 6, 6, 6, 28, 7, 0, 3, 1, 3, 5, 7, 7, 5, 3, 1]
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("count", [-1, 0, 1, 5, 8, 9])
def test_first_lanes_only(count: int) -> None:
    x, out = np.arange(1, 9, dtype=np.float32), np.full(24, -1, np.float32)

    def build(b: LoopBuilder) -> None:
        p, q, n = b.pointer("x"), b.pointer("y"), b.index_arg("n")
        b.store(b.load_first(p, 0, n, 8), q, 0)
        b.store_first(b.load(p, 0, 8), q, 8, n)
        value = b.load(p, 0, 8)
        b.store(b.select(b.first_lanes(n, 8), value, b.like(0.5, value)), q, 16)

    run(build, [x, out, count])
    below = np.arange(8) < count
    np.testing.assert_array_equal(out[:8], np.where(below, x, 0))
    np.testing.assert_array_equal(out[8:16], np.where(below, x, -1))
    np.testing.assert_array_equal(out[16:], np.where(below, x, 0.5))


@pytest.mark.parametrize("opt", [0, 1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_loops_nest_and_carry_values_past_conditions(n: int, opt: int) -> None:
    out = np.zeros(2, np.float32)

    def build(b: LoopBuilder) -> None:
        q, count = b.pointer("y"), b.index_arg("n")
        one = b.const(1.0, "f32")
        with b.loop(0, count, 1, [one, b.const(0.0, "f32")]) as outer:
            with b.loop(outer.index, count, 2, [outer.carried[1]]) as inner:
                with b.when(b.icompare("eq", inner.index, 3)):
                    b.store(one, q, 1)
                inner.carry([b.add(inner.carried[0], one)])
            outer.carry([b.add(outer.carried[0], outer.carried[0]), inner.results[0]])
        b.store(b.add(b.mul(outer.results[0], b.const(100.0, "f32")), outer.results[1]), q, 0)

    run(build, [out, n], opt)
    steps = sum(len(range(i, n, 2)) for i in range(n))
    assert out[0] == 100 * 2**n + steps
    assert out[1] == (1.0 if n > 3 else 0.0)


def test_the_share_of_each_thread_is_passed_in() -> None:
    out = np.zeros(6, np.int64)

    b = LoopBuilder("kernel", 8)
    q = b.pointer("y", "i64")
    tid, nth = b.index_arg("tid"), b.index_arg("nth")
    b.store(tid, q, b.imul(tid, 2))
    b.store(nth, q, b.iadd(b.imul(tid, 2), 1))
    target = parse_target("cpu")
    library = Library({"kernel": compile_to_object(emit_kernel(b.finish()), target, 1)}, target)
    slots = np.array([out.ctypes.data], np.int64)
    Program(executor_for(3), [Step("kernel", library.address("kernel"), slots)], [library]).run()
    np.testing.assert_array_equal(out, [0, 3, 1, 3, 2, 3])
