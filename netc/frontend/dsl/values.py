"""The values of the ``.net`` language, and how errors speak of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from netc.ir.location import Location


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of the net, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Raw:
    """The text of a scalar as the prototxt shall have it, for a field that the schema lacks."""

    text: str


class Item(NamedTuple):
    """A value with the place it was written at."""

    value: Value
    location: Location


class FieldItem(NamedTuple):
    """A field of a message: its name, whether a ``?`` says that the schema lacks it, and its value.

    ``quoted``: the name was written as a string, which in a call means a field of the layer itself.
    """

    name: str
    unknown: bool
    item: Item
    location: Location
    quoted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ListValue:
    """A list. ``size`` counts all values in it, however deep; ``depth`` its levels."""

    items: tuple[Item, ...]
    size: int
    depth: int

    @classmethod
    def of(cls, items: tuple[Item, ...]) -> ListValue:
        """The list of these items."""
        return cls(items, *_extent(item.value for item in items))


@dataclass(frozen=True, slots=True, eq=False)
class RecordValue:
    """A message whose type is known only where it is used. ``size`` and ``depth`` as for a list."""

    fields: Mapping[str, FieldItem]
    size: int
    depth: int

    @classmethod
    def of(cls, fields: Mapping[str, FieldItem]) -> RecordValue:
        """The message with these fields."""
        return cls(fields, *_extent(field.item.value for field in fields.values()))


Value: TypeAlias = bool | int | float | str | Blob | Raw | ListValue | RecordValue | None


def _extent(values: Iterator[Value]) -> tuple[int, int]:
    size, depth = 1, 1
    for value in values:
        if isinstance(value, ListValue | RecordValue):
            size += value.size
            depth = max(depth, value.depth + 1)
        else:
            size += 1
    return size, depth


def is_number(value: Value) -> bool:
    """Whether a value is an integer or a float; a bool is neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(left: Value, right: Value) -> bool:
    """Whether two values are the same; places do not matter."""
    if isinstance(left, ListValue) and isinstance(right, ListValue):
        pairs = zip(left.items, right.items, strict=False)
        return len(left.items) == len(right.items) and all(equal(a.value, b.value) for a, b in pairs)
    if isinstance(left, RecordValue) and isinstance(right, RecordValue):
        return left.fields.keys() == right.fields.keys() and all(
            equal(field.item.value, right.fields[name].item.value) for name, field in left.fields.items()
        )
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def show_number(value: int | float) -> str:
    """A number as the text format prints it."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def describe(value: Value) -> str:
    """What a value is, in few words."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return show_number(value)
        case str():
            return f'the string "{value if len(value) <= 40 else value[:37] + "..."}"'
        case Blob():
            return f"the blob '{value.name}'"
        case Raw():
            return f"the text {value.text[:40]}"
        case ListValue():
            return "a list"
        case RecordValue():
            return "a message"
