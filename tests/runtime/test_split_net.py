"""Nets whose batch is run in parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from netc.frontend.net_file import load_net
from netc.ir.arena import arena_bytes
from netc.ir.batch import Segment
from netc.runtime import lower_net
from netc.runtime.api import read_message
from netc.runtime.compiler import import_message
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


def split_in_two(monkeypatch):
    """Batches run two rows at a time from now on, where they can."""
    monkeypatch.setattr(lower_net, "choose_segments", lambda batch, cache_bytes: [Segment(0, batch.end, 2)])


@pytest.fixture
def two_rows(monkeypatch):
    split_in_two(monkeypatch)


def rows_at_once(module: Module) -> set[int]:
    """How many rows the launches of a module write."""
    launches = [op for op in module.compiled.buffer.func("main").ops if op.name == "buffer.launch"]
    return {op.operands[-1].type.tensor.shape[0] for op in launches}


def test_a_batch_in_parts_gives_what_it_gives_as_a_whole(two_rows):
    whole = netc.compile(NET, opt_level=2)
    module = netc.compile(NET, keep=["p"])
    assert (rows_at_once(whole), rows_at_once(module)) == ({6}, {2})
    assert module.outputs == whole.outputs == {"prob": (6, 10)}
    assert module.inputs == whole.inputs
    for _ in range(2):
        np.testing.assert_allclose(module.run(data=DATA)["prob"], whole.run(data=DATA)["prob"], atol=1e-6)
    assert module.blob("p").shape == (6, 20, 6, 6)
    # each part works in the memory of the one before
    assert module.memory.activations < netc.compile(NET, opt_level=2, keep=["p"]).memory.activations


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_narrow_numbers_are_the_same_in_parts(monkeypatch, precision):
    ranges = netc.calibrate(NET, None, {"data": DATA}, method="max") if precision == "int8" else None
    whole = netc.compile(NET, precision=precision, ranges=ranges)
    split_in_two(monkeypatch)
    module = netc.compile(NET, precision=precision, ranges=ranges)
    assert (rows_at_once(whole), rows_at_once(module)) == ({6}, {2})
    np.testing.assert_array_equal(module.run(data=DATA)["prob"], whole.run(data=DATA)["prob"])


def test_the_parts_of_a_batch_share_their_kernels(two_rows):
    module = netc.compile(NET)
    launches = [op for op in module.compiled.buffer.func("main").ops if op.name == "buffer.launch"]
    assert len(launches) == 3 * len(module.compiled.objects)


def test_parts_survive_saving(two_rows, tmp_path):
    module = netc.compile(NET)
    module.save(tmp_path / "parts.netc")
    loaded = netc.load(tmp_path / "parts.netc")
    assert rows_at_once(loaded) == {2}
    np.testing.assert_array_equal(loaded.run(data=DATA)["prob"], module.run(data=DATA)["prob"])


def test_another_batch_gets_parts_of_its_own(two_rows):
    module = netc.compile(NET)
    four = module.run(data=DATA[:4])["prob"]
    np.testing.assert_allclose(four, module.run(data=DATA)["prob"][:4], atol=1e-6)


def test_the_time_of_a_kernel_is_that_of_all_parts(two_rows):
    module, whole = netc.compile(NET), netc.compile(NET, opt_level=2)
    kernels, of_whole = (profile(*m.specialise(data=DATA), repeats=1) for m in (module, whole))
    assert len(kernels) == len(module.compiled.objects)
    assert sum(k.flops for k in kernels) == sum(k.flops for k in of_whole)
    assert all(kernel.shape.startswith("3 times 2x") for kernel in kernels)


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
def test_a_net_whose_samples_meet_is_split_up_to_there(two_rows, layer):
    module = netc.compile(NET + layer)
    assert 2 in rows_at_once(module)
    reference = netc.compile(NET + layer, {n: list(p) for n, p in module.params.items()}, target="numpy")
    for name, expected in reference.run(data=DATA).items():
        np.testing.assert_allclose(module.run(data=DATA)[name], expected, atol=1e-5)


def test_nets_that_remember_run_as_a_whole(two_rows):
    text = NET + 'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "bn" }'
    assert rows_at_once(netc.compile(text, phase="TRAIN")) >= {6}


@pytest.mark.parametrize(
    ("net", "least"),
    [("squeezenet_v1.1", 2), ("resnet50", 2), ("vgg16", 2), ("mobilenet_v1", 2), ("lenet", 1)],
)
def test_what_a_batch_keeps_in_memory_shrinks_where_it_would_leave_the_cache(monkeypatch, net, least):
    shape = (1, 28, 28) if net == "lenet" else (3, 224, 224)
    target = "cpu:avx512"
    options = CompileOptions(target=target, input_shapes=(("data", (16, *shape)),))
    imported = import_message(load_net(ZOO / f"{net}.net", phase="TEST"), options)
    split = lower_net.lower_net(imported.module, options).buffer
    monkeypatch.setattr(lower_net, "choose_segments", lambda batch, cache_bytes: [])
    whole = lower_net.lower_net(imported.module, options).buffer
    assert arena_bytes(split) * least <= arena_bytes(whole)


def test_the_code_shown_is_that_of_a_part(two_rows):
    options = CompileOptions()
    text = emit(import_message(read_message(NET, options), options), options, "buffer")
    assert "f32[2,20,12,12]" in text
    assert "f32[6,20,12,12]" not in text
