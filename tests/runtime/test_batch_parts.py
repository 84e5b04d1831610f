"""Batches that are run in parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.backends.llvm.target import host_target
from netc.frontend.net_file import load_net
from netc.ir.row_axis import batch_row_axes
from netc.passes.pipeline import run_pipeline
from netc.runtime import batch_parts
from netc.runtime.api import read_message
from netc.runtime.artifact import Artifact, write_artifact
from netc.runtime.batch_parts import batch_size, rows_of_a_part
from netc.runtime.compiler import import_message, importer_of_rows
from netc.runtime.emit import emit
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions
from netc.runtime.profile import profile

NET = """
name: "parts"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 6 dim: 3 dim: 12 dim: 12 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 20 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "n" type: "LRN" bottom: "c" top: "n" }
layer { name: "p" type: "Pooling" bottom: "n" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "d" type: "Convolution" bottom: "p" top: "d"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "cat" type: "Concat" bottom: "d" bottom: "p" top: "cat" }
layer { name: "ip" type: "InnerProduct" bottom: "cat" top: "ip"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
ZOO = Path(netc.__file__).parent / "zoo"
DATA = np.random.default_rng(0).uniform(-1, 1, (6, 3, 12, 12)).astype(np.float32)


@pytest.fixture
def two_rows(monkeypatch):
    """Batches run two rows at a time, where they can."""
    monkeypatch.setattr(batch_parts, "rows_of_a_part", lambda rows, whole, target: 2)


def parts_of(module: Module) -> int:
    return module.compiled.parts


def test_a_batch_in_parts_gives_what_it_gives_as_a_whole(two_rows):
    whole = netc.compile(NET, opt_level=2)
    module = netc.compile(NET, keep=["p"])
    assert (parts_of(whole), parts_of(module)) == (1, 3)
    assert module.outputs == whole.outputs == {"prob": (6, 10)}
    assert module.inputs == whole.inputs
    for _ in range(2):
        np.testing.assert_allclose(module.run(data=DATA)["prob"], whole.run(data=DATA)["prob"], atol=1e-6)
    assert module.blob("p").shape == (6, 20, 6, 6)
    # each part works in the memory of the one before
    assert module.memory.activations < netc.compile(NET, opt_level=2, keep=["p"]).memory.activations


def test_parts_survive_saving(two_rows, tmp_path):
    module = netc.compile(NET)
    module.save(tmp_path / "parts.netc")
    loaded = netc.load(tmp_path / "parts.netc")
    assert parts_of(loaded) == 3
    np.testing.assert_array_equal(loaded.run(data=DATA)["prob"], module.run(data=DATA)["prob"])


def test_another_batch_gets_parts_of_its_own(two_rows):
    module = netc.compile(NET)
    four = module.run(data=DATA[:4])["prob"]
    np.testing.assert_allclose(four, module.run(data=DATA)["prob"][:4], atol=1e-6)


def test_the_time_of_a_kernel_is_that_of_all_parts(two_rows):
    module = netc.compile(NET)
    kernels = profile(*module.specialise(data=DATA), repeats=1)
    whole = netc.compile(NET, opt_level=2)
    flops = [
        sum(k.flops for k in timed) for timed in (kernels, profile(*whole.specialise(data=DATA), repeats=1))
    ]
    assert flops[0] == flops[1]


@pytest.mark.parametrize(
    "layer",
    [
        'layer { name: "s" type: "Reduction" bottom: "ip" top: "s" }',
        'layer { name: "s" type: "Softmax" bottom: "ip" top: "s" softmax_param { axis: 0 } }',
        'layer { name: "s" type: "Reshape" bottom: "ip" top: "s" reshape_param { shape { dim: 3 dim: 20 } } }',
        'layer { name: "s" type: "Concat" bottom: "ip" bottom: "ip" top: "s" concat_param { axis: 0 } }',
        'layer { name: "s" type: "Parameter" top: "b" parameter_param { shape { dim: 6 dim: 10 } } }\n'
        'layer { name: "t" type: "Eltwise" bottom: "ip" bottom: "b" top: "s" }',
        'layer { name: "s" type: "Reshape" bottom: "ip" top: "s" reshape_param { shape { dim: 6 dim: -1 } } }\n'
        'layer { name: "t" type: "Softmax" bottom: "s" top: "t" }',
        'layer { name: "s" type: "Reshape" bottom: "c" top: "s"\n'
        "  reshape_param { shape { dim: 6 dim: -1 dim: 144 } } }\n"
        'layer { name: "t" type: "Softmax" bottom: "s" top: "t" }\n'
        'layer { name: "u" type: "Reshape" bottom: "t" top: "u"\n'
        "  reshape_param { shape { dim: -1 dim: 20 dim: 12 dim: 12 } } }",
    ],
    ids=["reduction", "softmax", "reshape", "concat", "parameter", "stated size", "stated size with axes"],
)
def test_a_net_whose_samples_meet_runs_as_a_whole(two_rows, layer):
    module = netc.compile(NET + layer)
    assert parts_of(module) == 1
    reference = netc.compile(NET + layer, {n: list(p) for n, p in module.params.items()}, target="numpy")
    for name, expected in reference.run(data=DATA).items():
        np.testing.assert_allclose(module.run(data=DATA)[name], expected, atol=1e-5)


def test_nets_that_remember_run_as_a_whole(two_rows):
    text = NET + 'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "bn" }'
    assert parts_of(netc.compile(text, phase="TRAIN")) == 1


@pytest.mark.parametrize(("net", "part"), [("squeezenet_v1.1", 4), ("lenet", None), ("caffenet", None)])
def test_a_part_leaves_the_arena_within_the_cache_where_weights_are_few(net, part):
    shape = {"lenet": (1, 28, 28), "caffenet": (3, 227, 227)}.get(net, (3, 224, 224))
    options = CompileOptions(input_shapes=(("data", (16, *shape)),))
    imported = import_message(load_net(ZOO / f"{net}.net", phase="TEST"), options)
    assert batch_size(imported) == 16
    assert batch_row_axes(imported.module.func("main")) is not None
    lowered = run_pipeline(imported.module, opt_level=3, block=16)
    target = replace(host_target(), l3_bytes=32 << 20)
    assert rows_of_a_part(16, lowered, target) == part
    assert rows_of_a_part(16, lowered, replace(target, l3_bytes=1 << 40)) is None


def test_the_code_shown_is_that_of_a_part(two_rows):
    options = CompileOptions()
    message = read_message(NET, options)
    net = import_message(message, options)
    text = emit(net, options, "buffer", importer_of_rows(message, options, net))
    assert "f32[2,20,12,12]" in text
    assert "f32[6,20,12,12]" not in text


@pytest.mark.parametrize("parts", [0, -2, 2, 10**9])
def test_a_file_with_a_wrong_number_of_parts_is_damaged(two_rows, tmp_path, parts):
    module = netc.compile(NET)
    wrong = replace(module.compiled, parts=parts)
    path = tmp_path / "parts.netc"
    write_artifact(path, Artifact(load_net(NET), wrong, dict(module._params.arrays)))
    with pytest.raises(netc.NetcError, match=f"it does not run in {parts} parts"):
        netc.load(path)
