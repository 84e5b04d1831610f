"""Schedules measured on a GPU: what is asked, what is remembered, how a launch runs by cuBLAS. CuPy is a stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from cuda_harness import needs_emulator
from fake_cupy import FakeCupy
from test_cupy_device import gpu, installed

import netc
from netc.backends.cuda.backend import CudaCode, translation_unit
from netc.backends.cuda.target import Architecture
from netc.backends.llvm.object_cache import ObjectCache
from netc.ir.core import Op
from netc.ir.diagnostics import NetcError
from netc.runtime.api import build
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions
from netc.runtime.tuning import cuda_setting, device_timer
from netc.runtime.tuning.choice_store import ChoiceStore
from netc.runtime.tuning.device_timer import DeviceTimer
from netc.runtime.tuning.tuner import Tuner

NET = """name: "products"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 20 dim: 6 dim: 8 } } }
layer { name: "one" type: "Convolution" bottom: "data" top: "one"
        convolution_param { num_output: 24 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "three" type: "Convolution" bottom: "one" top: "three"
        convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "three" top: "three" }
"""
ROWS = """name: "rows"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 20 dim: 300 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 40
        TRANSPOSE weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "fc" top: "fc" }
"""


@contextmanager
def fake_gpu(cupy: FakeCupy) -> Iterator[None]:
    def texts(code: CudaCode, architecture: Architecture, *_: Any) -> Any:
        return {
            architecture.name: {k.name: translation_unit([k.text]).encode() for k in code.kernels.values()}
        }

    with (
        gpu(cupy),
        mock.patch.object(device_timer, "compile_for_one", texts),
        mock.patch.object(cuda_setting, "nvrtc_version", return_value="12.9"),
    ):
        yield


def tuner(folder: Path, measure: Any) -> Tuner:
    return Tuner(measure=measure, store=ChoiceStore(ObjectCache(folder / "choices")))


def compiled(text: str, used: Tuner | None, target: str = "cuda:sm_90") -> Module:
    return build(text, None, CompileOptions(target=target, tuner=used))


def schedules(module: Module) -> list[str]:
    assert module.compiled.buffer is not None
    ops = module.compiled.buffer.func("main").ops
    return [op.attrs.schedule for op in ops if op.name == "buffer.launch" and op.attrs.schedule]


def prefers(wanted: Callable[[str], bool]) -> Any:
    """A measurement by which schedules of a kind are the quickest."""

    def measure(launches: Sequence[Op], setting: Any) -> list[float]:
        del setting
        return [1.0 if wanted(op.attrs.schedule or "") else 2.0 for op in launches]

    return measure


def check_results(module: Module, text: str, shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    reference = netc.compile(text, module.params, target="numpy").run(data=data)
    for _ in range(2):
        for name, found in module.run(data=data).items():
            want = reference[name]
            assert np.max(np.abs(found - want)) <= 5e-3 * np.max(np.abs(want))


@needs_emulator
@pytest.mark.parametrize("kind", ["wgmma", "mma", "simt"])
def test_the_quickest_schedule_is_taken_and_computes_the_same(tmp_path: Path, kind: str) -> None:
    with fake_gpu(FakeCupy()):
        module = compiled(NET, tuner(tmp_path, prefers(lambda s: s.startswith(kind))))
        assert len(schedules(module)) >= 1
        assert all(schedule.startswith(kind) for schedule in schedules(module))
        check_results(module, NET, (1, 20, 6, 8))


@needs_emulator
@pytest.mark.parametrize("transpose", ["", "transpose: true"])
def test_a_product_by_cublas_stands_between_graphs(tmp_path: Path, transpose: str) -> None:
    cupy = FakeCupy()
    text = ROWS.replace("TRANSPOSE", transpose)
    with fake_gpu(cupy):
        module = compiled(text, tuner(tmp_path, prefers(lambda s: s == "cublas=1")))
        assert schedules(module) == ["cublas=1"]
        check_results(module, text, (20, 300))
        assert (cupy.cublas.products, cupy.graph_launches) == (2, 1)
        found = netc.runtime.profile.profile(
            *module.specialise(data=np.zeros((20, 300), np.float32)), repeats=1
        )
        assert [t.seconds for t in found] == [pytest.approx(1e-3)]  # the product, and what follows it


@needs_emulator
def test_only_products_of_plain_matrices_can_run_by_cublas(tmp_path: Path) -> None:
    with fake_gpu(FakeCupy()):
        module = compiled(NET, tuner(tmp_path, prefers(lambda s: s == "cublas=1")))
        assert schedules(module) == ["cublas=1"]  # the 3x3 convolution gathers
        check_results(module, NET, (1, 20, 6, 8))


@needs_emulator
def test_a_tuned_net_keeps_its_schedules_in_a_file(tmp_path: Path) -> None:
    with fake_gpu(FakeCupy()):
        module = compiled(NET, tuner(tmp_path, prefers(lambda s: s == "cublas=1")))
        module.save(tmp_path / "net.netc")
        loaded = netc.load(tmp_path / "net.netc")
        assert schedules(loaded) == ["cublas=1"]
        check_results(loaded, NET, (1, 20, 6, 8))


@needs_emulator
def test_candidates_are_timed_on_the_device_and_what_was_found_is_remembered(tmp_path: Path) -> None:
    # by the clock of the stand-in every function takes as long: what is cut into parts is slower
    text = ROWS.replace("TRANSPOSE", "").replace("dim: 300", "dim: 600")
    with fake_gpu(FakeCupy()):
        model = compiled(text, None)
        assert model.compiled.cuda is not None
        (kernel,) = model.compiled.cuda.main_code.kernels.values()
        assert len(kernel.stages) == 2
        with mock.patch.object(device_timer, "TURNS", device_timer.FIRST_TURNS):
            first = compiled(text, tuner(tmp_path, DeviceTimer()))
        assert [schedule.rpartition(" ")[2] for schedule in schedules(first)] == ["parts=1"]
        again = compiled(text, tuner(tmp_path, prefers(lambda s: s.startswith("simt"))))
        assert schedules(again) == schedules(first)
        other = compiled(text, tuner(tmp_path, prefers(lambda s: s.startswith("simt"))), "cuda:sm_80,sm_90")
        assert schedules(other) == schedules(first)
    with fake_gpu(FakeCupy(capability="80")):
        elsewhere = compiled(text, tuner(tmp_path, prefers(lambda s: s.startswith("simt"))), "cuda")
        assert all(schedule.startswith("simt") for schedule in schedules(elsewhere))


@pytest.mark.parametrize(
    ("cupy", "message"),
    [
        (None, "for cuda needs the GPU: .* needs CuPy, which is not installed"),
        (FakeCupy(count=0), "for cuda needs the GPU: CuPy finds no GPU on this machine"),
        (FakeCupy(capability="80"), "this GPU is an sm_80"),
    ],
)
def test_without_the_gpu_it_is_said_in_one_line_what_is_missing(cupy: Any, message: str) -> None:
    with installed(cupy), pytest.raises(NetcError, match=message) as error:
        netc.compile(NET, target="cuda:sm_90", tune=True)
    assert "\n" not in error.value.message
    assert error.value.remedy
