"""The project's own nets in the .net language: as many parameters as published, equal to their prototxt."""

import math
from pathlib import Path

import pytest

from netc.frontend.importer import import_net
from netc.frontend.layers.registry import layer_type
from netc.frontend.net_file import load_net, read_net

ROOT = Path(__file__).parents[2]
NETS = ROOT / "examples" / "zoo"
MODELS = ROOT / "examples" / "models"
CAFFE = ROOT.parent / "shared" / "zoo" / "bvlc_caffe" / "examples"

# what training changes: weights and biases, shared ones once; BatchNorm's statistics do not count
PARAMETERS = {
    "alexnet": 60_965_224,
    "caffenet": 60_965_224,
    "fcn16s": 134_815_994,
    "fcn32s": 136_152_917,
    "fcn8s": 134_489_759,
    "googlenet": 6_998_552,
    "lenet": 431_080,
    "lrcn": 65_421_285,
    "mnist_autoencoder": 2_837_314,
    "mobilenet_v1": 4_231_976,
    "nin": 7_595_176,
    "resnet50": 25_557_096,
    "siamese": 431_102,
    "squeezenet_v1.1": 1_235_496,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
}
LONGEST = {"googlenet": 60, "resnet50": 40}  # lines
INPUTS = {
    "siamese": {"pair_data": (64, 2, 28, 28), "sim": (64,)},
    "mnist_autoencoder": {"data": (100, 1, 28, 28)},
}
TRAINED = {"siamese", "mnist_autoencoder"}


def path_of(name: str) -> Path:
    return NETS / f"{name}.net"


def test_every_net_of_the_zoo_has_its_published_size_in_this_test():
    assert sorted(path.stem for path in NETS.glob("*.net")) == sorted(PARAMETERS)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_net_of_the_zoo_has_as_many_parameters_as_published(name):
    net = load_net(path_of(name), phase="TRAIN" if name in TRAINED else "TEST")
    missing = {t for layer in net.messages("layer") if layer_type(t := layer.text("type")) is None}
    if missing:
        pytest.skip(f"netc has no {', '.join(sorted(missing))} yet")
    imported = import_net(net, phase="TRAIN" if name in TRAINED else "TEST", input_shapes=INPUTS.get(name))
    types = {info.name: info.type for info in imported.layers}
    owned = {p.value: p for p in imported.params if p.learnable and types[p.layer] != "BatchNorm"}
    assert sum(math.prod(p.shape) for p in owned.values()) == PARAMETERS[name]


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.prototxt")), ids=lambda path: path.stem)
def test_a_net_equals_its_prototxt(path):
    assert read_net(path_of(path.stem)) == read_net(path)


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("siamese", "siamese/mnist_siamese_train_test.prototxt"),
        ("mnist_autoencoder", "mnist/mnist_autoencoder.prototxt"),
    ],
)
@pytest.mark.skipif(not CAFFE.is_dir(), reason="the collection of models is not beside the project")
def test_a_training_net_equals_the_original_one(name, original):
    assert read_net(path_of(name)) == read_net(CAFFE / original)


@pytest.mark.parametrize("name", sorted(LONGEST))
def test_repetition_is_written_once(name):
    assert len(path_of(name).read_text().splitlines()) < LONGEST[name]


def test_a_net_in_the_language_compiles_and_runs():
    import numpy as np

    import netc

    module = netc.compile(path_of("lenet"), target="numpy")
    assert module.run(data=np.zeros((1, 1, 28, 28), np.float32))["prob"].shape == (1, 10)
