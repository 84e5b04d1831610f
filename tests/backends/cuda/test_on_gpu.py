"""What the emulator proves, once more on a GPU: ``pytest -m gpu tests/backends/cuda``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_nets import NETS
from golden_cases import (
    CASES,
    COMPILED_TOLERANCE,
    FOLDER,
    WITH_GRADIENTS,
    gradients,
    gradients_wanted,
    load,
    phase_of,
    under,
    weights_of,
)
from golden_cases import check as check_golden
from test_cuda_nets import RULES, batch, check, trained
from test_cuda_training import DATA, close, solved
from test_cuda_training import NET as SMALL

import netc
from netc.backends.cuda.nvrtc import has_nvrtc
from netc.ir.diagnostics import NetcError
from netc.passes.update_params import UpdateRule
from netc.runtime.cuda_device import load_cupy
from netc.runtime.profile import profile

GPU: dict[str, Any] = {"target": "cuda", "precision": "fp32"}
PRECISIONS = {"tf32": 8e-3, "bf16": 6e-2, "fp16": 8e-3}  # errors of outputs, of the largest


def missing() -> str | None:
    """Why nothing can run on a GPU here; None: it can."""
    try:
        load_cupy()
    except NetcError as error:
        return error.message
    return None if has_nvrtc() else "NVRTC is not installed"


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


def like(module: Any, **options: Any) -> Any:
    """The same net for another target, with the same parameters."""
    return netc.compile(module._message, module.params, phase=module.compiled.options.phase, **options)


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_the_original(case: str) -> None:
    arrays = load(case)
    path = FOLDER / f"{case}.prototxt"
    module = netc.compile(path, weights_of(arrays), phase=phase_of(case), **GPU)
    given = under(arrays, "in/")
    check_golden(module.run(**given), under(arrays, "out/"), COMPILED_TOLERANCE)
    module.seed(0)
    module.reset_states()
    check_golden(module.run(**given), under(arrays, "out/"), COMPILED_TOLERANCE)  # now as a graph


@pytest.mark.parametrize("case", WITH_GRADIENTS)
def test_gradients_are_those_of_the_original(case: str) -> None:
    arrays = load(case)
    check_golden(gradients(case, arrays, **GPU), gradients_wanted(arrays), COMPILED_TOLERANCE)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETS)
def test_tensor_cores_stay_within_the_error_of_their_precision(name: str, precision: Any) -> None:
    cpu = netc.compile(NETS[name])
    module = like(cpu, target="cuda", precision=precision)
    given = batch(cpu, 1)
    check(module.run(**given), cpu.run(**given), PRECISIONS[precision])


@pytest.mark.parametrize("name", NETS)
def test_three_solver_steps_are_those_of_the_cpu(name: str) -> None:
    check(trained(NETS[name], RULES[0], GPU), trained(NETS[name], RULES[0], {"target": "cpu"}))


@pytest.mark.parametrize(
    "rule",
    [*RULES[1:], UpdateRule("SGD", momentum=0.9, iter_size=2)],
    ids=lambda r: f"{r.kind}-{r.iter_size}",
)
def test_every_rule_of_a_solver_updates_as_on_the_cpu(rule: UpdateRule) -> None:
    check(trained(NETS["det1"], rule, GPU), trained(NETS["det1"], rule, {"target": "cpu"}))


def test_results_are_the_same_to_the_bit_in_every_run() -> None:
    first, second = (trained(NETS["googlenet_like"], RULES[0], {"target": "cuda"}) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_snapshots_and_test_nets_see_what_the_device_has_learned(tmp_path: Path) -> None:
    close(solved(tmp_path / "cuda", **GPU), solved(tmp_path / "cpu", target="cpu"))


@pytest.mark.parametrize("size", [14, 28])
def test_winograd_s_convolution_computes_what_a_direct_one_does(size: int) -> None:
    net = (
        f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 4 dim: 256 dim: {size} dim: {size} }} }} }}'
        'layer { name: "y" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 256 '
        'kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }'
    )
    old = {
        **GPU,
        "target": "cuda:sm_70",
    }  # whose PTX later GPUs run; its arithmetic is slow against its memory
    exact = netc.compile(net, exact=True, **old)
    quick = like(exact, **old)
    assert "nn.winograd_conv" in {
        o.name for op in quick.compiled.main.ops for o in (op.body.ops if op.body else [op])
    }
    given = {"x": np.random.default_rng(0).standard_normal((4, 256, size, size)).astype(np.float32)}
    check(quick.run(**given), exact.run(**given), 4e-5)


def test_arrays_of_the_gpu_go_in_and_come_out() -> None:
    cupy = load_cupy()
    module = netc.compile(SMALL.split('layer { name: "loss"')[0], target="cuda")
    wanted = module.run(**DATA)
    for _ in range(3):
        found = module.run_on_device(**{name: cupy.asarray(array) for name, array in DATA.items()})
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name].get(), array)


def test_every_kernel_takes_some_time() -> None:
    module = netc.compile(NETS["lenet"], target="cuda")
    given = {"data": np.zeros((2, 1, 28, 28), np.float32), "label": np.zeros(2, np.float32)}
    times = profile(*module.specialise(**given), repeats=3)
    assert all(0 < t.seconds < 1 for t in times)
