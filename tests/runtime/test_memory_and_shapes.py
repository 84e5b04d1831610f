import numpy as np
import pytest

from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked, pack
from netc.runtime.classify import image_input, input_ranks
from netc.runtime.memory import aligned_zeros, is_aligned, pack_aligned, parse_bytes, show_bytes
from netc.runtime.options import as_input_shapes, parse_input_shape


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7, 3), (2, 20, 3, 3)])
def test_arrays_start_at_a_cache_line(shape):
    array = aligned_zeros(shape, what="it")
    assert array.shape == shape
    assert is_aligned(array)
    assert not array.any()


@pytest.mark.parametrize("layout", [None, Blocked(0, 8), Blocked(1, 16), Blocked(2, 4), Blocked(3, 1)])
def test_packing_into_aligned_memory_is_packing(layout):
    array = np.random.default_rng(0).random((16, 20, 3, 5), np.float32)
    packed = pack_aligned(array, layout, what="it")
    assert is_aligned(packed)
    np.testing.assert_array_equal(packed, pack(array, layout))


def test_what_lies_right_is_not_copied():
    array = aligned_zeros((3, 4), what="it")
    assert pack_aligned(array, None, what="it") is array
    assert pack_aligned(array.T, None, what="it") is not array


def test_more_than_the_machine_has_is_refused():
    with pytest.raises(NetcError, match=r"the arena takes 4e\+06 TB, but this machine has .* of memory"):
        aligned_zeros((10**18,), what="the arena")


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1536, "1.54 kB"), (28_000_000, "28 MB"), (5 * 10**12, "5 TB")],
)
def test_sizes_are_shown_in_three_digits(size, shown):
    assert show_bytes(size) == shown


def test_input_shapes_are_numbers_or_symbols():
    assert parse_input_shape("data=N,3,H,W") == ("data", (symbol("N"), 3, symbol("H"), symbol("W")))
    assert parse_input_shape("a=b=1,2") == ("a=b", (1, 2))
    assert as_input_shapes({"data": ("N", "3", 4)}) == (("data", (symbol("N"), 3, 4)),)
    assert as_input_shapes(None) == ()
    for wrong in ("data", "=1", "data=", "data=1,,2", "data=-1", "data=1.5", "data=2147483648"):
        with pytest.raises(NetcError):
            parse_input_shape(wrong)


def test_the_ranks_of_inputs_are_known_before_the_import():
    net = load_net(
        """layer { type: "Input" top: "a" top: "b" input_param { shape { dim: 1 dim: 2 } shape { dim: 3 } } }
           layer { type: "Input" top: "c" } layer { type: "DummyData" top: "d" }
           layer { type: "ReLU" bottom: "a" top: "r" }"""
    )
    assert input_ranks(net) == {"a": 2, "b": 1, "c": None}


def test_images_need_one_input_for_images():
    assert image_input({"data": ("N", 3, "H", 7)}).width == 7
    for inputs in ({}, {"a": (1, 3, 4, 4), "b": (1,)}, {"a": (1, 3)}, {"a": (1, "C", 4, 4)}):
        with pytest.raises(NetcError):
            image_input(inputs)


@pytest.mark.parametrize(
    ("text", "expected"), [("1536", 1536), ("500MB", 500_000_000), ("2 GB", 2 * 10**9), ("1.5k", 1500)]
)
def test_sizes_are_read_as_they_are_written(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "2 X", "GB", "1e3", "0x10"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(NetcError, match="is no size"):
        parse_bytes(text)
