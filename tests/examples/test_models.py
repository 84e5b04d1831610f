"""The definitions in examples/models: generated text, and sizes against what was published."""

import math
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from netc.bench.net_shapes import infer
from netc.bench.prototext import read_layers

FOLDER = Path(__file__).parents[2] / "examples" / "models"
MODELS: dict[str, Callable[[], str]] = runpy.run_path(str(FOLDER / "generate.py"))["MODELS"]

LEARNABLE = {
    "alexnet": 60_965_224,
    "caffenet": 60_965_224,
    "googlenet": 6_998_552,
    "lenet": 431_080,
    "mobilenet_v1": 4_231_976,
    "resnet50": 25_557_032 + 64,  # the authors' conv1 has a bias, which ports leave out before BatchNorm
    "squeezenet_v1.1": 1_235_496,
    "vgg16": 138_357_544,
}
MEGAMACS = {
    "alexnet": 724,
    "caffenet": 724,
    "googlenet": 1583,
    "lenet": 2,
    "mobilenet_v1": 569,
    "resnet50": 3858,
    "squeezenet_v1.1": 388,
    "vgg16": 15470,
}


def test_every_definition_is_generated():
    assert sorted(MODELS) == sorted(path.stem for path in FOLDER.glob("*.prototxt"))


@pytest.mark.parametrize("name", MODELS)
def test_file_is_what_the_generator_writes(name):
    assert (FOLDER / f"{name}.prototxt").read_text() == MODELS[name]()


@pytest.mark.parametrize("name", MODELS)
def test_learnable_parameters_as_published(name):
    layers = read_layers(FOLDER / f"{name}.prototxt")
    statistics = {layer.get("name") for layer in layers if layer.get("type") == "BatchNorm"}
    params = infer(layers).params
    counted = [math.prod(shape) for name in params.keys() - statistics for shape in params[name]]
    assert sum(counted) == LEARNABLE[name]


@pytest.mark.parametrize("name", MODELS)
def test_multiply_accumulates(name):
    net = infer(read_layers(FOLDER / f"{name}.prototxt"))
    assert round(net.macs / 1e6) == MEGAMACS[name]


@pytest.mark.parametrize("name", MODELS)
def test_ends_in_class_probabilities(name):
    net = infer(read_layers(FOLDER / f"{name}.prototxt"))
    assert next(reversed(net.blobs)) == "prob"
    assert net.blobs["prob"][:2] == (1, 10 if name == "lenet" else 1000)


@pytest.mark.parametrize("name", MODELS)
def test_layer_names_are_unique(name):
    names = [layer.get("name") for layer in read_layers(FOLDER / f"{name}.prototxt")]
    assert len(names) == len(set(names))
