"""Walks the protobuf wire format without decoding what it finds, and never leaves its bounds."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple, TypeAlias

Buffer: TypeAlias = "bytes | mmap"

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10


class WireError(ValueError):
    """Bytes that are no protobuf message, and the offset where that shows."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class WireField(NamedTuple):
    """One field: its number, its wire type, and the bytes it takes.

    ``tag`` is the offset of its first byte, ``start`` to ``end`` are those of the value (for LENGTH
    without the length itself).
    """

    number: int
    wire_type: int
    tag: int
    start: int
    end: int


def walk(data: Buffer, start: int, end: int) -> Iterator[WireField]:
    """The fields of the message between two offsets."""
    position = start
    while position < end:
        tag = position
        key, position = read_varint(data, position, end)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise WireError("field number 0", tag)
        if wire_type == LENGTH:
            length, position = read_varint(data, position, end)
            if length > end - position:
                message = f"field {number} claims {length} bytes, and {end - position} are left"
                raise WireError(message, tag)
            stop = position + length
        elif wire_type == VARINT:
            _, stop = read_varint(data, position, end)
        elif wire_type in (FIXED32, FIXED64):
            stop = position + (4 if wire_type == FIXED32 else 8)
            if stop > end:
                raise WireError(f"field {number} is cut off", tag)
        else:
            raise WireError(f"field {number} has the unknown wire type {wire_type}", tag)
        yield WireField(number, wire_type, tag, position, stop)
        position = stop


def read_varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    """A variable-length integer and the offset behind it."""
    value = 0
    for count in range(MAX_VARINT_BYTES):
        if position + count >= end:
            raise WireError("an integer is cut off", position)
        byte = data[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    raise WireError(f"an integer of more than {MAX_VARINT_BYTES} bytes", position)


def varint(value: int) -> bytes:
    """The bytes of a variable-length integer."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def length_prefix(number: int, length: int) -> bytes:
    """What stands before the bytes of a LENGTH field."""
    return varint(number << 3 | LENGTH) + varint(length)
