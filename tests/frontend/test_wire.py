import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc.frontend.binary import message_class
from netc.frontend.wire import WireError, read_varint, varint, walk


@given(st.integers(0, 2**64 - 1))
def test_a_varint_reads_back(value):
    data = b"x" + varint(value) + b"y"
    assert read_varint(data, 1, len(data)) == (value, len(data) - 1)


def walked(data):
    """The fields up to the end or to an error, and the offset of either."""
    fields = []
    try:
        for field in walk(data, 0, len(data)):
            fields.append(field)
    except WireError as error:
        return fields, error.offset
    return fields, len(data)


@given(st.binary(max_size=60))
def test_a_walk_stays_in_its_bounds_or_says_where_it_fails(data):
    fields, stop = walked(data)
    for before, field in zip([0, *(field.end for field in fields)], fields, strict=False):
        assert before == field.tag < field.start <= field.end <= len(data)
    end = fields[-1].end if fields else 0
    assert end <= stop <= len(data)


def test_the_fields_of_a_message_are_those_the_protobuf_library_wrote():
    blob = message_class("BlobProto")(num=3, data=[1, 2], double_data=[1])
    data = blob.SerializeToString()
    assert {(field.number, field.end - field.start) for field in walk(data, 0, len(data))} == {
        (1, 1),
        (5, 8),
        (8, 8),
    }


def test_a_walk_does_not_look_behind_its_end():
    with pytest.raises(WireError, match="claims 2 bytes, and 1 are left"):
        list(walk(b"\x0a\x02ab", 0, 3))
