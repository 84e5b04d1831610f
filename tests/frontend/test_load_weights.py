import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from netc.frontend.binary import message_class
from netc.frontend.weights import load_blob, load_weights
from netc.frontend.wire import length_prefix, varint
from netc.frontend.write_caffemodel import write_caffemodel
from netc.ir.diagnostics import NetcError

ZOO = Path(__file__).parents[2].parent / "shared" / "zoo"
RANDOM = np.random.default_rng(0)
SECONDS = 10  # of CPU time; less than two on a fast machine


def array(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.caffemodel"


def in_layer(blob: bytes, name: bytes = b"a") -> bytes:
    """A V2 net of one layer that holds the bytes of a blob."""
    layer = length_prefix(1, len(name)) + name + length_prefix(7, len(blob)) + blob
    return length_prefix(100, len(layer)) + layer


def legacy_shape(*extents: int) -> bytes:
    return b"".join(varint(number << 3) + varint(extent) for number, extent in enumerate(extents, 1))


def message(path, *blobs):
    """Write a net with the protobuf library; each blob is (layer name, fields of BlobProto)."""
    net = message_class("NetParameter")(name="n")
    for name, fields in blobs:
        net.layer.add(name=name, type="T").blobs.add(**fields)
    path.write_bytes(net.SerializeToString())


def error(path) -> NetcError:
    start = time.process_time()
    with pytest.raises(NetcError) as caught:
        load_weights(path)
    assert time.process_time() - start < SECONDS
    return caught.value


# ---- what is read


def test_what_is_written_is_loaded(path):
    layers = [
        ("conv", "Convolution", [array(4, 3, 2, 2), array(4)]),
        ("prelu", "PReLU", [array()]),
        ("empty", "Python", [array(0, 3)]),
        ("relu", "ReLU", []),
    ]
    write_caffemodel(path, "net", layers)
    weights = load_weights(path)
    assert list(weights) == ["conv", "prelu", "empty"]
    assert weights.layer_types == {"conv": "Convolution", "prelu": "PReLU", "empty": "Python"}
    assert (weights.net_name, weights.path) == ("net", str(path))
    for name, _, arrays in layers[:3]:
        for got, wanted in zip(weights[name], arrays, strict=True):
            assert got.shape == wanted.shape
            np.testing.assert_array_equal(got, wanted)
    assert weights.nbytes == 4 * (48 + 4 + 1)


def test_the_protobuf_library_reads_what_is_written(path):
    wanted = array(2, 3)
    write_caffemodel(path, "net", [("é", "InnerProduct", [wanted])])
    layer = message_class("NetParameter").FromString(path.read_bytes()).layer[0]
    assert (layer.name, layer.type, list(layer.blobs[0].shape.dim)) == ("é", "InnerProduct", [2, 3])
    np.testing.assert_array_equal(np.array(layer.blobs[0].data, np.float32), wanted.ravel())


def test_other_number_types_and_orders_are_written_as_floats(path):
    values = np.arange(6, dtype=np.int64).reshape(2, 3)
    write_caffemodel(path, "net", [("a", "T", [values.T, values.astype(">f8")])])
    got = load_weights(path)["a"]
    np.testing.assert_array_equal(got[0], values.T)
    np.testing.assert_array_equal(got[1], values)


def test_arrays_are_read_only_and_right_at_every_alignment(path):
    wanted = array(5)
    for length in range(8):
        write_caffemodel(path, "n" * length, [("a", "T", [wanted])])
        got = load_weights(path)["a"][0]
        assert got.flags.aligned
        assert not got.flags.writeable
        np.testing.assert_array_equal(got, wanted)


def test_a_file_may_be_replaced_while_its_arrays_live(path):
    write_caffemodel(path, "n", [("a", "T", [array(5)])] * 3)
    first = load_weights(path)["a"][0]
    kept = first.copy()
    write_caffemodel(path, "n", [("a", "T", [array(9)])])
    np.testing.assert_array_equal(first, kept)


def test_legacy_shapes_have_four_extents(path):
    message(
        path, ("a", dict(num=1, channels=1, height=2, width=3, data=range(6))), ("b", dict(num=2, channels=1))
    )
    assert load_weights(path)["a"][0].shape == (1, 1, 2, 3)


def test_a_blob_without_any_shape_is_one_number(path):
    message(path, ("a", dict(data=[7])))
    assert load_weights(path)["a"][0].shape == ()
    assert load_weights(path)["a"][0] == 7


def test_doubles_win_over_floats_and_gradients_are_left(path):
    message(path, ("a", dict(shape={"dim": [2]}, double_data=[1.5, 2], diff=[3, 4], double_diff=[5, 6])))
    got = load_weights(path)["a"][0]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [1.5, 2])


@pytest.mark.filterwarnings("error")
def test_doubles_beyond_the_range_of_floats_become_infinite(path):
    message(path, ("a", dict(shape={"dim": [2]}, double_data=[1e300, -1e300])))
    np.testing.assert_array_equal(load_weights(path)["a"][0], [np.inf, -np.inf])


@pytest.mark.parametrize(("kind", "number", "tag"), [("<f4", 5, b"\x2d"), ("<f8", 8, b"\x41")])
def test_unpacked_numbers_are_read_between_other_fields(path, kind, number, tag):
    del number
    values = np.array([1, 2.5, -3, 4], kind)
    first, second = (b"".join(tag + each.tobytes() for each in part) for part in (values[:3], values[3:]))
    path.write_bytes(in_layer(first + legacy_shape(1, 1, 2, 2) + second))
    np.testing.assert_array_equal(load_weights(path)["a"][0].ravel(), values)


def test_packed_numbers_may_come_in_parts(path):
    values = array(5)
    parts = [length_prefix(5, each.nbytes) + each.tobytes() for each in (values[:2], values[2:2], values[2:])]
    path.write_bytes(in_layer(legacy_shape(1, 1, 1, 5) + b"".join(parts)))
    np.testing.assert_array_equal(load_weights(path)["a"][0].ravel(), values)


def test_v1_and_v0_layers_have_their_current_types(path):
    net = message_class("NetParameter")()
    net.layers.add(name="v1", type=4).blobs.add(num=1, channels=1, height=1, width=1, data=[1])
    inner = net.layers.add().layer
    inner.name, inner.type = "v0", "innerproduct"
    inner.blobs.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    path.write_bytes(net.SerializeToString())
    weights = load_weights(path)
    assert weights.layer_types == {"v1": "Convolution", "v0": "InnerProduct"}
    assert weights["v0"][0].tolist() == [[[[1, 2]]]]


def test_of_layers_with_one_name_the_last_with_blobs_counts(path):
    write_caffemodel(path, "n", [("a", "T", [array(1)]), ("a", "U", [array(2)]), ("a", "V", [])])
    weights = load_weights(path)
    assert weights["a"][0].shape == (2,)
    assert weights.layer_types == {"a": "U"}


def test_a_mean_file_is_one_blob(tmp_path):
    values = array(1, 3, 4, 5)
    blob = message_class("BlobProto")(num=1, channels=3, height=4, width=5, data=values.ravel())
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(blob.SerializeToString())
    np.testing.assert_array_equal(load_blob(path), values)


@pytest.mark.skipif(not ZOO.is_dir(), reason="the model zoo ../shared/zoo is not there")
def test_real_files_equal_what_the_protobuf_library_reads():
    for path in sorted(ZOO.rglob("*.caffemodel")):
        net = message_class("NetParameter").FromString(path.read_bytes())
        weights = load_weights(path)
        with_blobs = [layer for layer in (*net.layer, *net.layers) if layer.blobs]
        assert list(weights) == [layer.name for layer in with_blobs]
        for layer in with_blobs:
            for got, blob in zip(weights[layer.name], layer.blobs, strict=True):
                np.testing.assert_array_equal(got.ravel(), np.array(blob.data, np.float32))


# ---- what is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n<!DOCTYPE html><html>", "this is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "this is a Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n\0\0\0\0", "HDF5 file"),
        (b'layer { name: "x" }', "this is text"),
        (b"PK\x03\x04", "this is a zip archive"),
        (b"\x0a\x01a", "no layers in it"),
        (b"\0" * 100, "byte 0: not a caffemodel, or damaged: field number 0"),
        (b"\x0f", "byte 0: not a caffemodel, or damaged: field 1 has the unknown wire type 7"),
        (b"\xa2\x06\x7f\x0a", "byte 0: not a caffemodel, or damaged: field 100 claims 127 bytes, and 1 are left"),
        (b"\xff" * 20, "byte 0: not a caffemodel, or damaged: an integer of more than 10 bytes"),
        (b"\x0d\0\0", "byte 0: not a caffemodel, or damaged: field 1 is cut off"),
        (in_layer(b"\x2a\x03abc"), "an array of 4-byte numbers has 3 bytes too many"),
        (in_layer(legacy_shape(1, 1, 1, 2) + b"\x2a\x04abcd"), "layer 'a': a blob of shape 1 x 1 x 1 x 2 has 1 numbers in the file"),
        (in_layer(b"\x08" + varint(2**64 - 1)), "layer 'a': a blob has the shape \\[-1, 0, 0, 0\\]"),
    ],
)  # fmt: skip
def test_what_is_no_caffemodel_is_refused_with_the_reason(path, content, message):
    path.write_bytes(content)
    with pytest.raises(NetcError, match=message):
        load_weights(path)
    assert str(path) in str(error(path))


def test_an_empty_blob_with_a_huge_extent_is_refused(path):
    message(path, ("a", dict(shape={"dim": [0, 2**62]})))
    assert "a blob has the shape [0, 4611686018427387904]" in str(error(path))


def test_a_huge_shape_with_few_bytes_allocates_nothing(path):
    dims = varint(10**6) * 2
    shape = length_prefix(1, len(dims)) + dims
    path.write_bytes(in_layer(length_prefix(7, len(shape)) + shape + length_prefix(5, 4) + bytes(4)))
    assert "a blob of shape 1000000 x 1000000 has 1 numbers" in str(error(path))


@pytest.mark.parametrize("unit", [b"\x0a\x00", b"\x08\x01", b"\xa2\x06\x00", b"\xa2\x06\x02\x3a\x00"])
def test_a_flood_of_tiny_fields_is_stopped(path, unit):
    path.write_bytes(unit * 1_000_000)
    assert "more than 500000 fields" in str(error(path))


def test_every_truncation_is_refused(path):
    write_caffemodel(path, "net", [("conv", "Convolution", [array(2, 3), array(2)])])
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(NetcError):
            load_weights(path)


def test_flipped_bits_are_refused_or_change_values_only(path):
    write_caffemodel(
        path, "net", [("conv", "Convolution", [array(2, 3), array(2)]), ("s", "Scale", [array(1)])]
    )
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        for load in (load_weights, load_blob):
            with suppress(NetcError):
                load(path)


def test_what_is_no_file_is_an_error(tmp_path):
    for path, message in [
        (tmp_path / "none", "No such file"),
        (tmp_path, "is a directory"),
        ("/dev/null", "no regular"),
    ]:
        with pytest.raises(NetcError, match=message):
            load_weights(path)


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(NetcError, match="No such file or directory"):
        write_caffemodel(tmp_path / "none" / "x.caffemodel", "n", [])

    def broken():
        yield "a", "T", [array(3)]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_caffemodel(tmp_path / "x.caffemodel", "n", broken())
    assert list(tmp_path.iterdir()) == []
