"""``netc classify`` and ``netc extract-features``: Caffe's tools, flag by flag."""

import json
from pathlib import Path

import numpy as np
import pytest

from netc import calibrate
from netc.pycaffe.proto import caffe_pb2
from netc.runtime.api import compile_net
from netc.runtime.ranges import write_ranges

LENET = Path(__file__).parents[2] / "examples" / "lenet"

FEED_FORWARD = """layer { name: "data" type: "DummyData" top: "x" dummy_data_param {
    shape { dim: 2 dim: 3 } data_filler { type: "gaussian" std: 1 } } }
layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { scale: 2 } }
"""


@pytest.fixture
def images(tmp_path):
    rows = np.random.default_rng(0).random((3, 6, 6, 3)).astype("f4")
    np.save(tmp_path / "images.npy", rows)
    return rows


@pytest.fixture
def rows(images):
    """The images as the net takes them without a mean."""
    return np.ascontiguousarray((images[..., ::-1] * 255).transpose(0, 3, 1, 2))


@pytest.fixture
def module(net_file, weights_file):
    return compile_net(
        net_file, weights_file, target="numpy", keep=["conv"], input_shapes={"data": (3, 3, 6, 6)}
    )


def test_classify_writes_predictions_as_the_original_does(
    netc, net_file, weights_file, module, rows, tmp_path
):
    done = netc(
        "classify", "images.npy", "out.npy", "--model_def", net_file, "--pretrained_model", weights_file,
        "--center_only", "--images_dim", "6,6", "--mean_file", "",
    )  # fmt: skip
    assert (done.code, done.out) == (0, "")
    wanted = module.run(data=rows)["prob"]
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), wanted, rtol=1e-3, atol=1e-5)


def test_classify_applies_mean_scales_and_channel_order(
    netc, net_file, weights_file, module, images, tmp_path
):
    np.save(tmp_path / "mean.npy", np.array([1.0, 2, 3]))
    done = netc(
        "classify", "images.npy", "out.npy", "--model-def", net_file, "--pretrained-model", weights_file,
        "--center-only", "--images-dim", "6,6", "--mean-file", "mean.npy", "--raw-scale", "10",
        "--input-scale", "0.5", "--channel-swap", "0,2,1",
    )  # fmt: skip
    assert done.code == 0
    rows = ((images[..., [0, 2, 1]] * 10 - [1, 2, 3]) * 0.5).transpose(0, 3, 1, 2)
    wanted = module.run(data=rows)["prob"]
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), wanted, rtol=1e-3, atol=1e-5)


def test_classify_shows_the_best_classes_of_a_folder(netc, net_file, weights_file, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    (tmp_path / "folder").mkdir()
    for name in ("b.png", "a.png"):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        image_module.fromarray(pixels).save(tmp_path / "folder" / name)
    (tmp_path / "labels").write_text("one\ntwo\nthree\nfour\nfive\n")
    common = (
        "classify",
        "folder",
        "--ext",
        "png",
        "--model_def",
        net_file,
        "--pretrained_model",
        weights_file,
    )
    done = netc(*common, "--images_dim", "8,8", "--labels", "labels", "--top", "2")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [lines[0], lines[3]] == ["folder/a.png", "folder/b.png"]
    assert len(lines) == 6
    data = json.loads(netc(*common, "--images_dim", "8,8", "--json").out)
    assert sum(c["score"] for c in data[0]["classes"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gpu",), "runs on the CPU only"),
        (("--images_dim", "6"), "height,width"),
        (("--images_dim", "4,4"), "smaller than the net's input"),
        (("--images_dim", "6,6", "--channel_swap", "a"), "numbers with commas"),
        (("--images_dim", "6,6", "--channel_swap", "1,0"), "3 channels"),
        (("--precision", "fp16"), "no kernels for fp16"),
        (("--precision", "int8"), "needs the ranges"),
        (("--precision", "int8", "--ranges", "none.json"), "none.json"),
    ],
)
def test_classify_refuses_bad_settings(netc, net_file, images, arguments, message):
    done = netc("classify", "images.npy", "--model_def", net_file, *arguments)
    assert done.code == 2
    assert message in done.err


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_classify_computes_in_low_precision(netc, precision, tmp_path):
    net, weights = LENET / "lenet.prototxt", LENET / "lenet_iter_10000.caffemodel"
    images = np.random.default_rng(0).random((4, 28, 28, 1), np.float32)
    np.save(tmp_path / "images.npy", images)
    data = images.transpose(0, 3, 1, 2)
    narrow, options = {"precision": precision}, ("--precision", precision)
    if precision == "int8":
        ranges = calibrate(net, weights, {"data": data}, input_shapes={"data": data.shape})
        write_ranges(tmp_path / "r.json", ranges)
        narrow["ranges"], options = ranges, (*options, "--ranges", "r.json")
    done = netc(
        "classify", "images.npy", "out.npy", "--model_def", net, "--pretrained_model", weights,
        "--center_only", "--images_dim", "28,28", "--raw_scale", "1", "--channel_swap", "", *options,
    )  # fmt: skip
    assert done.code == 0, done.err
    scores = np.load(tmp_path / "out.npy")
    exact, wanted = (
        compile_net(net, weights, input_shapes={"data": data.shape}, **given).run(data=data)["prob"]
        for given in ({}, narrow)
    )
    np.testing.assert_allclose(scores, wanted, atol=1e-6)
    assert np.abs(scores - exact).max() > 1e-5


def test_features_are_extracted_batch_by_batch(netc, net_file, weights_file, module, rows, tmp_path):
    np.save(tmp_path / "x.npy", rows)
    pytest.importorskip("h5py")
    import h5py

    done = netc(
        "extract-features", weights_file, net_file, "conv,prob,fc", "c.npz,p.npy,f.h5", "9", "-i", "x.npy"
    )
    assert done.code == 0, done.err
    assert "conv 3x4x4x4 -> c.npz" in done.out
    assert "ends after 3 batches" in done.err
    wanted = module.run(data=rows)["prob"]
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), wanted, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "c.npz")["conv"], module.blob("conv"), rtol=1e-3, atol=1e-3)
    with h5py.File(tmp_path / "f.h5") as file:
        assert file["fc"].shape == (3, 5)


def test_a_net_with_data_layers_feeds_itself(netc, weights_file, tmp_path):
    h5py = pytest.importorskip("h5py")
    data = np.arange(15, dtype=np.float32).reshape(5, 3)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = data
    (tmp_path / "files.txt").write_text("data.h5\n")
    (tmp_path / "fed.prototxt").write_text(
        'layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "files.txt" batch_size: 2 } }\n'
        'layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { scale: 2 } }\n'
    )
    done = netc("extract-features", weights_file, "fed.prototxt", "p", "p.npy", "3")
    assert done.code == 0, done.err
    expected = np.concatenate([data, data[:1]]) * 2  # the data begin anew
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), expected)


def test_rows_that_only_fill_up_a_batch_are_left_out(netc, variant, weights_file, module, rows, tmp_path):
    np.save(tmp_path / "x.npy", rows)
    two = variant("dim: 1 dim: 3", "dim: 2 dim: 3")
    done = netc("extract-features", weights_file, two, "prob", "p.npy", "2", "-i", "x.npy")
    assert done.code == 0, done.err
    wanted = module.run(data=rows)["prob"]
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), wanted, rtol=1e-3, atol=1e-5)


def test_features_of_images_and_of_nets_that_make_their_data(netc, net_file, weights_file, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    image_module.fromarray(np.zeros((9, 7, 3), np.uint8)).save(tmp_path / "a.png")
    done = netc("extract-features", weights_file, net_file, "fc", "f.npy", "2", "-i", "a.png", "-i", "a.png")
    assert done.code == 0, done.err
    assert np.load(tmp_path / "f.npy").shape == (2, 5)
    (tmp_path / "dummy.prototxt").write_text(FEED_FORWARD)
    done = netc("extract-features", weights_file, "dummy.prototxt", "p", "p.npy", "3")
    assert done.code == 0, done.err
    features = np.load(tmp_path / "p.npy")
    assert features.shape == (6, 3)
    assert np.unique(features).size > 12


def test_a_data_layer_is_fed_with_arrays(netc, variant, weights_file, module, rows, tmp_path):
    np.save(tmp_path / "x.npy", rows)
    path = variant(
        'type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 6 } }',
        'type: "Data" top: "data" data_param { batch_size: 2 source: "nowhere" }',
    )
    done = netc("extract-features", weights_file, path, "prob", "p.npy", "1", "-i", "data=x.npy")
    assert done.code == 0, done.err
    wanted = module.run(data=rows)["prob"]
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), wanted, rtol=1e-3, atol=1e-5)


def test_features_are_written_to_lmdb_as_the_original_does(
    netc, net_file, weights_file, module, rows, tmp_path
):
    lmdb = pytest.importorskip("lmdb")
    np.save(tmp_path / "x.npy", rows)
    done = netc(
        "extract-features", weights_file, net_file, "conv,prob", "conv_db,prob_db", "3", "LMDB", "CPU", "0",
        "-i", "x.npy",
    )  # fmt: skip
    assert done.code == 0, done.err
    module.run(data=rows)
    for name, shape in (("conv", (4, 4, 4)), ("prob", (5, 1, 1))):
        with lmdb.open(str(tmp_path / f"{name}_db"), readonly=True) as database, database.begin() as records:
            found = [(key, caffe_pb2.Datum.FromString(value)) for key, value in records.cursor()]
        assert [key for key, _ in found] == [b"0000000000", b"0000000001", b"0000000002"]
        datums = [datum for _, datum in found]
        assert {(d.channels, d.height, d.width) for d in datums} == {shape}
        got = np.array([d.float_data for d in datums])
        np.testing.assert_allclose(got, module.blob(name).reshape(3, -1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("conv,fc", "a.npy", "1"), "2 blobs and 1 files"),
        (("conv", "a.lmdb", "1"), "suffix"),
        (("conv", "a.npy", "1", "leveldb"), "leveldb databases"),
        (("conv", "images.npy", "1", "lmdb"), "images.npy: exists already"),
        (("conv", "features", "1", "lmdb", "GPU", "0"), "not on GPU"),
        (("conv", "a.npy", "1"), "nothing is given for the input 'data'"),
        (("nothing", "a.npy", "1", "-i", "images.npy"), "no blob 'nothing'"),
        (("conv", "a.npy", "1", "-i", "images.npy"), "rows of the input 'data' are 6x6x3"),
        (("conv", "a.npy", "1", "-i", "other=images.npy"), "no input 'other'"),
        (("conv", "nowhere/a.npy", "1", "-i", "x.npy"), "nowhere/a.npy"),
    ],
)
def test_extraction_refuses_bad_input(netc, net_file, weights_file, rows, tmp_path, arguments, message):
    np.save(tmp_path / "x.npy", rows)
    done = netc("extract-features", weights_file, net_file, *arguments)
    assert done.code == 2, done.err
    assert message in done.err
