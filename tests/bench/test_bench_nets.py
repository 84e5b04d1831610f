"""The nets of ``netc bench``: found in the package, and the same for every engine."""

import fnmatch
import tomllib
from pathlib import Path

import pytest

import netc
from netc.bench.nets import REFERENCE_NETS, load_bench_net, zoo
from netc.bench.prototext import read_layers

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "examples" / "models"


def fields(message):
    """A message as plain data."""
    if not hasattr(message, "fields"):
        return message
    return {name: [fields(value) for value in values] for name, values in message.fields.items()}


def test_the_zoo_is_part_of_the_package():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "netc"
    ]
    package = Path(netc.__file__).parent
    for path in zoo().values():
        assert any(fnmatch.fnmatch(str(path.relative_to(package)), pattern) for pattern in patterns)
    assert set(REFERENCE_NETS) <= zoo().keys()


def test_the_examples_show_the_zoo_of_the_package():
    assert (ROOT / "examples" / "zoo").resolve() == (ROOT / "netc" / "zoo").resolve()


@pytest.mark.parametrize("name", REFERENCE_NETS)
def test_engines_get_the_layers_of_the_models(name):
    net = load_bench_net(name)
    assert [fields(each) for each in net.layers] == [
        fields(each) for each in read_layers(MODELS / f"{name}.prototxt")
    ]


def test_a_net_can_be_any_file():
    assert load_bench_net(str(MODELS / "lenet.prototxt")).name == "lenet"


def test_an_unknown_net_names_those_there_are():
    with pytest.raises(netc.NetcError, match=r"no net 'lenett'[^!]*alexnet, caffenet"):
        load_bench_net("lenett")


def test_a_layer_without_weights_to_draw_is_refused(tmp_path):
    path = tmp_path / "x.prototxt"
    path.write_text(
        'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }\n'
        'layer { name: "p" type: "PReLU" bottom: "d" top: "d" }\n'
    )
    with pytest.raises(netc.NetcError, match="no weights for the layer type PReLU"):
        load_bench_net(str(path))


def test_a_net_of_two_inputs_is_refused(tmp_path):
    path = tmp_path / "x.prototxt"
    path.write_text(
        'layer { name: "d" type: "Input" top: "a" top: "b" input_param { shape { dim: 1 dim: 3 } } }\n'
        'layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "s" }\n'
    )
    with pytest.raises(netc.NetcError, match="nets of one input, got a, b"):
        load_bench_net(str(path))
