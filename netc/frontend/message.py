"""A message of Caffe's schema as the front end handles it: typed, with the location of every value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from netc.frontend.schema import FieldType, MessageType, Scalar, message_type
from netc.ir.location import Location

Value: TypeAlias = "Scalar | Message"


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field that the schema lacks, as it was written.

    ``value`` is the text of a scalar (a string keeps its quotes), or the fields of a message.
    """

    name: str
    value: str | tuple[UnknownField, ...]
    location: Location | None = field(default=None, compare=False)


class Message:
    """The fields of one message that were set, each with its location.

    A field's name that the schema lacks is a mistake of the caller: ``KeyError``.
    """

    __slots__ = ("_values", "_where", "location", "type", "unknown")

    def __init__(self, type_name: str | MessageType, location: Location | None = None) -> None:
        self.type = message_type(type_name) if isinstance(type_name, str) else type_name
        self.location = location
        self.unknown: list[UnknownField] = []
        self._values: dict[str, list[Value]] = {}
        self._where: dict[str, list[Location | None]] = {}

    @property
    def type_name(self) -> str:
        """The message's name in the schema, for example ``"LayerParameter"``."""
        return self.type.name

    # ---- reading

    def has(self, name: str) -> bool:
        """Whether the field was set (for a repeated one: has at least one value)."""
        return bool(self._values.get(self._field(name).name))

    def get(self, name: str) -> Value:
        """The field's value, or the schema's default; a message that is not set is an empty one."""
        each = self._field(name)
        if each.repeated:
            raise KeyError(f"{self.type_name}.{name} is repeated: use list()")
        values = self._values.get(name)
        if values:
            return values[0]
        if each.message is not None:
            return Message(each.message, self.location)
        assert each.default is not None
        return each.default

    def text(self, name: str) -> str:
        """``get`` for a string or an enum."""
        value = self.get(name)
        assert isinstance(value, str), name
        return value

    def integer(self, name: str) -> int:
        """``get`` for an integer."""
        value = self.get(name)
        assert isinstance(value, int), name
        return value

    def number(self, name: str) -> float:
        """``get`` for a float or a double."""
        value = self.get(name)
        assert isinstance(value, (float, int)), name
        return float(value)

    def flag(self, name: str) -> bool:
        """``get`` for a bool."""
        value = self.get(name)
        assert isinstance(value, bool), name
        return value

    def message(self, name: str) -> Message:
        """``get`` for a message."""
        value = self.get(name)
        assert isinstance(value, Message), name
        return value

    def list(self, name: str) -> tuple[Value, ...]:
        """The values of a field in order; those of a field that is not repeated are none or one."""
        return tuple(self._values.get(self._field(name).name, ()))

    def texts(self, name: str) -> tuple[str, ...]:
        """``list`` for strings or enums."""
        return tuple(value for value in self.list(name) if isinstance(value, str))

    def integers(self, name: str) -> tuple[int, ...]:
        """``list`` for integers."""
        return tuple(value for value in self.list(name) if isinstance(value, int))

    def numbers(self, name: str) -> tuple[float, ...]:
        """``list`` for floats and doubles."""
        return tuple(float(value) for value in self.list(name) if isinstance(value, (float, int)))

    def messages(self, name: str) -> tuple[Message, ...]:
        """``list`` for messages."""
        return tuple(value for value in self.list(name) if isinstance(value, Message))

    def where(self, name: str, index: int = 0) -> Location | None:
        """Where the field's value stands; where it is not set, the message's own location."""
        places = self._where.get(self._field(name).name, ())
        return (places[index] if index < len(places) else None) or self.location

    def fields(self) -> Iterator[tuple[str, tuple[Value, ...]]]:
        """The fields that were set with their values, in the order they were first set."""
        return ((name, tuple(values)) for name, values in self._values.items() if values)

    # ---- changing

    def set(self, name: str, value: Value, location: Location | None = None) -> None:
        """Give a field that is not repeated its value."""
        each = self._field(name)
        if each.repeated:
            raise KeyError(f"{self.type_name}.{name} is repeated: use add()")
        self._values[name] = [value]
        self._where[name] = [location]

    def add(self, name: str, value: Value, location: Location | None = None) -> None:
        """Append a value to a repeated field."""
        if not self._field(name).repeated:
            raise KeyError(f"{self.type_name}.{name} is not repeated: use set()")
        self._append(name, value, location)

    def replace(self, name: str, index: int, value: Value, location: Location | None = None) -> None:
        """Put another value in the place of one that is set."""
        self._values[self._field(name).name][index] = value
        self._where[name][index] = location

    def ensure(self, name: str, location: Location | None = None) -> Message:
        """The message in a field; an empty one is put there if it is not set."""
        if not self.has(name):
            each = self._field(name)
            assert each.message is not None, name
            self.set(name, Message(each.message, location), location)
        return self.message(name)

    def clear(self, name: str) -> None:
        """Unset a field."""
        self._values.pop(self._field(name).name, None)
        self._where.pop(name, None)

    def take(self, name: str, source: Message, source_name: str | None = None) -> None:
        """Append all values of a field of ``source`` to this message's field, with their locations."""
        origin = source_name or name
        for value, location in zip(source.list(origin), source._where.get(origin, ()), strict=True):
            self._append(name, value, location)

    def copy(self) -> Message:
        """A message that shares nothing that could change with this one."""
        made = Message(self.type, self.location)
        made.unknown = list(self.unknown)
        made._where = {name: list(places) for name, places in self._where.items()}
        for name, values in self._values.items():
            made._values[name] = [each.copy() if isinstance(each, Message) else each for each in values]
        return made

    def _append(self, name: str, value: Value, location: Location | None) -> None:
        self._values.setdefault(self._field(name).name, []).append(value)
        self._where.setdefault(name, []).append(location)

    def _field(self, name: str) -> FieldType:
        try:
            return self.type.fields[name]
        except KeyError:
            raise KeyError(f"{self.type_name} has no field {name!r}") from None

    # ---- comparing

    def __eq__(self, other: object) -> bool:
        """Equal fields and unknown fields; locations and the order of fields do not matter."""
        if not isinstance(other, Message):
            return NotImplemented
        return (
            self.type_name == other.type_name
            and dict(self.fields()) == dict(other.fields())
            and self.unknown == other.unknown
        )

    __hash__ = None  # type: ignore[assignment]  # it can change

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={list(values)!r}" for name, values in self.fields())
        return f"{self.type_name}({shown})"


def collect_unknown(message: Message) -> list[tuple[str, Location]]:
    """Every field the schema lacks, as a path (``layer[3].pooling_param.foo``) and its location."""
    return list(_unknown(message, ""))


def _unknown(message: Message, prefix: str) -> Iterable[tuple[str, Location]]:
    for each in message.unknown:
        yield prefix + each.name, each.location or message.location or Location("<unknown>", 1, 1)
    for name, values in message.fields():
        repeated = message.type.fields[name].repeated
        for index, value in enumerate(values):
            if isinstance(value, Message):
                yield from _unknown(value, f"{prefix}{name}[{index}]." if repeated else f"{prefix}{name}.")
