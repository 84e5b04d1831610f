"""Conversions between our messages and those of the protobuf library."""

from __future__ import annotations

from typing import Any

from netc.frontend.binary import ProtobufMessage, message_class
from netc.frontend.message import Message, Value
from netc.frontend.schema import FieldType
from netc.frontend.text_values import nearest_float32
from netc.ir.location import Location


def from_protobuf(message: ProtobufMessage, location: Location | None = None) -> Message:
    """Our message with the fields of the library's; blobs of weights are left out.

    32-bit floats become their shortest decimals, so that they equal those read from text.
    """
    made = Message(message.DESCRIPTOR.name, location)
    for descriptor, content in message.ListFields():
        field = made.type.fields[descriptor.name]
        if field.type_name == "BlobProto":
            continue
        for value in content if field.repeated else (content,):
            ours = _from_value(field, value, location)
            if field.repeated:
                made.add(field.name, ours, location)
            else:
                made.set(field.name, ours, location)
    return made


def as_text(value: str | bytes) -> str:
    """A string of a binary file; the library gives bytes where it is not UTF-8, which are escaped here."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def to_protobuf(message: Message) -> ProtobufMessage:
    """The library's message with the same fields; unknown fields, which have no number, are left out."""
    made = message_class(message.type_name)()
    _fill(made, message)
    return made


def _from_value(field: FieldType, value: Any, location: Location | None) -> Value:
    if field.message is not None:
        return from_protobuf(value, location)
    if field.enum is not None:
        # the library keeps numbers without a name apart, so this one has a name
        return field.enum.name_of(value) or str(value)
    if field.kind == "float":
        return nearest_float32(value)
    if field.kind == "string":
        return as_text(value)
    assert isinstance(value, (bool, int, float, bytes))
    return value


def _fill(target: Any, message: Message) -> None:
    for name, values in message.fields():
        field = message.type.fields[name]
        if field.message is not None:
            for value in values:
                assert isinstance(value, Message)
                child = getattr(target, name).add() if field.repeated else getattr(target, name)
                child.SetInParent()
                _fill(child, value)
            continue
        plain = [field.enum.values[str(value)] if field.enum is not None else value for value in values]
        if field.repeated:
            getattr(target, name).extend(plain)
        else:
            setattr(target, name, plain[0])
