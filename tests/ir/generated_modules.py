"""Modules at random: well-formed as text, but their ops need not fit together."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, get_args, get_origin

from hypothesis import strategies as st

from netc.ir import builder as _builder  # noqa: F401  fills the op table
from netc.ir.attrs import attr_types
from netc.ir.core import Block, Func, Module, Op, Value
from netc.ir.dim import Dim, SymDim, floordiv, minimum, symbol
from netc.ir.layout import Blocked
from netc.ir.location import Location
from netc.ir.opdef import OpDef, all_opdefs
from netc.ir.types import (
    DTYPE_BYTES,
    BufferType,
    PointerType,
    ScalarType,
    TensorType,
    Type,
    VectorType,
)

# plain names, what looks like other tokens, and anything at all
NAMES = st.sampled_from(
    ["x", "conv1/7x7_s2", "a.1", "inf", "nan-1", "1", "1.5", "1-2", "5x", "yield", "param", "true", "-", ""]
) | st.text(max_size=8)
INTS = st.integers(-3, 9) | st.integers(-(10**17), 10**17)
FLOATS = st.floats(allow_nan=False)


@st.composite
def dims(draw: st.DrawFn) -> Dim:
    """An extent of 1 or more for all positive symbols, mostly."""
    n, h = symbol("N"), symbol("H")
    small = draw(st.integers(1, 9))
    return draw(
        st.sampled_from(
            [small, n, h, n * small, n * h + small, floordiv(h, small) + 1, minimum(n, h + small)]
        )
    )


@st.composite
def tensor_types(draw: st.DrawFn) -> TensorType:
    shape = tuple(draw(st.lists(dims(), max_size=5)))
    layout = None
    if shape and draw(st.booleans()):
        layout = Blocked(draw(st.integers(0, len(shape) - 1)), draw(st.integers(2, 16)))
    return TensorType(draw(st.sampled_from(["f32", "f32", "f64", "i8"])), shape, layout)


@st.composite
def buffer_types(draw: st.DrawFn) -> BufferType:
    tensor = draw(tensor_types())
    if draw(st.booleans()):
        return BufferType(tensor)
    axes = tensor.rank + (tensor.layout is not None)
    return BufferType(tensor, tuple(draw(st.lists(dims(), min_size=axes, max_size=axes))))


DTYPES = st.sampled_from(sorted(DTYPE_BYTES))
TYPES: st.SearchStrategy[Type] = st.one_of(
    tensor_types(),
    buffer_types(),
    st.builds(ScalarType, DTYPES),
    st.builds(VectorType, DTYPES, st.integers(1, 64)),
    st.builds(PointerType, DTYPES),
)
LOCATIONS = st.none() | st.builds(Location, st.text(max_size=8), st.integers(1, 10**6), st.integers(1, 999))


def attr_values(expected: Any) -> st.SearchStrategy[Any]:
    """Values of an attribute's annotation."""
    origin = get_origin(expected)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([attr_values(e) for e in get_args(expected)])
    if origin is Literal:
        return st.sampled_from(get_args(expected))
    if origin is tuple:
        entries = get_args(expected)
        if entries[-1] is Ellipsis:
            return st.lists(attr_values(entries[0]), max_size=4).map(tuple)
        return st.tuples(*map(attr_values, entries))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        int: INTS,
        float: FLOATS,
        bool: st.booleans(),
        str: NAMES,
        type(None): st.none(),
        SymDim: dims().filter(lambda d: isinstance(d, SymDim)),
        TensorType: tensor_types(),
    }
    return plain[expected]


def attrs_of(definition: OpDef[Any]) -> st.SearchStrategy[Any]:
    return st.builds(definition.attrs, **{n: attr_values(t) for n, t in attr_types(definition.attrs).items()})


class _Names:
    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.taken: set[str] = set()

    def value(self, types_: st.SearchStrategy[Type]) -> Value:
        name = self.draw(NAMES)
        while name in self.taken:
            name += "'"
        self.taken.add(name)
        return Value(name, self.draw(types_))


def _op(draw: st.DrawFn, names: _Names, scope: list[Value], level: str, depth: int) -> Op:
    definition = draw(st.sampled_from([o for o in all_opdefs() if o.level == level]))
    count = draw(st.sampled_from([len(definition.operands)] * 4 + [0, 2, 3]))
    operands = tuple(draw(st.sampled_from(scope)) for _ in range(count)) if scope else ()
    body = None
    if definition.infer_body is not None and depth < 3:
        args = tuple(names.value(TYPES) for _ in range(draw(st.integers(0, 2))))
        inner = [*scope, *args]
        inner_level = "tensor" if definition.name in ("fusion", "buffer.launch") else level
        ops = tuple(_op(draw, names, inner, inner_level, depth + 1) for _ in range(draw(st.integers(0, 2))))
        yielded = tuple(draw(st.lists(st.sampled_from(inner), max_size=2))) if inner else ()
        body = Block(args, ops, yielded)
    own = {"tensor": tensor_types(), "buffer": buffer_types()}.get(level, TYPES)
    results = tuple(names.value(own) for _ in range(draw(st.integers(0, 2))))
    scope.extend(results)
    return Op(definition.name, operands, draw(attrs_of(definition)), results, body, draw(LOCATIONS))


@st.composite
def funcs(draw: st.DrawFn, level: str) -> Func:
    names = _Names(draw)
    own = {"tensor": tensor_types(), "buffer": buffer_types()}.get(level, TYPES)
    args = tuple(names.value(own) for _ in range(draw(st.integers(0, 3))))
    roles = tuple(draw(st.sampled_from(["input", "param", "output"])) for _ in args)
    scope = list(args)
    ops = tuple(_op(draw, names, scope, level, 0) for _ in range(draw(st.integers(0, 4))))
    results = tuple(draw(st.lists(st.sampled_from(scope), max_size=3))) if scope else ()
    return Func(draw(NAMES), args, roles, ops, results, tuple(draw(NAMES) for _ in results))


@st.composite
def modules(draw: st.DrawFn) -> Module:
    level = draw(st.sampled_from(["tensor", "buffer", "loop"]))
    return Module(draw(NAMES), level, tuple(draw(st.lists(funcs(level), max_size=2))))
