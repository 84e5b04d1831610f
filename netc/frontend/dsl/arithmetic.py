"""The operators of the ``.net`` language, defined for what makes sense and bounded in what they make."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from netc.frontend.dsl.values import Blob, ListValue, Value, describe, equal, is_number, show_number

Unary = Callable[[Value], Value]

MAX_INTEGER = 2**63  # what a field can hold
MAX_EXPONENT = 64


class OperatorError(ValueError):
    """The operands are none of the operator. ``remedy`` as in ``NetcError``."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy


def apply(symbol: str, left: Value, right: Value) -> Value:
    """``left symbol right`` for every operator but ``and``, ``or`` and ``..``."""
    if symbol == "==":
        return equal(left, right)
    if symbol == "!=":
        return not equal(left, right)
    if symbol == "in":
        return _contains(left, right)
    if symbol in _ORDER:
        return _compare(symbol, left, right)
    if symbol == "+":
        if isinstance(left, str) and isinstance(right, str):
            return left + right
        if isinstance(left, ListValue) and isinstance(right, ListValue):
            return ListValue.of(left.items + right.items)
        if isinstance(left, str | Blob) or isinstance(right, str | Blob):
            raise OperatorError(
                f"{describe(left)} and {describe(right)} cannot be added",
                'values go into a text by braces: "conv{i}"',
            )
    return _bounded(symbol, _operand(symbol, left), _operand(symbol, right))


def negate(value: Value) -> Value:
    """``-value``."""
    return -_operand("-", value)


def text_of(value: Value) -> str:
    """What ``"{value}"`` becomes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return show_number(value)
    if isinstance(value, str):
        return value
    if isinstance(value, Blob):
        return value.name
    raise OperatorError(f"{describe(value)} has no text")


def truth(value: Value) -> bool:
    """The outcome of a test."""
    if isinstance(value, bool):
        return value
    remedy = "write the comparison out: x != none" if value is None else None
    raise OperatorError(f"expected true or false, got {describe(value)}", remedy)


def _contains(left: Value, right: Value) -> bool:
    if isinstance(right, ListValue):
        return any(equal(left, item.value) for item in right.items)
    if isinstance(right, str) and isinstance(left, str):
        return left in right
    raise OperatorError(f"'in' looks into lists and strings, got {describe(right)}")


def _compare(symbol: str, left: Value, right: Value) -> bool:
    compare = _ORDER[symbol]
    if isinstance(left, str) and isinstance(right, str):
        return compare(left, right)
    if is_number(left) and is_number(right):
        return compare(left, right)
    raise OperatorError(f"{describe(left)} and {describe(right)} have no order")


def _operand(symbol: str, value: Value) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise OperatorError(f"'{symbol}' takes numbers, got {describe(value)}")


def _bounded(symbol: str, left: int | float, right: int | float) -> int | float:
    if symbol in ("/", "//", "%") and right == 0:
        raise OperatorError("division by zero")
    if symbol == "**" and abs(right) > MAX_EXPONENT:
        raise OperatorError(f"an exponent is at most {MAX_EXPONENT}, got {show_number(right)}")
    try:
        result = _ARITHMETIC[symbol](left, right)
    except (OverflowError, ZeroDivisionError):
        raise OperatorError(f"{show_number(left)} {symbol} {show_number(right)} is no number") from None
    if isinstance(result, complex):
        raise OperatorError(f"{show_number(left)} {symbol} {show_number(right)} is no real number")
    if isinstance(result, int) and abs(result) > MAX_INTEGER:
        raise OperatorError("an integer beyond 64 bits")
    return result


_ORDER: Mapping[str, Callable[..., bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: Mapping[str, Callable[..., int | float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
