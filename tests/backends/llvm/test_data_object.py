import io
import struct

import pytest

from netc.backends.llvm.data_object import MACHINES, MAX_BYTES, write_data_object
from netc.backends.llvm.target import parse_target
from netc.ir.diagnostics import NetcError


@pytest.mark.parametrize("name", ["cpu:avx2", "cpu:aarch64-linux"])
def test_the_data_of_all_pieces_follows_the_header_aligned(name):
    target = parse_target(name)
    file = io.BytesIO()
    write_data_object(file, "values", [b"abc", b"", b"defghijk"], 11, target)
    content = file.getvalue()
    assert content[:4] == b"\x7fELF"
    assert struct.unpack_from("<HH", content, 16) == (1, MACHINES[target.architecture])
    assert content[64 : 64 + 11] == b"abcdefghijk"
    sections_at = struct.unpack_from("<Q", content, 40)[0]
    assert sections_at % 8 == 0
    assert len(content) == sections_at + 5 * 64


def test_pieces_of_another_size_are_a_mistake():
    with pytest.raises(ValueError, match="3 bytes of data, not 4"):
        write_data_object(io.BytesIO(), "values", [b"abc"], 4, parse_target("cpu:avx2"))


def test_more_data_than_code_can_reach_is_refused():
    with pytest.raises(NetcError, match="a library takes") as error:
        write_data_object(io.BytesIO(), "values", [], MAX_BYTES + 1, parse_target("cpu:avx2"))
    assert ".netc" in str(error.value)
