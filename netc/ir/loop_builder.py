"""Writes loop-level functions from Python: lowerings read like the loops they make.

Index arithmetic takes and gives ``Index = Value | int`` and folds constants, so that a static shape
leaves constants in the code and a symbolic one leaves instructions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netc.ir.core import Block, Func, Op, Role, Value
from netc.ir.dim import Dim, FloorDiv, Min, Symbol
from netc.ir.opdef import NoAttrs
from netc.ir.ops.loop import (
    I1,
    I64,
    CastAttrs,
    CompareAttrs,
    ConstAttrs,
    LanesAttrs,
    PointerAttrs,
    PrefetchAttrs,
    ReduceLanesAttrs,
    ShuffleAttrs,
)
from netc.ir.types import PointerType, ScalarType, Type, VectorType

Index = Value | int
_NO_ATTRS = NoAttrs()


class Loop:
    """What ``with builder.loop(...) as loop`` gives: the index, the carried values, later the results."""

    def __init__(self, index: Index, carried: tuple[Value, ...]) -> None:
        self.index = index
        self.carried = carried
        self.results: tuple[Value, ...] = carried

    def carry(self, values: Sequence[Value]) -> None:
        """What the next iteration gets; after the loop, ``results``."""
        self.results = tuple(values)


class LoopBuilder:
    """One kernel under construction. ``lanes`` is the number of f32 lanes of a vector register."""

    def __init__(self, name: str, lanes: int) -> None:
        self.name = name
        self.lanes = lanes
        self.args: list[Value] = []
        self._stack: list[list[Op]] = [[]]
        self._count = 0
        self._constants: list[dict[tuple[int | float, str], Value]] = [{}]
        self._symbols: dict[str, Value] = {}

    # --- structure ---
    def pointer(self, name: str, dtype: str = "f32") -> Value:
        """A pointer argument."""
        return self._arg(name, PointerType(dtype))

    def index_arg(self, name: str) -> Value:
        """An i64 argument."""
        return self._arg(name, I64)

    def symbol_arg(self, name: str) -> Value:
        """The argument that holds the value of a symbol; ``dim`` uses it."""
        self._symbols[name] = self._arg(f"dim.{name}", I64)
        return self._symbols[name]

    def _arg(self, name: str, type_: Type) -> Value:
        value = Value(name, type_)
        self.args.append(value)
        return value

    def finish(self) -> Func:
        """The function."""
        roles: tuple[Role, ...] = tuple("input" for _ in self.args)
        return Func(self.name, tuple(self.args), roles, tuple(self._stack[0]), (), ())

    def _new(self, type_: Type) -> Value:
        self._count += 1
        return Value(str(self._count), type_)

    def op(self, name: str, operands: Sequence[Value], type_: Type, attrs: Any = _NO_ATTRS) -> Value:
        """Append an op with one result of the given type."""
        result = self._new(type_)
        self._stack[-1].append(Op("loop." + name, tuple(operands), attrs, (result,)))
        return result

    def effect(self, name: str, operands: Sequence[Value], attrs: Any = _NO_ATTRS) -> None:
        """Append an op without a result."""
        self._stack[-1].append(Op("loop." + name, tuple(operands), attrs, ()))

    @contextmanager
    def loop(self, lo: Index, hi: Index, step: int = 1, carried: Sequence[Value] = ()) -> Iterator[Loop]:
        """A counted loop; one that surely runs once leaves only its body, one that never runs nothing."""
        carried = tuple(carried)
        if isinstance(lo, int) and isinstance(hi, int) and hi <= lo:
            self._stack.append([])
            self._constants.append({})
            loop = Loop(lo, carried)
            yield loop
            self._constants.pop()
            self._stack.pop()
            loop.results = carried
            return
        if isinstance(lo, int) and isinstance(hi, int) and lo < hi <= lo + step:
            loop = Loop(lo, carried)
            yield loop
            return
        operands = (self.value(lo), self.value(hi), self.value(step), *carried)
        index = self._new(I64)
        args = tuple(self._new(v.type) for v in carried)
        self._stack.append([])
        self._constants.append({})
        loop = Loop(index, args)
        yield loop
        self._constants.pop()
        body = Block((index, *args), tuple(self._stack.pop()), loop.results)
        results = tuple(self._new(v.type) for v in carried)
        self._stack[-1].append(Op("loop.for", operands, _NO_ATTRS, results, body))
        loop.results = results

    @contextmanager
    def when(self, condition: Value | bool) -> Iterator[None]:
        """A body that runs where the condition holds; a known condition leaves no test."""
        if condition is True:
            yield
            return
        self._stack.append([])
        self._constants.append({})
        yield
        self._constants.pop()
        ops = tuple(self._stack.pop())
        if condition is not False:
            self._stack[-1].append(Op("loop.if", (condition,), _NO_ATTRS, (), Block((), ops, ())))

    # --- indices ---
    def value(self, index: Index) -> Value:
        """An index as a value."""
        return self.const(index, "i64") if isinstance(index, int) else index

    def dim(self, dim: Dim) -> Index:
        """The value of a dimension."""
        if isinstance(dim, int):
            return dim
        total: Index = 0
        for atoms, factor in dim.terms:
            part: Index = factor
            for atom in atoms:
                part = self.imul(part, self._atom(atom))
            total = self.iadd(total, part)
        return total

    def _atom(self, atom: Symbol | FloorDiv | Min) -> Index:
        if isinstance(atom, Symbol):
            return self._symbols[atom.name]
        if isinstance(atom, FloorDiv):
            return self.idiv(self.dim(atom.numerator), atom.denominator)
        return self.imin(self.dim(atom.left), self.dim(atom.right))

    def iadd(self, x: Index, y: Index) -> Index:
        """x + y."""
        if isinstance(x, int) and isinstance(y, int):
            return x + y
        if isinstance(x, int):
            x, y = y, x
        if isinstance(y, int) and y == 0:
            return x
        return self._index_op("add", x, y)

    def isub(self, x: Index, y: Index) -> Index:
        """x - y."""
        if isinstance(x, int) and isinstance(y, int):
            return x - y
        if isinstance(y, int):
            return self.iadd(x, -y)
        return self._index_op("sub", x, y)

    def imul(self, x: Index, y: Index) -> Index:
        """x * y."""
        if isinstance(x, int) and isinstance(y, int):
            return x * y
        if isinstance(x, int):
            x, y = y, x
        if isinstance(y, int) and y in (0, 1):
            return x if y else 0
        return self._index_op("mul", x, y)

    def idiv(self, x: Index, y: Index) -> Index:
        """x / y rounded down; neither is negative."""
        if isinstance(x, int) and isinstance(y, int):
            return x // y
        return x if isinstance(y, int) and y == 1 else self._index_op("div", x, y)

    def irem(self, x: Index, y: Index) -> Index:
        """x modulo y; neither is negative."""
        if isinstance(x, int) and isinstance(y, int):
            return x % y
        return 0 if isinstance(y, int) and y == 1 else self._index_op("rem", x, y)

    def imin(self, x: Index, y: Index) -> Index:
        """The smaller."""
        return min(x, y) if isinstance(x, int) and isinstance(y, int) else self._index_op("min", x, y)

    def imax(self, x: Index, y: Index) -> Index:
        """The larger."""
        return max(x, y) if isinstance(x, int) and isinstance(y, int) else self._index_op("max", x, y)

    def iproduct(self, factors: Sequence[Index]) -> Index:
        """The product of all."""
        total: Index = 1
        for factor in factors:
            total = self.imul(total, factor)
        return total

    def ceildiv(self, x: Index, y: int) -> Index:
        """x / y rounded up, for x >= 0."""
        return self.idiv(self.iadd(x, y - 1), y)

    def at_most(self, size: int, extent: Index, start: Index) -> Index:
        """How many of the ``size`` positions from ``start`` (a multiple of size) on lie below ``extent``."""
        if isinstance(extent, int) and extent % size == 0:
            return size
        return self.imin(size, self.isub(extent, start))

    def linear(self, indices: Sequence[Index], strides: Sequence[Index]) -> Index:
        """sum(index * stride)."""
        total: Index = 0
        for index, stride in zip(indices, strides, strict=True):
            total = self.iadd(total, self.imul(index, stride))
        return total

    def split(self, index: Index, extents: Sequence[Index]) -> list[Index]:
        """The coordinates of a flat index in a box of these extents, last axis fastest."""
        coordinates: list[Index] = []
        for extent in reversed(extents[1:]):
            coordinates.append(self.irem(index, extent))
            index = self.idiv(index, extent)
        return [index, *reversed(coordinates)]

    def _index_op(self, name: str, x: Index, y: Index) -> Value:
        return self.op(name, (self.value(x), self.value(y)), I64)

    def icompare(self, predicate: str, x: Index, y: Index) -> Value | bool:
        """A comparison of indices; known ones give a Python bool."""
        if isinstance(x, int) and isinstance(y, int):
            return {"lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y, "eq": x == y, "ne": x != y}[
                predicate
            ]
        return self.op("compare", (self.value(x), self.value(y)), I1, CompareAttrs(predicate))

    # --- values ---
    def const(self, value: int | float, type_: str) -> Value:
        """A constant; ``type_`` as text (``f32x16``); float types take floats."""
        value = float(value) if type_[0] == "f" else int(value)
        key = (value, type_)
        # -0.0 == 0.0 but they are not the same constant
        if not (isinstance(value, float) and value == 0.0):
            for scope in self._constants:
                if key in scope:
                    return scope[key]
        dtype, _, lanes = type_.partition("x")
        result_type: Type = VectorType(dtype, int(lanes)) if lanes else ScalarType(dtype)
        result = self.op("const", (), result_type, ConstAttrs(value, type_))
        self._constants[-1][key] = result
        return result

    def like(self, value: int | float, like: Value) -> Value:
        """A constant of the type of another value."""
        return self.const(value, str(like.type))

    def binary(self, name: str, x: Value, y: Value) -> Value:
        """add, sub, mul, div, min, max, and, or, xor, shl, shr of two values of one type."""
        return self.op(name, (x, y), x.type)

    def unary(self, name: str, x: Value) -> Value:
        """neg, abs, sqrt, floor, round."""
        return self.op(name, (x,), x.type)

    def add(self, x: Value, y: Value) -> Value:
        """x + y."""
        return self.op("add", (x, y), x.type)

    def sub(self, x: Value, y: Value) -> Value:
        """x - y."""
        return self.op("sub", (x, y), x.type)

    def mul(self, x: Value, y: Value) -> Value:
        """x * y."""
        return self.op("mul", (x, y), x.type)

    def div(self, x: Value, y: Value) -> Value:
        """x / y."""
        return self.op("div", (x, y), x.type)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """x * y + z."""
        return self.op("fma", (x, y, z), x.type)

    def dot(self, x: Value, y: Value, z: Value) -> Value:
        """z plus the products of narrow numbers in i32 words: bf16 for a z of f32, u8 by i8 for i32."""
        assert isinstance(z.type, VectorType)
        return self.op("dot_bf16" if z.type.dtype == "f32" else "dot_u8", (x, y, z), z.type)

    def maximum(self, x: Value, y: Value) -> Value:
        """x where x > y, else y (so y where either is NaN)."""
        return self.op("max", (x, y), x.type)

    def compare(self, predicate: str, x: Value, y: Value) -> Value:
        """i1, or a vector of i1."""
        lanes = x.type.lanes if isinstance(x.type, VectorType) else 0
        type_: Type = VectorType("i1", lanes) if lanes else I1
        return self.op("compare", (x, y), type_, CompareAttrs(predicate))

    def select(self, condition: Value | bool, yes: Value, no: Value) -> Value:
        """yes where the condition (one, or one per lane) holds, else no."""
        if isinstance(condition, bool):
            return yes if condition else no
        return self.op("select", (condition, yes, no), yes.type)

    def cast(self, kind: str, x: Value, dtype: str) -> Value:
        """See :class:`~netc.ir.ops.loop.CastAttrs`."""
        type_: Type = VectorType(dtype, x.type.lanes) if isinstance(x.type, VectorType) else ScalarType(dtype)
        return self.op("cast", (x,), type_, CastAttrs(kind, dtype))

    def splat(self, x: Value, lanes: int) -> Value:
        """A scalar in every lane; unchanged for lanes 0 or a vector."""
        if not lanes or isinstance(x.type, VectorType):
            return x
        assert isinstance(x.type, ScalarType)
        return self.op("splat", (x,), VectorType(x.type.dtype, lanes), LanesAttrs(lanes))

    def first_lanes(self, count: Index, lanes: int) -> Value | bool:
        """i1 per lane: whether the lane is below ``count``; a full count is simply True."""
        if isinstance(count, int) and count >= lanes:
            return True
        return self.op("first_lanes", (self.value(count),), VectorType("i1", lanes), LanesAttrs(lanes))

    def lane_numbers(self, lanes: int) -> Value:
        """0, 1, 2, … as i64."""
        return self.op("lane_numbers", (), VectorType("i64", lanes), LanesAttrs(lanes))

    def shuffle(self, x: Value, y: Value, lanes: Sequence[int]) -> Value:
        """Lanes picked from x followed by y."""
        assert isinstance(x.type, VectorType)
        return self.op("shuffle", (x, y), VectorType(x.type.dtype, len(lanes)), ShuffleAttrs(tuple(lanes)))

    def extract(self, x: Value, lane: int) -> Value:
        """One lane of a vector."""
        assert isinstance(x.type, VectorType)
        return self.op("extract", (x,), ScalarType(x.type.dtype), LanesAttrs(lane))

    def reduce(self, kind: str, x: Value) -> Value:
        """sum, max or min of the lanes; a scalar stays."""
        if not isinstance(x.type, VectorType):
            return x
        return self.op("reduce", (x,), ScalarType(x.type.dtype), ReduceLanesAttrs(kind))

    # --- memory ---
    def recast(self, pointer: Value, dtype: str) -> Value:
        """The pointer, to elements of another dtype; indices count those."""
        return self.op("recast", (pointer,), PointerType(dtype), PointerAttrs(dtype))

    def load(self, pointer: Value, index: Index, lanes: int = 0) -> Value:
        """A scalar (lanes 0) or a vector."""
        return self.op("load", (pointer, self.value(index)), _loaded(pointer, lanes), LanesAttrs(lanes))

    def load_first(self, pointer: Value, index: Index, count: Index, lanes: int) -> Value:
        """The first ``count`` lanes, 0 elsewhere; a full count is a plain load."""
        if isinstance(count, int) and count >= lanes:
            return self.load(pointer, index, lanes)
        operands = (pointer, self.value(index), self.value(count))
        return self.op("load_first", operands, _loaded(pointer, lanes), LanesAttrs(lanes))

    def load_strided(self, pointer: Value, index: Index, stride: Index, lanes: int) -> Value:
        """Lane i from ``index + i * stride``; stride 1 is a plain load, stride 0 a splat."""
        if isinstance(stride, int) and stride == 1:
            return self.load(pointer, index, lanes)
        if isinstance(stride, int) and stride == 0:
            return self.splat(self.load(pointer, index), lanes)
        operands = (pointer, self.value(index), self.value(stride))
        return self.op("load_strided", operands, _loaded(pointer, lanes), LanesAttrs(lanes))

    def store(self, value: Value, pointer: Value, index: Index) -> None:
        """Write a scalar or a vector."""
        self.effect("store", (value, pointer, self.value(index)))

    def store_first(self, value: Value, pointer: Value, index: Index, count: Index) -> None:
        """Write the first ``count`` lanes; a full count is a plain store."""
        assert isinstance(value.type, VectorType)
        if isinstance(count, int) and count >= value.type.lanes:
            self.store(value, pointer, index)
            return
        self.effect("store_first", (value, pointer, self.value(index), self.value(count)))

    def prefetch(self, pointer: Value, index: Index, level: int = 1) -> None:
        """Ask for the line of an element, which need not exist, in the cache of a level."""
        self.effect("prefetch", (pointer, self.value(index)), PrefetchAttrs(level))

    def fence(self) -> None:
        """Keep code generation from merging or moving memory accesses across this point."""
        self.effect("fence", ())


def _loaded(pointer: Value, lanes: int) -> Type:
    assert isinstance(pointer.type, PointerType)
    return VectorType(pointer.type.dtype, lanes) if lanes else ScalarType(pointer.type.dtype)
