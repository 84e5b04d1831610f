"""Checks attribute values that come from text against the annotations of an attrs dataclass."""

from __future__ import annotations

import functools
import types
import typing
from typing import Any, Literal, get_args, get_origin

from netc.ir.dim import Dim, SymDim

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a word",
    SymDim: "a dimension",
}


def attr_types(attrs: Any) -> dict[str, Any]:
    """Attribute name -> annotation of an attrs dataclass, resolved."""
    return _resolved(attrs)


@functools.cache
def _resolved(attrs: Any) -> dict[str, Any]:
    return typing.get_type_hints(attrs)


def checked_attr(value: Any, expected: Any) -> Any:
    """The value as the annotation wants it (whole numbers become floats); ValueError if it does not fit."""
    for accepted in _alternatives(expected):
        found = _fitted(value, accepted)
        if found is not None or (value is None and accepted is type(None)):
            return found
    raise ValueError(f"expected {describe(expected)}")


def describe(expected: Any) -> str:
    """An annotation in words."""
    alternatives = _alternatives(expected)
    if expected == Dim:
        return "a dimension"
    if len(alternatives) > 1:
        return " or ".join(describe(a) for a in alternatives)
    if get_origin(expected) is Literal:
        return " or ".join(map(str, get_args(expected)))
    if get_origin(expected) is tuple:
        entries = get_args(expected)
        if entries[-1] is Ellipsis:
            return f"a list (each {describe(entries[0])})"
        return f"a list of {len(entries)} (each {describe(entries[0])})"
    if expected is type(None):
        return "none"
    return _WORDS.get(expected) or f"a {getattr(expected, '__name__', expected)}"


def _alternatives(expected: Any) -> tuple[Any, ...]:
    return get_args(expected) if get_origin(expected) in (typing.Union, types.UnionType) else (expected,)


def _fitted(value: Any, expected: Any) -> Any:
    """The value, or None where it does not fit one alternative."""
    origin = get_origin(expected)
    if origin is Literal:
        return value if isinstance(value, str) and value in get_args(expected) else None
    if origin is tuple:
        return _fitted_tuple(value, get_args(expected))
    if isinstance(value, bool):
        return value if expected is bool else None
    if expected is float and isinstance(value, int):
        return float(value) if abs(value) < 2**63 else None
    return value if isinstance(expected, type) and isinstance(value, expected) else None


def _fitted_tuple(value: Any, entries: tuple[Any, ...]) -> tuple[Any, ...] | None:
    if not isinstance(value, tuple):
        return None
    if entries[-1] is Ellipsis:
        entries = (entries[0],) * len(value)
    if len(entries) != len(value):
        return None
    try:
        return tuple(checked_attr(v, e) for v, e in zip(value, entries, strict=True))
    except ValueError:
        return None
