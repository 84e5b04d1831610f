"""Datum messages against the protobuf library, and many at once against one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data_sets import datums, pixels

from netc.frontend.binary import message_class
from netc.frontend.wire import WireError
from netc.runtime.data.datum import Datum, parse_datum, read_raw_batch, write_datum


@given(
    shape=st.tuples(*[st.integers(0, 2**31 - 1)] * 3),
    data=st.binary(max_size=20),
    label=st.integers(-(2**31), 2**31 - 1),
    floats=st.none() | st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5),
    encoded=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_records_mean_what_the_protobuf_library_reads(shape, data, label, floats, encoded):
    array = None if floats is None else np.array(floats, np.float32)
    record = write_datum(Datum(*shape, data, label, array, encoded))
    message = message_class("Datum").FromString(record)
    assert (message.channels, message.height, message.width) == shape
    assert (message.data, message.label, message.encoded) == (data, label, encoded)
    assert list(message.float_data) == (floats or [])
    again = parse_datum(message.SerializeToString())
    assert (again.shape, again.data, again.label, again.encoded) == (shape, data, label, encoded)
    assert (again.floats is None) == (floats is None)
    if floats is not None:
        np.testing.assert_array_equal(again.floats, array)


def test_packed_floats_and_unknown_fields_are_read():
    floats = np.arange(3, dtype="<f4")
    datum = parse_datum(
        bytes([6 << 3 | 2, 12]) + floats.tobytes() + bytes([9 << 3, 1, 15 << 3 | 2, 2]) + b"ab"
    )
    np.testing.assert_array_equal(datum.floats, floats)


@given(record=st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_record_or_a_wire_error(record):
    try:
        datum = parse_datum(record)
        if not datum.encoded:
            datum.values()
    except WireError:
        pass


def test_many_records_are_read_as_one_array():
    images = pixels(7, (3, 4, 5))
    found = read_raw_batch(datums(images, range(7)))
    np.testing.assert_array_equal(found.pixels, images)
    assert found.labels.tolist() == list(range(7))


def test_many_records_without_labels_have_the_label_0():
    records = [b"\x08\x01\x10\x01\x18\x02\x22\x02" + bytes([value, 9]) for value in range(3)]
    found = read_raw_batch(records)
    assert found.pixels[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert found.labels.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "odd",
    [
        Datum(1, 2, 3, bytes(6), 128),
        Datum(1, 3, 2, bytes(6), 1),
        Datum(1, 2, 3, bytes(5), 1),
        Datum(1, 2, 3, bytes(6), 1, encoded=True),
        Datum(1, 2, 3, b"", 1, np.zeros(6, np.float32)),
    ],
)
@pytest.mark.parametrize("place", [0, 2])
def test_records_that_differ_in_more_than_pixels_and_labels_are_left_to_the_slow_way(odd, place):
    records = datums(pixels(4, (1, 2, 3)), range(4))
    records[place] = write_datum(odd)
    assert read_raw_batch(records) is None
