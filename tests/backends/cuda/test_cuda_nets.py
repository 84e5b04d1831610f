"""Whole nets through the CUDA kernels in the emulator: forward, backward and solver steps, as on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from cuda_harness import needs_emulator
from cuda_nets import NETS
from emulated_device import emulated_gpu

import netc
from netc.frontend.net_file import load_net
from netc.passes.update_params import UpdateRule
from netc.runtime.api import filled_params
from netc.runtime.compiler import import_message
from netc.runtime.options import CompileOptions
from netc.runtime.shapes import tensor_of
from netc.runtime.training_step import TrainingStep

pytestmark = needs_emulator
TOLERANCE = 1e-4
CUDA = {"target": "cuda:sm_90", "precision": "fp32"}
RULES = [
    UpdateRule("SGD", momentum=0.9, weight_decay=0.01),
    UpdateRule("SGD", momentum=0.5, clip_gradients=0.1, regularization="L1", weight_decay=0.1),
    UpdateRule("Nesterov", momentum=0.9),
    UpdateRule("AdaGrad"),
    UpdateRule("RMSProp"),
    UpdateRule("AdaDelta", momentum=0.95, delta=1e-6),
    UpdateRule("Adam", momentum=0.9),
]


def batch(step_or_module: Any, seed: int) -> dict[str, Any]:
    """Random inputs; whole numbers for labels."""
    rng = np.random.default_rng(seed)
    found = {}
    for value in step_or_module.compiled.inputs:
        shape = tensor_of(value.type).static_shape
        drawn = rng.integers(0, 2, shape) if value.name == "label" else rng.standard_normal(shape)
        found[value.name] = drawn.astype(np.float32)
    return {name: array for name, array in found.items() if array.ndim}


def check(found: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float = TOLERANCE) -> None:
    assert set(found) == set(wanted)
    for name, want in wanted.items():
        scale = max(1e-6, float(np.max(np.abs(want))))
        assert np.max(np.abs(found[name] - want)) <= tolerance * scale, name


@pytest.mark.parametrize("name", NETS)
def test_outputs_and_gradients_are_those_of_the_cpu(name: str) -> None:
    def gradients(options: Mapping[str, Any]) -> dict[str, Any]:
        module = netc.compile(NETS[name], phase="TRAIN", training=True, **options)
        outputs = module.run(**batch(module, 1))
        found = {f"in/{n}": a for n, a in module.backward().items()}
        for layer, arrays in module.param_grads.items():
            found |= {f"{layer}/{i}": a for i, a in enumerate(arrays) if a is not None}
        return found | outputs

    with emulated_gpu():
        found = gradients(CUDA)
    check(found, gradients({"target": "cpu"}))


def trained(text: str, rule: UpdateRule, options: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters, history and results after three iterations."""
    given = CompileOptions(phase="TRAIN", **options)
    net = import_message(load_net(text, phase="TRAIN"), given)
    params, _ = filled_params(net, None, seed=3)
    step = TrainingStep(net, given, params, rule)
    found: dict[str, Any] = {}
    for iteration in range(3):
        batches = [batch(step, 10 * iteration + i) for i in range(rule.iter_size)]
        for results in step.run(batches, 0.001, iteration):
            found |= {f"{iteration}/{n}": a for n, a in results.items()}
    history = {f"{n}.history{i}": a for n, h in step.history.items() for i, a in enumerate(h)}
    return found | dict(step.params.arrays) | history


@pytest.mark.parametrize(
    "name", ["lenet", *(pytest.param(n, marks=pytest.mark.slow) for n in NETS if n != "lenet")]
)
def test_three_solver_steps_are_those_of_the_cpu(name: str) -> None:
    with emulated_gpu() as devices:
        found = trained(NETS[name], RULES[0], CUDA)
    assert len(devices) == 1
    check(found, trained(NETS[name], RULES[0], {"target": "cpu"}))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES[1:], ids=lambda r: f"{r.kind}-{r.regularization}")
def test_every_rule_of_a_solver_updates_as_on_the_cpu(rule: UpdateRule) -> None:
    with emulated_gpu():
        found = trained(NETS["det1"], rule, CUDA)
    check(found, trained(NETS["det1"], rule, {"target": "cpu"}))


def test_gradients_accumulate_over_several_batches_as_on_the_cpu() -> None:
    rule = UpdateRule("SGD", momentum=0.9, iter_size=2)
    with emulated_gpu():
        found = trained(NETS["det1"], rule, CUDA)
    check(found, trained(NETS["det1"], rule, {"target": "cpu"}))


def test_results_are_the_same_to_the_bit_in_every_run() -> None:
    with emulated_gpu():
        first, second = (
            trained(NETS["googlenet_like"], RULES[0], {"target": "cuda:sm_90"}) for _ in range(2)
        )
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_one_module_runs_inputs_of_any_size() -> None:
    shapes = {"data": ("N", 3, "H", "W"), "label": ("N", 1, 1, 2), "box": ("N", 4, 1, 2)}
    text = NETS["det1"].split('layer { name: "loss"')[0]
    with emulated_gpu():
        module = netc.compile(text, input_shapes=shapes, **CUDA)
        cpu = netc.compile(text, input_shapes=shapes)
        for layer, arrays in module.params.items():
            for mine, other in zip(arrays, cpu.params[layer], strict=True):
                other[...] = mine
        for batch_size, height, width in ((1, 12, 12), (3, 20, 17)):
            rng = np.random.default_rng(0)
            given = {
                "data": rng.standard_normal((batch_size, 3, height, width)).astype(np.float32),
                "label": np.zeros((batch_size, 1, 1, 2), np.float32),
                "box": np.zeros((batch_size, 4, 1, 2), np.float32),
            }
            check(module.run(**given), cpu.run(**given))


def test_an_op_without_a_kernel_runs_on_the_host_between_kernels() -> None:
    text = NETS["lenet"].split('layer { name: "fc"')[0] + (
        'layer { name: "top" type: "ArgMax" bottom: "ip1" top: "top" argmax_param { top_k: 3 axis: 1 } }'
    )
    with emulated_gpu() as devices:
        module = netc.compile(text, **CUDA)
        assert module.compiled.cuda is not None
        (op,) = module.compiled.cuda.main_code.without_kernel
        assert op.body is not None
        assert op.body.ops[0].name == "tensor.top_k"
        cpu = netc.compile(text)
        for layer, arrays in module.params.items():
            for mine, other in zip(arrays, cpu.params[layer], strict=True):
                other[...] = mine
        given = batch(module, 5)
        check(module.run(**given), cpu.run(**given))
    assert devices[0].calls


SOLVER = """
base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.001 max_iter: 2 display: 0
random_seed: 7 snapshot_after_train: false
net_param {{ {net} }}
"""


def test_the_solver_trains_as_on_the_cpu() -> None:
    def solved(**options: Any) -> dict[str, Any]:
        data = {
            "data": np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype(np.float32),
            "label": np.array([3, 7], np.float32),
        }
        solver = netc.Solver(SOLVER.format(net=NETS["lenet"]), inputs=lambda: data, **options)
        solver.step(2)
        return {
            f"{layer}/{i}": a.copy() for layer, blobs in solver.params.items() for i, a in enumerate(blobs)
        }

    with emulated_gpu():
        found = solved(**CUDA)
    check(found, solved(target="cpu"))
