"""The device that CuPy gives, on a stand-in for CuPy: what it is called with, and what is missing without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
from cuda_harness import needs_emulator
from cuda_nets import NETS
from fake_cupy import FakeCupy

import netc
from netc.backends.cuda.backend import translation_unit
from netc.ir.diagnostics import NetcError
from netc.runtime import cuda_build
from netc.runtime.cuda_device import load_cupy
from netc.runtime.profile import profile

pytestmark = needs_emulator
DATA = {
    "data": np.random.default_rng(0).standard_normal((2, 3, 12, 14)).astype(np.float32),
    "label": np.zeros((2, 1, 1, 2), np.float32),
    "box": np.ones((2, 4, 1, 2), np.float32),
}


def as_text(code: Any, target: Any, *_: Any) -> dict[str, dict[str, bytes]]:
    """In place of machine code: the text of each kernel."""
    return {
        a.name: {
            k.name: translation_unit([k.text]).encode()
            for k in code[a.units(target.precision)].kernels.values()
        }
        for a in target.architectures
    }


@contextmanager
def installed(cupy: Any) -> Iterator[None]:
    """``import cupy`` gives this meanwhile; None: it fails. Other imports stay."""
    known = sys.modules.get("cupy")
    sys.modules["cupy"] = cupy
    try:
        yield
    finally:
        del sys.modules["cupy"]
        if known is not None:
            sys.modules["cupy"] = known


@contextmanager
def gpu(cupy: FakeCupy) -> Iterator[None]:
    with (
        installed(cupy),
        mock.patch.object(cuda_build, "compile_kernels", as_text),
    ):
        yield


def test_a_net_runs_and_later_runs_are_one_graph() -> None:
    cupy = FakeCupy()
    with gpu(cupy):
        module = netc.compile(NETS["det1"], target="cuda:sm_90")
        first = module.run(**DATA)
        assert cupy.graph_launches == 0
        allocated = len(cupy.allocations)
        second = module.run(**DATA)
        assert cupy.graph_launches == 1
        assert len(cupy.allocations) == allocated
    reference = netc.compile(NETS["det1"], module.params, target="numpy").run(**DATA)
    for name, want in reference.items():
        np.testing.assert_array_equal(first[name], second[name])
        assert np.max(np.abs(first[name] - want)) <= 5e-3 * np.max(np.abs(want))


def test_parameters_that_change_are_seen_by_the_next_run() -> None:
    with gpu(FakeCupy()):
        module = netc.compile(NETS["det1"], target="cuda:sm_90")
        before = module.run(**DATA)
        for arrays in module.params.values():
            for array in arrays:
                array *= 0.5
        after = module.run(**DATA)
    assert abs(after["box_loss"] - before["box_loss"]) > 1e-3


def test_every_kernel_is_timed_between_events() -> None:
    with gpu(FakeCupy()):
        module = netc.compile(NETS["lenet"], target="cuda:sm_90")
        given = {"data": np.zeros((2, 1, 28, 28), np.float32), "label": np.zeros(2, np.float32)}
        times = profile(*module.specialise(**given), repeats=3)
    assert module.compiled.buffer is not None
    launches = [op for op in module.compiled.buffer.func("main").ops if op.name == "buffer.launch"]
    assert [t.kernel for t in times] == [op.attrs.kernel for op in launches]
    assert module.compiled.cuda is not None
    kernels = module.compiled.cuda.main_code.kernels
    assert [t.seconds for t in times] == [0.5e-3 * len(kernels[t.kernel].stages) for t in times]


def test_memory_that_the_gpu_has_not_left_is_an_error() -> None:
    with gpu(FakeCupy(bytes_left=1000)):
        module = netc.compile(NETS["det1"], target="cuda:sm_90")
        with pytest.raises(NetcError, match="which the GPU has not left"):
            module.run(**DATA)


def test_code_for_other_gpus_is_refused_with_what_to_compile_for() -> None:
    with gpu(FakeCupy(capability="80")):
        module = netc.compile(NETS["det1"], target="cuda:sm_90")
        with pytest.raises(NetcError, match="this GPU is an sm_80"):
            module.run(**DATA)


@pytest.mark.parametrize(
    ("cupy", "message"),
    [
        (None, "needs CuPy, which is not installed"),
        (FakeCupy(count=0), "finds no GPU on this machine"),
        (FakeCupy(count=-1), "finds no GPU: cudaErrorNoDevice"),
    ],
)
def test_what_is_missing_is_said_in_one_line_with_what_works(cupy: Any, message: str) -> None:
    with installed(cupy), pytest.raises(NetcError, match=message) as error:
        load_cupy()
    assert "\n" not in str(error.value.message)
    assert "compile, --emit and inspect work without it" in error.value.message


def test_arrays_of_the_gpu_go_in_and_come_out_in_the_order_of_the_caller_s_stream() -> None:
    cupy = FakeCupy()
    text = NETS["det1"].split('layer { name: "loss"')[0]
    with gpu(cupy):
        module = netc.compile(text, target="cuda:sm_90")
        given = {name: cupy.asarray(array.astype(np.float64)) for name, array in DATA.items()}
        found = [module.run_on_device(**given) for _ in range(2)]
        assert cupy.waits[:2] == [
            "ours waits for an event of the caller's",
            "the caller's waits for an event of ours",
        ]
        wanted = module.run(**DATA)
        other = {name: cupy.asarray(np.repeat(array, 2, axis=0)) for name, array in DATA.items()}
        larger = module.run_on_device(**other)
    for name, want in wanted.items():
        for results in found:
            np.testing.assert_array_equal(results[name].get(), want)
        assert larger[name].shape == (4, *want.shape[1:])
    with pytest.raises(NetcError, match="nets compiled for a GPU"):
        netc.compile(text).run_on_device(**given)
    with gpu(cupy), pytest.raises(NetcError, match="has no input 'nothing'"):
        module.run_on_device(nothing=given["data"])
    with gpu(cupy), pytest.raises(NetcError, match="an array on the GPU is expected, got list"):
        module.run_on_device(**{**given, "data": [1.0]})
