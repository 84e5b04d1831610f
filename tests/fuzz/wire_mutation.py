"""Damages protobuf messages where they are deep: a field is changed, and the lengths around it fit again."""

from __future__ import annotations

from random import Random

from netc.frontend.wire import FIXED32, FIXED64, LENGTH, VARINT, WireError, WireField, varint, walk

from .mutation import BYTE_MUTATORS, Mutator, Pieces

_INTEGERS = (0, 1, 2, 3, 127, 128, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
_NUMBERS = (0, 1, 2, 5, 6, 7, 8, 9, 50, 100, 536870911, 2**61 - 1)


def change_field(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Change one field of a message, or of a message inside of it; bytes where the message is none."""
    try:
        fields = list(walk(data, 0, len(data)))
    except WireError:
        fields = []
    if not fields:
        return random.choice(BYTE_MUTATORS)(data, pieces, random)
    at = random.randrange(len(fields))
    chosen = fields[at]
    value = data[chosen.start : chosen.end]
    if chosen.wire_type == LENGTH and random.random() < 0.8:
        new = _encoded(chosen.number, LENGTH, change_field(value, pieces, random))
    else:
        new = _changed(chosen, data, value, pieces, random)
    return data[: chosen.tag] + new + data[chosen.end :]


def _changed(field: WireField, data: bytes, value: bytes, pieces: Pieces, random: Random) -> bytes:
    whole = data[field.tag : field.end]
    kind = random.randrange(6)
    if kind == 0:
        return b""
    if kind == 1:
        return whole * random.choice((2, 3, 100))
    if kind == 2:
        return _encoded(random.choice(_NUMBERS), field.wire_type, value)
    if kind == 3:
        return whole + _encoded(field.number, VARINT, varint(random.choice(_INTEGERS)))
    if kind == 4:
        return whole + _encoded(random.choice(_NUMBERS), LENGTH, random.choice(pieces.words))
    size = {FIXED32: 4, FIXED64: 8}.get(field.wire_type)
    return _encoded(field.number, field.wire_type, random.randbytes(size) if size else _other(field, random))


def _other(field: WireField, random: Random) -> bytes:
    return (
        varint(random.choice(_INTEGERS))
        if field.wire_type == VARINT
        else random.randbytes(random.randrange(9))
    )


def _encoded(number: int, wire_type: int, value: bytes) -> bytes:
    length = varint(len(value)) if wire_type == LENGTH else b""
    return varint(number << 3 | wire_type) + length + value


WIRE_MUTATORS: tuple[Mutator, ...] = (*BYTE_MUTATORS, *[change_field] * 14)
