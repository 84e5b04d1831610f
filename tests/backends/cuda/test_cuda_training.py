"""Training on a device: what lasts stays there, and comes back when somebody looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from cuda_harness import needs_emulator
from emulated_device import EmulatedDevice, emulated_gpu

import netc
from netc.frontend.net_file import load_net
from netc.frontend.solver_state import load_solver_state
from netc.frontend.weights import load_weights
from netc.passes import pipeline
from netc.passes.update_params import UpdateRule
from netc.runtime.api import filled_params
from netc.runtime.compiler import import_message
from netc.runtime.options import CompileOptions
from netc.runtime.training_step import TrainingStep

pytestmark = needs_emulator
NET = """
name: "small"
layer { name: "in" type: "Input" top: "data" top: "label" input_param {
  shape { dim: 4 dim: 6 } shape { dim: 4 } } }
layer { name: "hidden" type: "InnerProduct" bottom: "data" top: "hidden" inner_product_param {
  num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "act" type: "TanH" bottom: "hidden" top: "hidden" }
layer { name: "drop" type: "Dropout" bottom: "hidden" top: "hidden" include { phase: TRAIN } }
layer { name: "fc" type: "InnerProduct" bottom: "hidden" top: "fc" inner_product_param {
  num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
DATA = {
    "data": np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32),
    "label": np.array([0, 1, 2, 1], np.float32),
}
INPUTS = [("up", 16), ("up", 96)]
OUTPUTS = [("down", 4)]
CUDA: dict[str, Any] = {"target": "cuda:sm_90", "precision": "fp32"}


def small_step(rule: UpdateRule, **options: Any) -> TrainingStep:
    given = CompileOptions(phase="TRAIN", **options)
    net = import_message(load_net(NET, phase="TRAIN"), given)
    params, _ = filled_params(net, None, seed=3)
    return TrainingStep(net, given, params, rule)


def iterate(step: TrainingStep, iteration: int = 0) -> list[dict[str, Any]]:
    return step.run([DATA] * step.rule.iter_size, 0.1, iteration)


def transfers(devices: list[EmulatedDevice]) -> list[tuple[str, int]]:
    """The copies since the last call, all devices'."""
    found = sorted(t for device in devices for t in device.transfers)
    for device in devices:
        device.transfers.clear()
    return found


def close(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert set(found) == set(wanted)
    for name, want in wanted.items():
        np.testing.assert_allclose(found[name], want, rtol=1e-4, atol=1e-5, err_msg=name)


def content(step: TrainingStep) -> dict[str, Any]:
    history = {f"{n}.{i}": a.copy() for n, h in step.history.items() for i, a in enumerate(h)}
    return {n: a.copy() for n, a in step.params.arrays.items()} | history


@pytest.mark.parametrize("iter_size", [1, 2])
def test_an_iteration_copies_its_inputs_and_results_and_nothing_that_lasts(iter_size: int) -> None:
    rule = UpdateRule("SGD", momentum=0.9, iter_size=iter_size)
    with emulated_gpu() as devices:
        step = small_step(rule, **CUDA)
        iterate(step)
        transfers(devices)
        for iteration in range(1, 4):
            iterate(step, iteration)
            rate = [("up", 4)]
            assert transfers(devices) == sorted([*(INPUTS + OUTPUTS) * iter_size, *rate])
        found = content(step)
    cpu = small_step(rule, target="cpu")
    for iteration in range(4):
        iterate(cpu, iteration)
    close(found, content(cpu))


# with Adam the decay of weights is added where the gradient is made, that of biases in their sweep
@pytest.mark.parametrize(("kind", "kernels"), [("SGD", 1), ("Adam", 2)])
def test_updates_in_few_kernels_give_the_bits_of_updates_one_by_one(kind: Any, kernels: int) -> None:
    rule = UpdateRule(kind, momentum=0.9, weight_decay=0.01)

    def trained() -> tuple[dict[str, Any], int]:
        with emulated_gpu() as devices:
            step = small_step(rule, **CUDA)
            for iteration in range(3):
                iterate(step, iteration)
            return content(step), len(devices[0].calls)

    together, calls = trained()
    with mock.patch.object(pipeline, "group_updates", lambda module, **_: module):
        apart, more_calls = trained()
    assert more_calls - calls == 3 * (4 - kernels)
    for name, array in apart.items():
        np.testing.assert_array_equal(together[name], array)


def test_a_look_brings_everything_once_and_sends_back_only_what_was_changed() -> None:
    with emulated_gpu() as devices:
        step = small_step(UpdateRule("SGD", momentum=0.9), **CUDA)
        iterate(step)
        transfers(devices)
        params = dict(step.params.arrays)
        sizes = sorted(("down", a.nbytes) for a in params.values())
        assert transfers(devices) == sizes
        assert dict(step.params.arrays).keys() == params.keys()
        assert transfers(devices) == []
        params["fc.bias"][...] = 7
        iterate(step, 1)
        ordinary = [*INPUTS, *OUTPUTS, ("up", 4)]
        assert transfers(devices) == sorted([*ordinary, ("up", params["fc.bias"].nbytes)])
        assert np.abs(step.params.arrays["fc.bias"] - 7).max() < 0.2


def test_an_array_that_somebody_holds_is_always_up_to_date() -> None:
    with emulated_gpu() as devices:
        step = small_step(UpdateRule("SGD", momentum=0.9), **CUDA)
        held = step.params.by_layer()["fc"][1]
        seen = []
        for iteration in range(3):
            iterate(step, iteration)
            seen.append(held.copy())
        assert len({a.tobytes() for a in seen}) == 3
        np.testing.assert_array_equal(seen[-1], step.params.arrays["fc.bias"])
        held[...] = 5
        transfers(devices)
        iterate(step, 3)
        assert np.abs(held - 5).max() < 0.2
        del held
        iterate(step, 4)
        transfers(devices)
        iterate(step, 5)
        assert transfers(devices) == sorted([*INPUTS, *OUTPUTS, ("up", 4)])


def test_an_interrupted_iteration_leaves_what_the_device_has_written() -> None:
    with emulated_gpu() as devices:
        step = small_step(UpdateRule("SGD", momentum=0.9), **CUDA)
        iterate(step)
        before = content(step)
        with (
            mock.patch.object(devices[0], "download", side_effect=KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            iterate(step, 1)
        after = content(step)
    cpu = small_step(UpdateRule("SGD", momentum=0.9), target="cpu")
    for iteration in range(2):
        iterate(cpu, iteration)
    close(after, content(cpu))
    assert any((after[name] != before[name]).any() for name in after)


SOLVER = """
base_lr: 0.1 lr_policy: "step" gamma: 0.5 stepsize: 2 momentum: 0.9 weight_decay: 0.01 random_seed: 7 display: 0
max_iter: 4 snapshot: 3 snapshot_after_train: false snapshot_prefix: "{prefix}"
test_iter: 1 test_interval: 2 test_initialization: false
net_param {{ {net} }}
"""


def solved(prefix: Path, **options: Any) -> dict[str, Any]:
    """What a solver with tests and a snapshot leaves: the snapshot's content, the tests' losses."""
    losses: list[float] = []
    solver = netc.Solver(SOLVER.format(net=NET, prefix=prefix), inputs=lambda: DATA, **options)
    solver.add_callbacks(on_test=lambda report: losses.append(float(report.outputs.arrays["loss"])))
    solver.solve()
    weights = load_weights(f"{prefix}_iter_3.caffemodel")
    state = load_solver_state(f"{prefix}_iter_3.solverstate")
    found: dict[str, Any] = {f"{n}/{i}": a for n, arrays in weights.items() for i, a in enumerate(arrays)}
    found.update({f"history {i}": array for i, array in enumerate(state.history)})
    return found | {"losses": np.array(losses)}


def test_snapshots_and_test_nets_see_what_the_device_has_learned(tmp_path: Path) -> None:
    with emulated_gpu() as devices:
        found = solved(tmp_path / "cuda", **CUDA)
    assert len(devices) == 2
    close(found, solved(tmp_path / "cpu", target="cpu"))


def test_training_goes_on_from_a_snapshot_on_the_device(tmp_path: Path) -> None:
    with emulated_gpu():
        solved(tmp_path / "cuda", **CUDA)
        text = SOLVER.format(net=NET, prefix=tmp_path / "again")
        solver = netc.Solver(text, inputs=lambda: DATA, **CUDA)
        solver.step(2)
        solver.restore(tmp_path / "cuda_iter_3.solverstate")
        solver.step(1)
        found = solver.params["fc"][0].copy()
        whole = netc.Solver(text, inputs=lambda: DATA, **CUDA)
        whole.step(4)
        np.testing.assert_array_equal(found, whole.params["fc"][0])
