"""Whole nets: shapes, parameters and multiply-accumulates against the benchmarks' own size rules."""

from pathlib import Path

import pytest

from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.dim import symbol
from netc.ir.rewrite import bind_symbols
from netc.ir.verify import verify

ROOT = Path(__file__).parents[2]
MODELS = sorted((ROOT / "examples" / "models").glob("*.prototxt"))
FULLY_CONVOLUTIONAL = ("mobilenet_v1", "squeezenet_v1.1")


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_every_example_model_imports_with_the_sizes_found_independently(path):
    from netc.bench.net_shapes import infer
    from netc.bench.prototext import read_layers

    expected = infer(read_layers(path))
    net = import_net(load_net(path))
    verify(net.module)
    assert net.warnings == ()
    assert {name: value.type.static_shape for name, value in net.blobs.items()} == expected.blobs
    params: dict[str, list[tuple[int, ...]]] = {}
    for param in net.params:
        params.setdefault(param.layer, []).append(param.shape)
    assert params == expected.params
    assert sum(layer.macs for layer in net.layers) == expected.macs


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_a_model_imported_for_any_batch_is_the_model_of_each_batch(path):
    static = import_net(load_net(path))
    (data,) = static.module.func("main").inputs
    shape = data.type.static_shape
    any_batch = import_net(load_net(path), input_shapes={"data": (symbol("N"), *shape[1:])})
    assert bind_symbols(any_batch.module, {"N": shape[0]}) == static.module


@pytest.mark.parametrize("name", FULLY_CONVOLUTIONAL)
def test_a_fully_convolutional_model_imports_for_any_image_size(name):
    path = ROOT / "examples" / "models" / f"{name}.prototxt"
    any_size = import_net(load_net(path), input_shapes={"data": (symbol("N"), 3, symbol("H"), symbol("W"))})
    for height, width in ((227, 227), (300, 411)):
        static = import_net(load_net(path), input_shapes={"data": (2, 3, height, width)})
        bound = bind_symbols(any_size.module, {"N": 2, "H": height, "W": width})
        assert bound == static.module
