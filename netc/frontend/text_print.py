"""Prints messages in the protobuf text format, the way Caffe's own tools do."""

from __future__ import annotations

from collections.abc import Iterator

from netc.frontend.message import Message, UnknownField, Value
from netc.frontend.schema import FieldType

_ESCAPES = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord('"'): '\\"', ord("\\"): "\\\\"}


def to_text(message: Message) -> str:
    """The message as text: one field a line, fields in the order of their numbers, unknown ones last."""
    return "".join(f"{line}\n" for line in _lines(message, ""))


def _lines(message: Message, indent: str) -> Iterator[str]:
    values = dict(message.fields())
    # the order of the numbers is a property of a type; only the fields that are set need sorting
    for field in sorted((message.type.fields[name] for name in values), key=lambda each: each.number):
        for value in values[field.name]:
            yield from _field_lines(field, value, indent)
    for unknown in message.unknown:
        yield from _unknown_lines(unknown, indent)


def _field_lines(field: FieldType, value: Value, indent: str) -> Iterator[str]:
    if isinstance(value, Message):
        yield f"{indent}{field.name} {{"
        yield from _lines(value, indent + "  ")
        yield indent + "}"
    else:
        yield f"{indent}{field.name}: {_scalar(field, value)}"


def _unknown_lines(field: UnknownField, indent: str) -> Iterator[str]:
    if isinstance(field.value, str):
        yield f"{indent}{field.name}: {field.value}"
    else:
        yield f"{indent}{field.name} {{"
        for each in field.value:
            yield from _unknown_lines(each, indent + "  ")
        yield indent + "}"


def _scalar(field: FieldType, value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return '"' + "".join(_byte(each) for each in value) + '"'
    if isinstance(value, str):
        return value if field.enum is not None else quoted(value)
    if isinstance(value, float):
        return repr(value).removesuffix(".0")  # 0.5, 3, 1e-05, -0, inf, nan
    return str(value)


def quoted(text: str) -> str:
    """A string with quotes and escapes."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_character(each) for each in text) + '"'


def _character(char: str) -> str:
    if ord(char) in _ESCAPES:
        return _ESCAPES[ord(char)]
    return char if char.isprintable() else "".join(f"\\{each:03o}" for each in char.encode("utf-8"))


def _byte(value: int) -> str:
    if value in _ESCAPES:
        return _ESCAPES[value]
    return chr(value) if 32 <= value < 127 else f"\\{value:03o}"
