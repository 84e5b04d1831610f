"""Datum messages, the records of Caffe's databases: an image or an array, with a label.

Raw records of one shape have equal bytes around their pixels, so that a batch of them is read as one
array; only other records are parsed one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netc.frontend.wire import FIXED32, LENGTH, VARINT, WireError, length_prefix, read_varint, varint, walk

CHANNELS, HEIGHT, WIDTH, DATA, LABEL, FLOAT_DATA, ENCODED = range(1, 8)
_INTEGERS = (CHANNELS, HEIGHT, WIDTH, LABEL, ENCODED)
_SMALL = 0x80  # integers below this take one byte


class Datum(NamedTuple):
    """One record. ``data`` are pixels (uint8, channel by channel) or an encoded image; else floats count."""

    channels: int
    height: int
    width: int
    data: bytes
    label: int
    floats: NDArray[np.float32] | None = None
    encoded: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) as the record states them."""
        return self.channels, self.height, self.width

    def values(self) -> NDArray[np.uint8] | NDArray[np.float32]:
        """The elements (channels, height, width) of a record that is not encoded; else ``WireError``."""
        found = np.frombuffer(self.data, np.uint8) if self.data or self.floats is None else self.floats
        expected = self.channels * self.height * self.width
        if min(self.shape) < 1 or found.size != expected:
            shown = "x".join(map(str, self.shape))
            raise WireError(f"{found.size} elements for a shape of {shown}", 0)
        return found.reshape(self.shape)


class RawBatch(NamedTuple):
    """Raw records of one shape: pixels (count, channels, height, width) uint8 and their labels (count)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


def parse_datum(record: bytes) -> Datum:
    """The record; ``WireError`` where the bytes are none."""
    integers = dict.fromkeys(_INTEGERS, 0)
    data = b""
    floats: list[NDArray[np.float32]] = []
    for field in walk(record, 0, len(record)):
        if field.number in integers and field.wire_type == VARINT:
            integers[field.number] = _int32(read_varint(record, field.start, field.end)[0])
        elif field.number == DATA and field.wire_type == LENGTH:
            data = record[field.start : field.end]
        elif field.number == FLOAT_DATA and field.wire_type in (LENGTH, FIXED32):
            if (field.end - field.start) % 4:
                raise WireError("floats that are cut off", field.tag)
            floats.append(np.frombuffer(record[field.start : field.end], "<f4"))
    return Datum(
        integers[CHANNELS], integers[HEIGHT], integers[WIDTH], data, integers[LABEL],
        np.concatenate(floats) if floats else None, bool(integers[ENCODED]),
    )  # fmt: skip


def write_datum(datum: Datum) -> bytes:
    """The bytes of a record, its fields in the order in which the original writes them."""
    parts = [
        bytes([number << 3]) + varint(value)
        for number, value in zip((CHANNELS, HEIGHT, WIDTH), datum.shape, strict=True)
        if value  # encoded images have no extents
    ]
    if datum.floats is None or datum.data:
        parts += [length_prefix(DATA, len(datum.data)), datum.data]
    parts.append(bytes([LABEL << 3]) + varint(datum.label % 2**64))
    if datum.floats is not None:
        tag = bytes([FLOAT_DATA << 3 | FIXED32])
        parts += [tag + each.tobytes() for each in datum.floats.astype("<f4")]
    if datum.encoded:
        parts.append(bytes([ENCODED << 3, 1]))
    return b"".join(parts)


def read_raw_batch(records: Sequence[bytes]) -> RawBatch | None:
    """All records at once where they are raw, of one shape, with labels below 128; else None."""
    first = records[0]
    try:
        datum = parse_datum(first)
        fields = {field.number: field for field in walk(first, 0, len(first))}
    except WireError:
        return None  # what is wrong is said where each record is parsed
    size = datum.channels * datum.height * datum.width
    if datum.encoded or not size or size != len(datum.data) or not 0 <= datum.label < _SMALL:
        return None
    if DATA not in fields or any(len(record) != len(first) for record in records):
        return None
    rows = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), len(first))
    start, end = fields[DATA].start, fields[DATA].end
    template = rows[0].copy()
    label = fields[LABEL].start if LABEL in fields else None
    around = np.concatenate([rows[:, :start], rows[:, end:]], axis=1)
    expected = np.concatenate([template[:start], template[end:]])
    if label is not None:
        at = label if label < start else label - (end - start)
        labels = around[:, at].astype(np.int64)
        around[:, at] = expected[at]
    else:
        labels = np.zeros(len(records), np.int64)
    if labels.max() >= _SMALL or not (around == expected).all():
        return None
    return RawBatch(rows[:, start:end].reshape(len(records), *datum.shape), labels)


def _int32(value: int) -> int:
    """What protobuf makes of an integer in a field of 32 bits."""
    value &= 2**32 - 1
    return value - 2**32 if value >= 2**31 else value
