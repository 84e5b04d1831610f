"""Puts values of the ``.net`` language into the fields of messages."""

from __future__ import annotations

from netc.frontend.dsl.values import Blob, FieldItem, Item, ListValue, Raw, RecordValue, describe, show_number
from netc.frontend.field_values import check_scalar, wanted
from netc.frontend.message import Message, UnknownField
from netc.frontend.schema import FieldType
from netc.frontend.suggest import did_you_mean
from netc.frontend.text_print import quoted
from netc.frontend.text_values import ValueTextError
from netc.ir.diagnostics import NetcError


def put_field(message: Message, item: FieldItem) -> None:
    """Put what was written as ``name: value`` into a message; ``none`` leaves the field alone."""
    field = message.type.fields.get(item.name)
    if item.unknown:
        put_unknown(message, item)
    elif field is None:
        raise no_field(message.type_name, item, tuple(message.type.fields))
    else:
        put_value(message, field, item.item)


def no_field(where: str, item: FieldItem, choices: tuple[str, ...]) -> NetcError:
    """The error for a field that does not exist."""
    return NetcError(
        f"{where} has no field '{item.name}'",
        location=item.location,
        span=len(item.name),
        remedy=did_you_mean(item.name, choices)
        or f"a field that only a fork of Caffe knows is marked: {item.name}?",
    )


def put_value(message: Message, field: FieldType, item: Item) -> None:
    """Put a value into a field: a list into a repeated one, ``none`` nowhere."""
    if item.value is None:
        return
    if field.repeated:
        items = item.value.items if isinstance(item.value, ListValue) else (item,)
        for each in items:
            message.add(field.name, _single(field, each), each.location)
    elif message.has(field.name):
        raise NetcError(
            f"'{field.name}' is given twice",
            location=item.location,
            notes=(f"first given at {message.where(field.name)}",),
        )
    else:
        message.set(field.name, _single(field, item), item.location)


def put_unknown(message: Message, item: FieldItem) -> None:
    """Keep a field that the schema lacks."""
    if item.name in message.type.fields:
        raise NetcError(
            f"{message.type_name} does have a field '{item.name}'",
            location=item.location,
            span=len(item.name),
            remedy="leave out the '?'",
        )
    message.unknown.extend(_unknown(item))


def fill(message: Message, record: RecordValue) -> None:
    """Put all fields of a value that is a message."""
    for item in record.fields.values():
        put_field(message, item)


def _single(field: FieldType, item: Item) -> Message | bool | int | float | str | bytes:
    value = item.value
    if field.message is not None:
        if not isinstance(value, RecordValue):
            raise NetcError(
                f"'{field.name}' takes a message, got {describe(value)}",
                location=item.location,
                remedy="write a message as { field: value, ... }",
            )
        made = Message(field.message, item.location)
        fill(made, value)
        for name in field.message.required:
            if not made.has(name):
                raise NetcError(f"{field.message.name} needs the field '{name}'", location=item.location)
        return made
    if isinstance(value, Blob) and field.kind == "string":
        return value.name
    if value is None or isinstance(value, Blob | Raw | ListValue | RecordValue):
        raise NetcError(
            f"'{field.name}' takes {wanted(field)}, got {describe(value)}", location=item.location
        )
    try:
        return check_scalar(field, value)
    except ValueTextError as error:
        raise NetcError(str(error), location=item.location, remedy=error.remedy) from None


def _unknown(item: FieldItem) -> list[UnknownField]:
    value = item.item.value
    items = value.items if isinstance(value, ListValue) else (item.item,)
    return [UnknownField(item.name, _raw(each), item.location) for each in items if each.value is not None]


def _raw(item: Item) -> str | tuple[UnknownField, ...]:
    match item.value:
        case RecordValue(fields):
            return tuple(unknown for field in fields.values() for unknown in _unknown(field))
        case Raw(text):
            return text
        case Blob(name):
            return quoted(name)
        case str(text):
            return quoted(text)
        case bool(flag):
            return "true" if flag else "false"
        case int(number) | float(number):
            return show_number(number)
        case other:
            raise NetcError(f"a field takes no {describe(other)}", location=item.location)
