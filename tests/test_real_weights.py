"""Trained weights through reader, importer and reference: LeNet, and real nets where they lie beside the project."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.backends.numpy_reference import run_func
from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.frontend.weights import load_weights
from netc.runtime.load_params import bind_weights

ROOT = Path(__file__).parents[1]
LENET = ROOT / "examples" / "lenet"
ZOO = ROOT.parent / "shared" / "zoo"
MTCNN = "mtcnn_kpzhang/code/codes/MTCNNv1/model"


def test_lenet_reads_handwritten_digits():
    with np.load(ROOT / "tests" / "data" / "mnist_subset.npz") as subset:
        images, labels = subset["images"][:200], subset["labels"][:200]
    net = import_net(load_net(LENET / "lenet.prototxt"), input_shapes={"data": (len(images), 1, 28, 28)})
    params, report = bind_weights(net, load_weights(LENET / "lenet_iter_10000.caffemodel"))
    assert report.loaded == ("conv1", "conv2", "ip1", "ip2")
    assert report.warnings == ()
    data = images[:, np.newaxis].astype(np.float32) / 256
    scores = run_func(net.module.func("main"), {"data": data, **params})["prob"]
    assert np.mean(np.argmax(scores, axis=1) == labels) >= 0.98


@pytest.mark.parametrize(
    ("definition", "weights", "side"),
    [
        (f"{MTCNN}/det1.prototxt", f"{MTCNN}/det1.caffemodel", 12),
        (f"{MTCNN}/det2.prototxt", f"{MTCNN}/det2.caffemodel", 24),
        (f"{MTCNN}/det3.prototxt", f"{MTCNN}/det3.caffemodel", 48),
        ("open_nsfw/deploy.prototxt", "open_nsfw/resnet_50_1by2_nsfw.caffemodel", 224),
    ],
)
@pytest.mark.skipif(not ZOO.is_dir(), reason="the collection of models is not beside the project")
def test_published_weights_fit_their_nets_and_give_probabilities(definition, weights, side):
    net = import_net(load_net(ZOO / definition), input_shapes={"data": (1, 3, side, side)})
    params, report = bind_weights(net, load_weights(ZOO / weights))
    assert report.filled == ()
    assert not [line for line in report.warnings if line.startswith("warning")]
    func = net.module.func("main")
    data = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype(np.float32)
    outputs = run_func(func, {"data": data, **params})
    probabilities = outputs[next(name for name in outputs if name.startswith("prob"))]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_compiled_lenet_reads_handwritten_digits():
    with np.load(ROOT / "tests" / "data" / "mnist_subset.npz") as subset:
        images, labels = subset["images"], subset["labels"]
    module = netc.compile(
        LENET / "lenet.prototxt",
        LENET / "lenet_iter_10000.caffemodel",
        input_shapes={"data": (100, 1, 28, 28)},
    )
    data = images[:, np.newaxis].astype(np.float32) / 256
    scores = np.concatenate([module.run(data=data[i : i + 100])["prob"] for i in range(0, len(data), 100)])
    # the subset is the first of the test images, which are the harder half
    assert np.mean(np.argmax(scores, axis=1) == labels) >= 0.985


MNIST = ROOT.parent / "shared" / "data" / "mnist"


@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST is not beside the project")
def test_compiled_lenet_is_right_on_ninety_nine_in_a_hundred_of_the_whole_test_set():
    def idx(name, header):
        return np.frombuffer(gzip.decompress((MNIST / name).read_bytes()), np.uint8, offset=header)

    labels = idx("t10k-labels-idx1-ubyte.gz", 8)
    images = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).astype(np.float32) / 256
    module = netc.compile(
        LENET / "lenet.prototxt",
        LENET / "lenet_iter_10000.caffemodel",
        input_shapes={"data": ("N", 1, 28, 28)},
    )
    scores = module.run(data=images)["prob"]
    assert len(labels) == 10000
    assert np.mean(np.argmax(scores, axis=1) == labels) >= 0.99


@pytest.mark.parametrize("opt_level", [0, 3])
@pytest.mark.parametrize(
    ("definition", "weights"),
    [
        *((f"{MTCNN}/det{i}.prototxt", f"{MTCNN}/det{i}.caffemodel") for i in (1, 2, 3)),
        ("open_nsfw/deploy.prototxt", "open_nsfw/resnet_50_1by2_nsfw.caffemodel"),
    ],
)
@pytest.mark.skipif(not ZOO.is_dir(), reason="the collection of models is not beside the project")
def test_published_nets_compile_to_the_numbers_of_the_reference(definition, weights, opt_level):
    # every blob is kept: a net's last numbers say little where a softmax is saturated
    imported = import_net(load_net(ZOO / definition))
    blobs = [
        name for name in imported.blobs if name not in {v.name for v in imported.module.func("main").inputs}
    ]
    compiled = netc.compile(ZOO / definition, ZOO / weights, opt_level=opt_level, keep=blobs)
    reference = netc.compile(ZOO / definition, ZOO / weights, target="numpy", keep=blobs)
    (shape,) = compiled.inputs.values()
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    data *= 50 if "nsfw" in definition else 1  # the range of pixels that the net was trained on
    compiled.run(data=data)
    reference.run(data=data)
    for name in blobs:
        got, wanted = compiled.blob(name), reference.blob(name)
        assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max(), name


@pytest.mark.skipif(not ZOO.is_dir(), reason="the collection of models is not beside the project")
def test_one_module_finds_faces_at_several_sizes():
    definition, weights = ZOO / MTCNN / "det1.prototxt", ZOO / MTCNN / "det1.caffemodel"
    shapes = {"data": ("N", 3, "H", "W")}
    module = netc.compile(definition, weights, input_shapes=shapes)
    reference = netc.compile(definition, weights, input_shapes=shapes, target="numpy")
    for size in [(1, 12, 12), (1, 37, 50), (3, 64, 31), (1, 120, 161)]:
        data = np.random.default_rng(1).normal(size=(size[0], 3, *size[1:])).astype(np.float32)
        got, wanted = module.run(data=data), reference.run(data=data)
        for name in wanted:
            assert got[name].shape == wanted[name].shape
            assert np.abs(got[name] - wanted[name]).max() <= 1e-4 * np.abs(wanted[name]).max()


def test_one_fully_convolutional_caffenet_runs_at_several_sizes():
    rng = np.random.default_rng(2)
    definition = ROOT / "examples" / "models" / "caffenet.prototxt"
    weights = {}
    for param in import_net(load_net(definition)).params:
        fan_in = max(1, int(np.prod(param.shape[1:])))
        values = rng.standard_normal(param.shape, np.float32) * np.float32((2 / fan_in) ** 0.5)
        weights.setdefault(param.layer, []).append(values)
    sized = {"input_shapes": {"data": (1, 3, "H", "W")}, "fully_convolutional": True}
    module = netc.compile(definition, weights, **sized)
    reference = netc.compile(definition, weights, target="numpy", **sized)
    plain = netc.compile(definition, weights, input_shapes={"data": (1, 3, 227, 227)})
    image = rng.standard_normal((1, 3, 259, 291), np.float32)
    for height, width, shape in [(227, 227, (1, 1)), (259, 291, (2, 3)), (227, 259, (1, 2))]:
        part = np.ascontiguousarray(image[:, :, :height, :width])
        scores = module.run(data=part)["prob"]
        wanted = reference.run(data=part)["prob"]
        assert scores.shape == (1, 1000, *shape)
        assert np.abs(scores - wanted).max() <= 1e-4 * wanted.max()
        if shape == (1, 1):
            classes = plain.run(data=part)["prob"]
            assert np.abs(scores[:, :, 0, 0] - classes).max() <= 1e-4 * classes.max()
