"""Reads messages in the protobuf text format: every value gets the location it has in the text."""

from __future__ import annotations

from collections.abc import Iterable

from lark import Token

from netc.frontend.message import Message, UnknownField, Value
from netc.frontend.schema import FieldType, MessageType, message_type
from netc.frontend.text_syntax import Body, Entry, Listing, Pair, Strings, parse_syntax, split_scalar
from netc.frontend.text_values import ValueTextError, join_strings, parse_value
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source


def parse_text(source: Source, type_name: str = "NetParameter") -> Message:
    """The message that a text holds.

    Fields that the schema lacks are kept in ``Message.unknown``; everything else that is wrong is a
    ``NetcError`` at its place.
    """
    start = Location(source.name, 1, 1, source)
    return _Reader(source).message(message_type(type_name), parse_syntax(source), start)


class _Reader:
    """Matches the entries of one text with the schema."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def message(self, kind: MessageType, entries: Iterable[Entry], location: Location) -> Message:
        made = Message(kind, location)
        for entry in entries:
            if isinstance(entry, Token):
                self._add_scalar(made, entry)
            else:
                self._add_pair(made, entry)
        for name in kind.required:
            if not made.has(name):
                raise NetcError(f"{kind.name} needs the field '{name}'", location=location)
        return made

    def _add_scalar(self, message: Message, token: Token) -> None:
        """Add a field from a ``name: value`` token: the form of nearly every line."""
        name, _, rest = token.partition(":")
        text = rest.lstrip(" \t")
        field = message.type.fields.get(name.rstrip(" \t"))
        if field is None:
            self._add_unknown(message, Pair(*split_scalar(token)))
            return
        assert token.line is not None
        assert token.column is not None
        source = self._source
        location = Location(source.name, token.line, token.column + len(token) - len(text), source)
        self._put(message, field, self._scalar(field, text, location), location)

    def _add_pair(self, message: Message, pair: Pair) -> None:
        field = message.type.fields.get(pair.name)
        if field is None:
            self._add_unknown(message, pair)
        elif isinstance(pair.value, Listing):
            if not field.repeated:
                where = self._at(pair.value.opening)
                raise NetcError(f"'{field.name}' takes one value, got a list", location=where)
            for item in pair.value.items:
                self._put(message, field, *self._value(field, item, None))
        else:
            self._put(message, field, *self._value(field, pair.value, pair.name))

    def _put(self, message: Message, field: FieldType, value: Value, location: Location) -> None:
        if field.repeated:
            message.add(field.name, value, location)
        elif message.has(field.name):
            first = message.where(field.name)
            raise NetcError(
                f"'{field.name}' is given twice, and {message.type_name} takes it once",
                location=location,
                notes=(f"first given at {first}",),
            )
        else:
            message.set(field.name, value, location)

    def _value(
        self, field: FieldType, value: Token | Strings | Body, name: Token | None
    ) -> tuple[Value, Location]:
        """A field's value; a message's location is its name's, or its brace's inside a list."""
        if isinstance(value, Body):
            location = self._at(value.opening if name is None else name)
            if field.message is None:
                raise NetcError(f"'{field.name}' takes one value, got a message", location=location)
            return self.message(field.message, value.entries, location), location
        location = self._at(value.parts[0] if isinstance(value, Strings) else value)
        text = self._joined(value, location) if isinstance(value, Strings) else str(value)
        return self._scalar(field, text, location), location

    def _joined(self, strings: Strings, location: Location) -> str:
        for part in strings.parts:
            if part[0] not in "\"'":
                raise NetcError(f"a string follows {part}, which is none", location=location)
        return join_strings([str(part) for part in strings.parts])

    def _scalar(self, field: FieldType, text: str, location: Location) -> Value:
        if field.message is not None:
            raise NetcError(
                f"'{field.name}' takes a message, got {text[:40]}",
                location=location,
                remedy=f"write {field.name} {{ ... }}",
                span=len(text),
            )
        try:
            return parse_value(field, text)
        except ValueTextError as error:
            raise NetcError(str(error), location=location, remedy=error.remedy, span=len(text)) from None

    def _add_unknown(self, message: Message, pair: Pair) -> None:
        name = str(pair.name)
        if not (name.isidentifier() or name.startswith("[")):
            raise NetcError(f"expected a field's name, got {name!r}", location=self._at(pair.name))
        message.unknown.extend(self._unknown(pair))

    def _unknown(self, pair: Pair) -> list[UnknownField]:
        """A field that the schema lacks, unread: one for each value of a list."""
        values = pair.value.items if isinstance(pair.value, Listing) else [pair.value]
        location = self._at(pair.name)
        return [UnknownField(str(pair.name), self._raw(each), location) for each in values]

    def _raw(self, value: Token | Strings | Body) -> str | tuple[UnknownField, ...]:
        if isinstance(value, Strings):
            return self._joined(value, self._at(value.parts[0]))
        if isinstance(value, Token):
            return str(value)
        pairs = [Pair(*split_scalar(each)) if isinstance(each, Token) else each for each in value.entries]
        return tuple(field for pair in pairs for field in self._unknown(pair))

    def _at(self, token: Token) -> Location:
        return Location(self._source.name, token.line or 1, token.column or 1, self._source)
