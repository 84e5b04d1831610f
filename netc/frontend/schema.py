"""The schema of Caffe's messages, read from ``caffe.proto`` when it is first needed.

The text format and ``Message`` work on the small classes of this file. The protobuf library is
needed for binary files only, and gets the same schema from ``netc.frontend.binary``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from lark import Lark, Token, Transformer

Scalar = bool | int | float | str | bytes
"""A value of a field that is not a message; an enum's value is its name."""

INTEGER_RANGES: Mapping[str, tuple[int, int]] = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
_ZERO: Mapping[str, Scalar] = {"bool": False, "float": 0.0, "double": 0.0, "string": "", "bytes": b""}
_FIELD = re.compile(r"(\w+)\s+([\w.]+)\s+(\w+)\s*=\s*(\d+)\s*(?:\[([^\]]*)\])?")


@dataclass(frozen=True, slots=True)
class EnumType:
    """The names of an enum with their numbers, in the schema's order."""

    name: str
    values: Mapping[str, int]

    def name_of(self, number: int) -> str | None:
        """The name with this number, or None."""
        return next((name for name, value in self.values.items() if value == number), None)


@dataclass(slots=True)
class FieldType:
    """A field of a message. ``kind`` is a scalar's type name, ``"enum"`` or ``"message"``."""

    name: str
    number: int
    kind: str
    repeated: bool
    required: bool
    packed: bool
    type_name: str
    default: Scalar | None = None
    """The value of a field that is not set; None for messages."""
    has_declared_default: bool = False
    enum: EnumType | None = None
    message: MessageType | None = None


@dataclass(slots=True)
class MessageType:
    """A message of the schema: its fields by name, in the schema's order."""

    name: str
    fields: dict[str, FieldType] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    enums: dict[str, EnumType] = field(default_factory=dict)

    def by_number(self) -> list[FieldType]:
        """The fields in the order of their numbers, which is the order Caffe prints them in."""
        return sorted(self.fields.values(), key=lambda each: each.number)


@dataclass(frozen=True, slots=True)
class Schema:
    """All messages and file-level enums."""

    messages: Mapping[str, MessageType]
    enums: Mapping[str, EnumType]


def message_type(name: str) -> MessageType:
    """The message with this name, for example ``"LayerParameter"``."""
    return schema().messages[name]


@cache
def schema() -> Schema:
    """The whole schema; read once."""
    directory = files("netc.frontend")
    grammar = (directory / "proto.lark").read_text(encoding="utf-8")
    text = (directory / "caffe.proto").read_text(encoding="utf-8")
    parser = Lark(grammar, parser="lalr", lexer="basic", transformer=_Builder())
    result = parser.parse(text)
    assert isinstance(result, Schema)
    return result


class _Builder(Transformer[Token, Schema]):
    """Makes the schema's classes while the parser runs."""

    def enum(self, children: list[Token]) -> EnumType:
        pairs = (child[:-1].split("=") for child in children[1:])
        return EnumType(str(children[0]), {name.strip(): int(number) for name, number in pairs})

    def message(self, children: list[Token | EnumType]) -> MessageType:
        result = MessageType(str(children[0]))
        for child in children[1:]:
            if isinstance(child, EnumType):
                result.enums[child.name] = child
            else:
                made = _field(child)
                result.fields[made.name] = made
        result.required = tuple(each.name for each in result.fields.values() if each.required)
        return result

    def header(self, _children: list[Token]) -> None:
        return None

    def start(self, children: list[MessageType | EnumType | None]) -> Schema:
        messages = {each.name: each for each in children if isinstance(each, MessageType)}
        enums = {each.name: each for each in children if isinstance(each, EnumType)}
        for message in messages.values():
            for each in message.fields.values():
                _resolve(each, message, messages, enums)
        return Schema(messages, enums)


def _field(text: str) -> FieldType:
    """The field that one declaration describes; its type is resolved when all messages are known."""
    match = _FIELD.match(text)
    assert match is not None, text
    label, kind, name, number, options = match.groups()
    made = FieldType(name, int(number), kind, label == "repeated", label == "required", False, kind)
    for option in (options or "").split(","):
        key, _, value = (part.strip() for part in option.partition("="))
        if key == "packed":
            made.packed = value == "true"
        elif key == "default":
            made.has_declared_default = True
            made.default = _default(kind, value)
    return made


def _default(kind: str, text: str) -> Scalar:
    if kind in ("float", "double"):
        return float(text)
    if kind == "bool":
        return text == "true"
    if kind in INTEGER_RANGES:
        return int(text)
    return text.strip("\"'")  # a string, or the name of an enum's value


def _resolve(
    each: FieldType, owner: MessageType, messages: Mapping[str, MessageType], enums: Mapping[str, EnumType]
) -> None:
    """Find the message or the enum that a field's type names, and its default where none is declared."""
    if each.kind in INTEGER_RANGES or each.kind in _ZERO:
        if each.default is None:
            each.default = _ZERO.get(each.kind, 0)
    elif each.kind in messages:
        each.message, each.kind = messages[each.kind], "message"
    else:
        scope, _, name = each.kind.rpartition(".")
        scopes = messages[scope].enums if scope else owner.enums
        each.enum, each.kind = scopes.get(name) or enums[name], "enum"
        if each.default is None:
            each.default = next(iter(each.enum.values))
