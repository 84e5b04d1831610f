"""Trained weights through reader, importer and reference: LeNet, and real nets where they lie beside the project."""

from pathlib import Path

import numpy as np
import pytest

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
