"""Values that are Python objects already, checked against a field of the schema."""

from __future__ import annotations

from netc.frontend.schema import INTEGER_RANGES, FieldType, Scalar
from netc.frontend.suggest import did_you_mean
from netc.frontend.text_values import ValueTextError, nearest_float32

MAX_SHOWN = 40


def check_scalar(field: FieldType, value: object) -> Scalar:
    """The value as the field holds it; ``ValueTextError`` if it is none.

    Integers serve as floats. 32-bit floats become their shortest decimals, as when they are read from text.
    An enum's value is its name or its number.
    """
    kind = field.kind
    if kind == "bool":
        if isinstance(value, bool):
            return value
    elif kind in ("float", "double"):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return nearest_float32(float(value)) if kind == "float" else float(value)
    elif kind == "string":
        if isinstance(value, str):
            return value
    elif kind == "bytes":
        if isinstance(value, str | bytes):
            return value.encode("utf-8") if isinstance(value, str) else value
    elif kind == "enum":
        return _enum(field, value)
    elif isinstance(value, int) and not isinstance(value, bool):
        return _integer(field, value)
    remedy = None
    if isinstance(value, float) and kind in INTEGER_RANGES and value.is_integer():
        remedy = "'/' always gives a fraction; '//' divides whole numbers"
    raise ValueTextError(f"'{field.name}' takes {wanted(field)}, got {shown(value)}", remedy)


def wanted(field: FieldType) -> str:
    """What a field takes, in words."""
    if field.message is not None:
        return "a message"
    return {
        "bool": "true or false",
        "float": "a number",
        "double": "a number",
        "string": "a string",
        "bytes": "a string",
        "enum": "a name",
    }.get(field.kind, "an integer")


def shown(value: object) -> str:
    """A value in an error."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def _integer(field: FieldType, value: int) -> int:
    low, high = INTEGER_RANGES[field.kind]
    if not low <= value <= high:
        raise ValueTextError(f"'{field.name}' takes an integer from {low} to {high}, got {shown(value)}")
    return value


def _enum(field: FieldType, value: object) -> str:
    assert field.enum is not None
    if isinstance(value, str) and value in field.enum.values:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        name = field.enum.name_of(value)
        if name is not None:
            return name
    names = ", ".join(field.enum.values)
    remedy = did_you_mean(value, field.enum.values) if isinstance(value, str) else None
    raise ValueTextError(f"'{field.name}' takes one of {names}; got {shown(value)}", remedy)
