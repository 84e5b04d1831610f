"""The loop level: structured loops over scalars and vectors, pointers indexed in elements.

Integers are ``i64`` (indices, counts; never negative where divided) and ``i32`` vectors (bit tricks of
the math functions); conditions are ``i1``. ``loop.for`` carries values through its iterations, so that
accumulators live in registers:

.. code-block:: none

    %sum: f32x16 = loop.for %lo, %hi, %step, %zero (%i: i64, %acc: f32x16) {
      %x.1: f32x16 = loop.load %x, %i {lanes = 16}
      %next: f32x16 = loop.add %acc, %x.1
      yield %next
    }
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netc.ir.core import Block
from netc.ir.diagnostics import OpError
from netc.ir.opdef import InferRule, NoAttrs, OpDef, define
from netc.ir.types import DTYPE_BYTES, PointerType, ScalarType, Type, VectorType

I64 = ScalarType("i64")
I1 = ScalarType("i1")


@dataclass(frozen=True, slots=True)
class ConstAttrs:
    """``value`` of type ``type``: splat over the lanes of a vector type."""

    value: int | float
    type: str


@dataclass(frozen=True, slots=True)
class LanesAttrs:
    """``lanes`` of the vector made; 0 for a scalar."""

    lanes: int


@dataclass(frozen=True, slots=True)
class CompareAttrs:
    """``predicate``: lt, le, gt, ge, eq, ne. Comparisons with NaN are false (ne: true)."""

    predicate: str


@dataclass(frozen=True, slots=True)
class CastAttrs:
    """``kind``: bitcast, to_int (truncates), to_float, extend and truncate (between widths of one kind).

    Truncating f32 to bf16 rounds to the nearest, ties to even.
    """

    kind: str
    dtype: str


@dataclass(frozen=True, slots=True)
class PointerAttrs:
    """``dtype`` of what is found there."""

    dtype: str


@dataclass(frozen=True, slots=True)
class ShuffleAttrs:
    """``lanes``: for each result lane, the index into the lanes of x followed by those of y."""

    lanes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PrefetchAttrs:
    """``level`` of the cache: 1, or 2 for what does not fit the first."""

    level: int = 1


@dataclass(frozen=True, slots=True)
class ReduceLanesAttrs:
    """``kind``: sum, max or min over the lanes, as a tree: the same order on every machine."""

    kind: str


def _same(operands: tuple[Type, ...], _: Any) -> tuple[Type, ...]:
    if any(t != operands[0] for t in operands):
        raise OpError(f"operands of one type expected, got {', '.join(map(str, operands))}")
    return (operands[0],)


def _infer_const(_: tuple[Type, ...], attrs: ConstAttrs) -> tuple[Type, ...]:
    dtype, _sep, lanes = attrs.type.partition("x")
    if dtype not in DTYPE_BYTES or not (lanes == "" or (lanes.isdecimal() and lanes.isascii())):
        raise OpError(f"'{attrs.type}' is not the type of a constant", attr="type")
    return (VectorType(dtype, int(lanes)) if lanes else ScalarType(dtype),)


def _infer_compare(operands: tuple[Type, ...], attrs: CompareAttrs) -> tuple[Type, ...]:
    (type_,) = _same(operands, attrs)
    return (VectorType("i1", type_.lanes) if isinstance(type_, VectorType) else I1,)


def _infer_select(operands: tuple[Type, ...], _: Any) -> tuple[Type, ...]:
    condition, yes, no = operands
    if yes != no or not isinstance(condition, ScalarType | VectorType) or condition.dtype != "i1":
        raise OpError(f"a condition and two values of one type expected, got {', '.join(map(str, operands))}")
    return (yes,)


def _infer_cast(operands: tuple[Type, ...], attrs: CastAttrs) -> tuple[Type, ...]:
    (type_,) = operands
    if isinstance(type_, VectorType):
        return (VectorType(attrs.dtype, type_.lanes),)
    return (ScalarType(attrs.dtype),)


def _infer_recast(operands: tuple[Type, ...], attrs: PointerAttrs) -> tuple[Type, ...]:
    _pointee(operands[0])
    return (PointerType(attrs.dtype),)


def _infer_dot(dtype: str) -> InferRule:
    def infer(operands: tuple[Type, ...], _: Any) -> tuple[Type, ...]:
        x, y, total = operands
        if not isinstance(total, VectorType) or total.dtype != dtype:
            raise OpError(f"a sum of {dtype} expected, got {total}")
        if x != y or x != VectorType("i32", total.lanes):
            raise OpError(f"factors of i32x{total.lanes} expected, got {x} and {y}")
        return (total,)

    return infer


def _infer_splat(operands: tuple[Type, ...], attrs: LanesAttrs) -> tuple[Type, ...]:
    (type_,) = operands
    if not isinstance(type_, ScalarType):
        raise OpError(f"a scalar expected, got {type_}")
    return (VectorType(type_.dtype, attrs.lanes),)


def _infer_first_lanes(operands: tuple[Type, ...], attrs: LanesAttrs) -> tuple[Type, ...]:
    _indices(operands)
    return (VectorType("i1", attrs.lanes),)


def _infer_lane_numbers(_: tuple[Type, ...], attrs: LanesAttrs) -> tuple[Type, ...]:
    return (VectorType("i64", attrs.lanes),)


def _pointee(type_: Type) -> str:
    if not isinstance(type_, PointerType):
        raise OpError(f"a pointer expected, got {type_}")
    return type_.dtype


def _infer_load(operands: tuple[Type, ...], attrs: LanesAttrs) -> tuple[Type, ...]:
    dtype = _pointee(operands[0])
    _indices(operands[1:])
    return (VectorType(dtype, attrs.lanes) if attrs.lanes else ScalarType(dtype),)


def _infer_store(operands: tuple[Type, ...], _: Any) -> tuple[Type, ...]:
    value, pointer, *indices = operands
    if _pointee(pointer) != getattr(value, "dtype", None):
        raise OpError(f"cannot store {value} through {pointer}")
    _indices(tuple(indices))
    return ()


def _indices(types: tuple[Type, ...]) -> None:
    if any(t != I64 for t in types):
        raise OpError(f"indices are i64, got {', '.join(map(str, types))}")


def _infer_shuffle(operands: tuple[Type, ...], attrs: ShuffleAttrs) -> tuple[Type, ...]:
    (type_,) = _same(operands, attrs)
    if not isinstance(type_, VectorType) or any(not 0 <= i < 2 * type_.lanes for i in attrs.lanes):
        raise OpError(f"lanes {attrs.lanes} do not exist in two of {type_}", attr="lanes")
    return (VectorType(type_.dtype, len(attrs.lanes)),)


def _infer_lane(operands: tuple[Type, ...], _: Any) -> tuple[Type, ...]:
    (type_,) = operands
    if not isinstance(type_, VectorType):
        raise OpError(f"a vector expected, got {type_}")
    return (ScalarType(type_.dtype),)


def _infer_prefetch(operands: tuple[Type, ...], attrs: PrefetchAttrs) -> tuple[Type, ...]:
    pointer, index = operands
    if attrs.level not in (1, 2):
        raise OpError(f"a cache of level 1 or 2 expected, got {attrs.level}", attr="level")
    if not isinstance(pointer, PointerType) or index != I64:
        raise OpError(f"a pointer and an i64 expected, got {pointer} and {index}")
    return ()


def _infer_fence(_: tuple[Type, ...], __: Any) -> tuple[Type, ...]:
    return ()


def _infer_for(operands: tuple[Type, ...], _: Any, body: Block) -> tuple[Type, ...]:
    _indices(operands[:3])
    carried = operands[3:]
    if tuple(a.type for a in body.args) != (I64, *carried):
        raise OpError("the body takes the index and the carried values")
    if tuple(v.type for v in body.results) != carried:
        raise OpError("the body yields the carried values")
    return carried


def _infer_if(operands: tuple[Type, ...], _: Any, body: Block) -> tuple[Type, ...]:
    if operands != (I1,) or body.args or body.results:
        raise OpError("a condition and a body without arguments and results expected")
    return ()


def _define(
    name: str, doc: str, operands: tuple[str, ...], infer: InferRule, attrs: type[Any] = NoAttrs
) -> None:
    define(OpDef(f"loop.{name}", "loop", doc, operands, attrs, infer=infer))


_define("const", "A constant.", (), _infer_const, ConstAttrs)
for _name, _doc in {
    "add": "x + y.",
    "sub": "x - y.",
    "mul": "x * y.",
    "div": "x / y; of integers, rounded toward zero.",
    "rem": "The remainder of integers.",
    "min": "x where x < y, else y.",
    "max": "x where x > y, else y: with a NaN the result is y.",
    "and": "Bits in both.",
    "or": "Bits in either.",
    "xor": "Bits in one of them only.",
    "shl": "x shifted left by y bits.",
    "shr": "x shifted right by y bits, zeros moving in.",
}.items():
    _define(_name, _doc, ("x", "y"), _same)
for _name, _doc in {
    "neg": "-x.",
    "abs": "|x|.",
    "sqrt": "The square root.",
    "floor": "The largest whole number not above x.",
    "round": "The nearest whole number, ties to even.",
}.items():
    _define(_name, _doc, ("x",), _same)
_define("fma", "x * y + z, rounded once.", ("x", "y", "z"), _same)
_define(
    "dot_bf16",
    "z plus two products: a lane of x and of y is two bf16. The order of the sum is the target's.",
    ("x", "y", "z"),
    _infer_dot("f32"),
)
_define(
    "dot_u8",
    "z plus four products: a lane of x is four u8, of y four i8. Exact, wrapping around.",
    ("x", "y", "z"),
    _infer_dot("i32"),
)
_define("recast", "The pointer, to elements of another dtype.", ("pointer",), _infer_recast, PointerAttrs)
_define("compare", "i1 per element.", ("x", "y"), _infer_compare, CompareAttrs)
_define("select", "yes where the condition holds, else no.", ("condition", "yes", "no"), _infer_select)
_define("cast", "Another dtype.", ("x",), _infer_cast, CastAttrs)
_define("splat", "A scalar in every lane.", ("x",), _infer_splat, LanesAttrs)
_define(
    "first_lanes",
    "A condition a lane: whether it is below count.",
    ("count",),
    _infer_first_lanes,
    LanesAttrs,
)
_define("lane_numbers", "0, 1, 2, … in the lanes.", (), _infer_lane_numbers, LanesAttrs)
_define("load", "Elements from index on.", ("pointer", "index"), _infer_load, LanesAttrs)
_define(
    "load_first",
    "The first `count` lanes from index on; 0 in the others, whose memory is not touched.",
    ("pointer", "index", "count"),
    _infer_load,
    LanesAttrs,
)
_define(
    "load_strided", "Lane i from index + i * stride.", ("pointer", "index", "stride"), _infer_load, LanesAttrs
)
_define("store", "Elements from index on.", ("value", "pointer", "index"), _infer_store)
_define(
    "store_first",
    "The first `count` lanes; the memory of the others is not touched.",
    ("value", "pointer", "index", "count"),
    _infer_store,
)
_define(
    "prefetch",
    "Brings the line of an element to the cache of a level. The element need not exist.",
    ("pointer", "index"),
    _infer_prefetch,
    PrefetchAttrs,
)
_define(
    "fence",
    "Code generation neither merges nor moves memory accesses across: keeps registers free for accumulators.",
    (),
    _infer_fence,
)
_define("shuffle", "Lanes picked from x and y.", ("x", "y"), _infer_shuffle, ShuffleAttrs)
_define("extract", "One lane.", ("x",), _infer_lane, LanesAttrs)
_define("reduce", "All lanes to one.", ("x",), _infer_lane, ReduceLanesAttrs)
define(
    OpDef(
        "loop.for",
        "loop",
        "Counts from lo while below hi by step (> 0), carrying values.",
        ("lo", "hi", "step", "carried*"),
        NoAttrs,
        infer_body=_infer_for,
    )
)
define(
    OpDef(
        "loop.if",
        "loop",
        "Runs its body where the condition holds.",
        ("condition",),
        NoAttrs,
        infer_body=_infer_if,
    )
)
