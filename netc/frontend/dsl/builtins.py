"""The builtin functions of the ``.net`` language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netc.frontend.dsl.arithmetic import MAX_INTEGER, OperatorError, text_of
from netc.frontend.dsl.values import ListValue, Raw, RecordValue, Value, describe, is_number

Builtin = Callable[[Sequence[Value]], Value]


def _one(name: str, args: Sequence[Value]) -> Value:
    if len(args) != 1:
        raise OperatorError(f"{name}() takes one value, got {len(args)}")
    return args[0]


def _length(args: Sequence[Value]) -> Value:
    value = _one("len", args)
    if isinstance(value, ListValue):
        return len(value.items)
    if isinstance(value, RecordValue):
        return len(value.fields)
    if isinstance(value, str):
        return len(value)
    raise OperatorError(f"{describe(value)} has no length")


def _numbers(name: str, args: Sequence[Value]) -> list[int | float]:
    if len(args) == 1 and isinstance(args[0], ListValue):
        args = [item.value for item in args[0].items]
    wrong = next((value for value in args if not is_number(value)), None)
    if not args or wrong is not None:
        raise OperatorError(f"{name}() takes numbers, got {describe(wrong) if args else 'nothing'}")
    return [value for value in args if isinstance(value, int | float)]


def _integer(args: Sequence[Value]) -> Value:
    value = _one("int", args)
    if not is_number(value) or not isinstance(value, int | float) or not abs(value) <= MAX_INTEGER:
        raise OperatorError(f"int() takes a number, got {describe(value)}")
    return int(value)


def _raw(args: Sequence[Value]) -> Value:
    value = _one("raw", args)
    if not isinstance(value, str) or not value or any(ch in value for ch in "\n\r\0"):
        raise OperatorError(f"raw() takes the text of a scalar, got {describe(value)}")
    return Raw(value)


def _made_by_the_evaluator(args: Sequence[Value]) -> Value:
    raise AssertionError(args)


BUILTINS: Mapping[str, Builtin] = {
    "int": _integer,
    "layer": lambda args: _made_by_the_evaluator(args),
    "len": _length,
    "max": lambda args: max(_numbers("max", args)),
    "min": lambda args: min(_numbers("min", args)),
    "net": lambda args: _made_by_the_evaluator(args),
    "raw": _raw,
    "str": lambda args: text_of(_one("str", args)),
}
"""Functions by name. The evaluator itself knows what ``layer`` and ``net`` do."""
