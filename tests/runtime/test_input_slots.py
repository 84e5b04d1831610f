"""Inputs are read where they lie: whatever array comes, the numbers are those of a copy."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

import netc
from netc.ir.batch import Segment
from netc.runtime import lower_net
from netc.runtime.program import KernelProgram

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 40 dim: 40 } } }
layer { name: "relu" type: "ReLU" bottom: "data" top: "data" }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "slice" type: "Slice" bottom: "data" top: "a" top: "b" slice_param { axis: 0 } }
layer { name: "y" type: "Eltwise" bottom: "a" bottom: "b" top: "y" }
"""
SHAPE = (4, 3, 40, 40)


def images(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE, np.float32)


@pytest.fixture(scope="module")
def module():
    return netc.compile(NET)


@pytest.fixture(scope="module")
def reference(module):
    return netc.compile(NET, module.params, target="numpy")


def same(module, reference, array):
    got, expected = module.run(data=array), reference.run(data=np.array(array))
    for name, blob in expected.items():
        np.testing.assert_allclose(got[name], blob, rtol=1e-4, atol=1e-5, err_msg=name)


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:]
    raw[:] = x.reshape(-1).view(np.uint8)
    return raw.view(np.float32).reshape(x.shape)


KINDS = {
    "as it is": lambda x: x,
    "doubles": lambda x: x.astype(np.float64),
    "every second": lambda x: np.repeat(x, 2, axis=3)[..., ::2],
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
    "big-endian": lambda x: x.astype(">f4"),
    "not aligned": unaligned,
    "in columns": np.asfortranarray,
}


def test_arrays_of_every_kind_in_turn_give_the_same_numbers(module, reference):
    for seed, kind in enumerate([*KINDS, *reversed(KINDS)]):
        same(module, reference, KINDS[kind](images(seed)))


def test_the_callers_array_is_not_written_to(module):
    x = images(0)
    before = x.copy()
    module.run(data=x)
    np.testing.assert_array_equal(x, before)


def test_an_array_that_changed_is_read_again(module, reference):
    x = images(1)
    same(module, reference, x)
    x[...] = images(2)
    same(module, reference, x)


def test_nothing_holds_the_callers_array_after_a_run(module):
    x = images(3)
    gone = weakref.ref(x)
    module.run(data=x)
    del x
    assert gone() is None


def test_large_inputs_are_not_copied_and_small_ones_are(monkeypatch):
    net = NET.replace("dim: 40 dim: 40", "dim: 8 dim: 8")
    for text, shape, copied in ((NET, SHAPE, []), (net, (4, 3, 8, 8), ["data"])):
        module = netc.compile(text)
        filled = []
        real = KernelProgram.fill
        monkeypatch.setattr(KernelProgram, "fill", lambda p, a, f=filled, r=real: (f.extend(a), r(p, a)))
        module.run(data=np.zeros(shape, np.float32))
        monkeypatch.undo()
        assert filled == copied


def test_batches_in_parts_read_each_part_where_it_lies(monkeypatch):
    monkeypatch.setattr(lower_net, "choose_segments", lambda batch, cache_bytes: [Segment(0, batch.end, 2)])
    net = NET[: NET.index('layer { name: "slice"')].replace("dim: 4 dim: 3", "dim: 6 dim: 3")
    x = np.random.default_rng(0).standard_normal((6, 3, 40, 40), np.float32)
    module = netc.compile(net)
    assert sum(op.name == "buffer.launch" for op in module.compiled.buffer.func("main").ops) % 3 == 0
    reference = netc.compile(net, module.params, target="numpy")
    same(module, reference, x)
    same(module, reference, x + 1)
