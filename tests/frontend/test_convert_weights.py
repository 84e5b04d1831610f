"""Weights go from format to format unchanged; damaged files of every format are refused."""

import json

import numpy as np
import pytest

from netc.cli import main
from netc.frontend.binary import message_class
from netc.frontend.net_file import read_net
from netc.frontend.safetensors_weights import write_safetensors
from netc.frontend.upgrade_caffemodel import upgrade_caffemodel
from netc.frontend.weights import load_weights
from netc.frontend.write_caffemodel import write_caffemodel
from netc.frontend.write_weights import write_weights
from netc.ir.diagnostics import NetcError

RANDOM = np.random.default_rng(0)
FORMATS = ["caffemodel", "caffemodel.h5", "safetensors"]


def array(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


LAYERS = [
    ("inception/1x1", "Convolution", [array(4, 3, 2, 2), array(4)]),
    ("prelu", "PReLU", [array()]),
    ("a.b", "BatchNorm", [array(3), array(3), array(1)]),
]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.caffemodel"
    write_caffemodel(path, "net", LAYERS)
    return path


def need(kind):
    if kind.endswith("h5"):
        pytest.importorskip("h5py")


def assert_same(weights, layers=LAYERS):
    assert sorted(weights) == sorted(name for name, _, _ in layers)
    for name, _, arrays in layers:
        assert [a.shape for a in weights[name]] == [a.shape for a in arrays]
        for got, wanted in zip(weights[name], arrays, strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
def test_weights_go_through_any_two_formats_unchanged(model, tmp_path, first, second, capsys):
    need(first)
    need(second)
    one, two = tmp_path / f"one.{first}", tmp_path / f"two.{second}"
    assert main(["convert", str(model), str(one)]) == 0
    assert main(["convert", str(one), str(two)]) == 0
    weights = load_weights(two)
    assert_same(weights)
    assert weights.layer_types == {name: kind for name, kind, _ in LAYERS}
    assert "3 layers" in capsys.readouterr().out


def test_legacy_shapes_become_those_of_today(tmp_path):
    path = tmp_path / "v1.caffemodel"
    layers = [
        ("ip", "InnerProduct", [array(1, 1, 5, 6), array(1, 1, 1, 5)]),
        ("c", "Convolution", [array(1, 1, 2, 2), array(1, 1, 1, 1)]),
    ]
    write_caffemodel(path, "", layers)
    write_weights(tmp_path / "v2.safetensors", load_weights(path))
    weights = load_weights(tmp_path / "v2.safetensors")
    assert [a.shape for name in ("ip", "c") for a in weights[name]] == [(5, 6), (5,), (1, 1, 2, 2), (1,)]


def test_a_suffix_that_says_no_format_is_refused(model, tmp_path, capsys):
    assert main(["convert", str(model), str(tmp_path / "x.foo")]) == 2
    assert "its suffix says no format" in capsys.readouterr().err
    with pytest.raises(NetcError, match="netc writes weights as"):
        write_weights(tmp_path / "x.foo", load_weights(model))


# ---- HDF5


def test_the_original_layout_of_hdf5_is_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "net.caffemodel.h5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.create_group("relu")
        data.create_dataset("conv/0", data=np.arange(6, dtype=np.float64).reshape(2, 3))
        data.create_dataset("conv/1", data=array(2))
        data.create_dataset("block/ip/0", data=array(1))
        file.create_group("diff").create_dataset("conv/0", data=array(2, 3))
        data["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
    weights = load_weights(path)
    assert sorted(weights) == ["block/ip", "conv"]
    np.testing.assert_array_equal(weights["conv"][0], np.arange(6, dtype=np.float32).reshape(2, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f.create_dataset("x", data=[1.0]), "not an HDF5 file of Caffe's weights"),
        (lambda f: f.create_dataset("data/a/1", data=[1.0]), "some are missing"),
        (lambda f: f.create_dataset("data/a/0", data=[b"text"]), "holds no numbers"),
    ],
)
def test_other_hdf5_files_are_refused(tmp_path, make, message):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        make(file)
    with pytest.raises(NetcError, match=message):
        load_weights(path)


def test_damaged_hdf5_files_are_refused(model, tmp_path):
    pytest.importorskip("h5py")
    path = tmp_path / "x.h5"
    write_weights(path, load_weights(model))
    whole = path.read_bytes()
    for end in (16, 100, len(whole) // 2):
        path.write_bytes(whole[:end])
        with pytest.raises(NetcError):
            load_weights(path)
    for position in range(0, len(whole), 197):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            load_weights(path)
        except NetcError:
            continue


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    path = tmp_path / "x.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(NetcError, match=r"netc\[hdf5\]"):
        load_weights(path)


# ---- safetensors


def test_the_library_of_the_format_reads_what_is_written(model, tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "x.safetensors"
    write_weights(path, load_weights(model))
    np.testing.assert_array_equal(library.load_file(path)["inception/1x1.0"], LAYERS[0][2][0])


def safetensors(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_other_number_types_are_read_as_floats(tmp_path):
    path = tmp_path / "x.safetensors"
    half = np.array([1.5, -2], "<f2")
    brain = np.array([0x3F80, 0xC000], "<u2")  # 1 and -2
    header = {
        "a.0": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
        "a.1": {"dtype": "BF16", "shape": [2], "data_offsets": [4, 8]},
    }
    safetensors(path, header, half.tobytes() + brain.tobytes())
    assert [a.tolist() for a in load_weights(path)["a"]] == [[1.5, -2], [1, -2]]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{nonsense", "the header is no JSON"),
        ({"weight": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, "is no blob of a layer"),
        ({"a.1": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, "some are missing"),
        ({"a.0": {"dtype": "F99", "shape": [], "data_offsets": [0, 4]}}, "that netc does not read"),
        ({"a.0": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "that netc does not read"),
        ({"a.0": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "lies outside of the file"),
        ({"a.0": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, "lies outside of the file"),
        ({"a.0": 3}, "that netc does not read"),
        ({"__metadata__": 3}, "the header's metadata are no object"),
    ],
)
def test_wrong_safetensors_are_refused(tmp_path, header, message):
    path = tmp_path / "x.safetensors"
    safetensors(path, header, b"\0" * 4)
    with pytest.raises(NetcError, match=message):
        load_weights(path)


def test_names_that_would_collide_are_refused(tmp_path):
    with pytest.raises(NetcError, match="two blobs would be called"):
        write_safetensors(tmp_path / "x", "", [("a", "T", [array(1)]), ("a", "T", [array(1)])])
    assert list(tmp_path.iterdir()) == []


# ---- upgrade


def old_net(path, *, double=False):
    """A V1 file with legacy shapes, settings and a gradient, written by the protobuf library."""
    net = message_class("NetParameter")(name="old", input=["data"], input_dim=[1, 1, 2, 3])
    layer = net.layers.add(name="ip", type=14, bottom=["data"], top=["ip"], blobs_lr=[1, 2])
    layer.inner_product_param.num_output = 2
    values = np.arange(12)
    blob = layer.blobs.add(num=1, channels=1, height=2, width=6, diff=values)
    (blob.double_data if double else blob.data).extend(values)
    net.layers.add(name="relu", type=18, bottom=["ip"], top=["ip"])
    path.write_bytes(net.SerializeToString())


@pytest.mark.parametrize("double", [False, True])
def test_a_caffemodel_is_upgraded_with_all_its_settings(tmp_path, double, capsys):
    old, new = tmp_path / "old.caffemodel", tmp_path / "new.caffemodel"
    old_net(old, double=double)
    assert main(["upgrade", str(old), str(new)]) == 0
    net = message_class("NetParameter").FromString(new.read_bytes())
    assert [layer.type for layer in net.layer] == ["Input", "InnerProduct", "ReLU"]
    assert [p.lr_mult for p in net.layer[1].param] == [1, 2]
    assert not net.layers
    blob = net.layer[1].blobs[0]
    assert (blob.height, blob.width, len(blob.diff)) == (2, 6, 0)
    assert list(blob.double_data if double else blob.data) == list(range(12))
    assert read_net(new) == read_net(old)


def test_a_file_can_be_upgraded_in_its_place(tmp_path):
    path = tmp_path / "net.caffemodel"
    old_net(path)
    upgrade_caffemodel(path, path)
    np.testing.assert_array_equal(load_weights(path)["ip"][0].ravel(), np.arange(12))
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_upgraded_leaves_no_file(tmp_path, capsys):
    (tmp_path / "bad.caffemodel").write_bytes(b"\x07\x01\x02")
    assert main(["upgrade", str(tmp_path / "bad.caffemodel"), str(tmp_path / "new.caffemodel")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bad.caffemodel"]


def test_nets_and_solvers_are_upgraded_as_text(tmp_path, capsys):
    old = tmp_path / "old.prototxt"
    old.write_text("layers { name: 'r' type: RELU bottom: 'a' top: 'b' nobody_knows: 3 }\n")
    assert main(["upgrade", str(old), str(tmp_path / "new.prototxt")]) == 0
    assert (tmp_path / "new.prototxt").read_text() == (
        'layer {\n  name: "r"\n  type: "ReLU"\n  bottom: "a"\n  top: "b"\n  nobody_knows: 3\n}\n'
    )
    solver = tmp_path / "solver.prototxt"
    solver.write_text("solver_type: ADAM base_lr: 0.1\n")
    assert main(["upgrade", "--kind", "solver", str(solver), str(tmp_path / "s.prototxt")]) == 0
    assert 'type: "Adam"' in (tmp_path / "s.prototxt").read_text()
    assert main(["upgrade", str(old), str(tmp_path / "x.caffemodel")]) == 2


def test_nets_are_converted_by_their_suffixes(tmp_path, capsys):
    source, there, back = tmp_path / "a.prototxt", tmp_path / "a.net", tmp_path / "b.prototxt"
    source.write_text('name: "n"\nlayer { name: "x" type: "Input" top: "x" }\n')
    assert main(["convert", str(source), str(there)]) == 0
    assert there.read_text() == 'net(name="n")\nx = Input()\n'
    assert main(["convert", str(there), str(back)]) == 0
    assert read_net(back) == read_net(source)
    there.write_text("x = Inptu()\n")
    assert main(["convert", str(there), str(back)]) == 2
    assert "did you mean 'Input'?" in capsys.readouterr().err
