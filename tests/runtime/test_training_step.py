"""One compiled iteration: forward, backward, update in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netc
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.passes.update_params import GRADIENT_NORM, UpdateRule
from netc.runtime.api import filled_params
from netc.runtime.compiler import import_message
from netc.runtime.options import CompileOptions
from netc.runtime.training_step import TrainingStep

SGD = UpdateRule("SGD", momentum=0.9, weight_decay=0.01)
RULES = [
    SGD,
    UpdateRule("SGD", momentum=0.5, clip_gradients=0.1, regularization="L1", weight_decay=0.1),
    UpdateRule("Nesterov", momentum=0.9),
    UpdateRule("AdaGrad"),
    UpdateRule("RMSProp"),
    UpdateRule("AdaDelta", momentum=0.95, delta=1e-6),
    UpdateRule("Adam", momentum=0.9),
]
NUMPY = CompileOptions(target="numpy", phase="TRAIN")


def convnet(batch: int, *, frozen: bool = False, tail: str = "") -> str:
    rate = (
        "param { lr_mult: 0 } param { lr_mult: 0 }" if frozen else "param { lr_mult: 1 } param { lr_mult: 2 }"
    )
    return f"""
    name: "convnet"
    layer {{ name: "in" type: "Input" top: "data" top: "label"
      input_param {{ shape {{ dim: {batch} dim: 3 dim: 10 dim: 10 }} shape {{ dim: {batch} }} }} }}
    layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1" {rate}
      convolution_param {{ num_output: 20 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
    layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
      pooling_param {{ kernel_size: 2 stride: 2 }} }}
    layer {{ name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" {rate}
      convolution_param {{ num_output: 12 kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }}
    layer {{ name: "ip" type: "InnerProduct" bottom: "conv2" top: "ip"
      inner_product_param {{ num_output: 5 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
    {tail}
    """


def training_step(text: str, options: CompileOptions, rule: UpdateRule, **more: Any) -> TrainingStep:
    net = import_message(load_net(text, phase="TRAIN"), options)
    params, _ = filled_params(net, None, seed=3)
    return TrainingStep(net, options, params, rule, **more)


def batches(count: int, size: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [
        {
            "data": rng.standard_normal((size, 3, 10, 10)).astype(np.float32),
            "label": rng.integers(0, 5, size).astype(np.float32),
        }
        for _ in range(count)
    ]


def train(step: TrainingStep, iterations: int, size: int) -> dict[str, np.ndarray]:
    stream = iter(batches(iterations * step.rule.iter_size, size))
    for iteration in range(iterations):
        step.run([next(stream) for _ in range(step.rule.iter_size)], 0.05, iteration)
    return {name: array.copy() for name, array in step.params.arrays.items()}


@pytest.mark.parametrize("opt_level", [0, 3])
@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.kind}-{r.regularization}")
def test_compiled_training_goes_where_the_reference_goes(rule: UpdateRule, opt_level: int) -> None:
    expected = train(training_step(convnet(4), NUMPY, rule), 4, 4)
    options = CompileOptions(phase="TRAIN", opt_level=opt_level)
    found = train(training_step(convnet(4), options, rule), 4, 4)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-4 * np.abs(array).max(), err_msg=name)


@pytest.mark.parametrize("target", ["numpy", "cpu"])
@pytest.mark.parametrize("iter_size", [1, 2])
def test_a_step_that_clips_tells_the_norm_of_all_gradients(target: str, iter_size: int) -> None:
    options = CompileOptions(target=target, phase="TRAIN")
    plain, clipped = (
        training_step(convnet(4), options, UpdateRule("SGD", clip_gradients=c, iter_size=iter_size))
        for c in (None, 0.1)
    )
    given = batches(iter_size, 4)
    before = {name: array.copy() for name, array in plain.params.arrays.items()}
    plain.run(given, 1.0, 0)
    # biases of convolutions learn twice as fast
    rates = {name: 2.0 if name.startswith("conv") and name.endswith("bias") else 1.0 for name in before}
    steps = [(before[n] - a) * iter_size / rates[n] for n, a in plain.params.arrays.items()]
    norm = np.sqrt(sum(np.sum(np.square(step, dtype=np.float64)) for step in steps))
    found = clipped.run(given, 1.0, 0)[-1][GRADIENT_NORM]
    assert norm > 0.1
    np.testing.assert_allclose(found, norm, rtol=1e-4)


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_sub_batches_learn_what_the_whole_batch_learns(target: str) -> None:
    options = CompileOptions(target=target, phase="TRAIN")
    whole = training_step(convnet(16), options, SGD)
    parts = training_step(
        convnet(4), options, UpdateRule("SGD", momentum=0.9, weight_decay=0.01, iter_size=4)
    )
    for iteration, batch in enumerate(batches(5, 16)):
        whole.run([batch], 0.05, iteration)
        cut = [{n: a[i : i + 4] for n, a in batch.items()} for i in range(0, 16, 4)]
        parts.run(cut, 0.05, iteration)
    for name, array in whole.params.arrays.items():
        np.testing.assert_allclose(parts.params.arrays[name], array, rtol=0, atol=1e-5 * np.abs(array).max())


def test_sub_batches_of_a_quarter_need_less_than_half_of_the_activations() -> None:
    options = CompileOptions(phase="TRAIN")
    whole = training_step(convnet(64), options, SGD).memory.activations
    parts = training_step(
        convnet(16), options, UpdateRule("SGD", momentum=0.9, iter_size=4)
    ).memory.activations
    assert parts < 0.45 * whole


def test_a_frozen_trunk_stays_and_takes_no_memory_for_a_backward_pass() -> None:
    options = CompileOptions(phase="TRAIN")
    free, frozen = (training_step(convnet(16, frozen=f), options, SGD) for f in (False, True))
    before = {name: array.copy() for name, array in frozen.params.arrays.items()}
    after = train(frozen, 2, 16)
    changed = {name for name, array in after.items() if not np.array_equal(array, before[name])}
    assert changed == {"ip.weight", "ip.bias"}
    assert set(frozen.history) == changed
    inference = netc.compile(convnet(16)).memory.activations
    assert frozen.memory.activations < 1.1 * inference < free.memory.activations
    assert not any("gradient" in op.name for op in frozen.compiled.main.ops)


def test_an_edit_of_a_parameter_is_seen_by_the_next_iteration() -> None:
    step = training_step(convnet(4), CompileOptions(phase="TRAIN"), SGD)
    (batch,) = batches(1, 4)
    step.run([batch], 0.0, 0)
    step.params.arrays["ip.weight"][...] = 0
    step.params.arrays["ip.bias"][...] = 0
    (results,) = step.run([batch], 0.0, 1)
    np.testing.assert_allclose(results["loss"], np.log(5), rtol=1e-6)


def test_a_limit_of_memory_is_met_by_computing_twice() -> None:
    options = CompileOptions(phase="TRAIN")
    deep = "".join(
        f'layer {{ name: "d{i}" type: "Convolution" bottom: "{"data" if i == 0 else f"d{i - 1}"}" top: "d{i}" '
        "convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } } }"
        for i in range(12)
    )
    text = convnet(
        16, tail=deep + 'layer { name: "r" type: "Reduction" bottom: "d11" top: "r" loss_weight: 0.1 }'
    )
    kept = training_step(text, options, SGD)
    limit = int(kept.memory.total * 0.75)
    step = training_step(text, options, SGD, memory_limit=limit)
    assert step.recomputation is not None
    assert step.recomputation.segments > 1
    assert step.recomputation.extra_macs > 0
    assert step.memory.activations < kept.memory.activations
    assert step.memory.total <= limit
    expected, found = train(kept, 3, 16), train(step, 3, 16)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-6 * np.abs(array).max())


@pytest.mark.parametrize("clip", [None, 0.1])
def test_a_limit_holds_for_all_that_a_step_takes(clip: float | None) -> None:
    options = CompileOptions(phase="TRAIN")
    rule = UpdateRule("Adam", momentum=0.9, clip_gradients=clip, iter_size=2)
    tail = "".join(
        f'layer {{ name: "d{i}" type: "Convolution" bottom: "{"conv2" if i == 0 else f"d{i - 1}"}" top: "d{i}" '
        "convolution_param { num_output: 12 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } } }"
        for i in range(6)
    )
    text = convnet(
        8, tail=tail + 'layer { name: "r" type: "Reduction" bottom: "d5" top: "r" loss_weight: 1 }'
    )
    whole = training_step(text, options, rule).memory.total
    met = 0
    for limit in (whole, whole - 64, int(whole * 0.9)):
        try:
            assert training_step(text, options, rule, memory_limit=limit).memory.total <= limit
            met += 1
        except NetcError as error:
            assert "more than the limit" in str(error)  # noqa: PT017
    assert met >= 2


def test_a_limit_that_cannot_be_met_is_refused_with_the_figures() -> None:
    with pytest.raises(NetcError, match="at least, more than the limit of 1 kB"):
        training_step(convnet(16), CompileOptions(phase="TRAIN"), SGD, memory_limit=1000)


def test_a_net_without_a_loss_is_refused() -> None:
    text = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
    text += (
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }'
    )
    with pytest.raises(NetcError, match="no loss"):
        training_step(text, CompileOptions(phase="TRAIN"), SGD)


def test_a_batch_of_another_size_is_refused() -> None:
    step = training_step(convnet(4), CompileOptions(phase="TRAIN"), SGD)
    with pytest.raises(NetcError, match="the net trains on data 4x3x10x10, label 4; got data 5x3x10x10"):
        step.run(batches(1, 5), 0.1, 0)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_does_not_change_what_is_learned(threads: int) -> None:
    one = train(training_step(convnet(4), CompileOptions(phase="TRAIN", threads=1), SGD), 3, 4)
    many = train(training_step(convnet(4), CompileOptions(phase="TRAIN", threads=threads), SGD), 3, 4)
    for name, array in one.items():
        np.testing.assert_array_equal(many[name], array)


def test_winograds_convolution_learns_what_the_direct_one_learns() -> None:
    text = """
    layer { name: "in" type: "Input" top: "data" top: "label"
      input_param { shape { dim: 4 dim: 32 dim: 24 dim: 24 } shape { dim: 4 } } }
    layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
      convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
    layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
    layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
      convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
    layer { name: "pool" type: "Pooling" bottom: "conv2" top: "pool"
      pooling_param { pool: AVE global_pooling: true } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pool" bottom: "label" top: "loss" }
    """
    rng = np.random.default_rng(0)
    stream = [
        {
            "data": rng.standard_normal((4, 32, 24, 24), np.float32),
            "label": rng.integers(0, 32, 4).astype(np.float32),
        }
        for _ in range(3)
    ]
    learned = {}
    for exact in (False, True):
        step = training_step(text, CompileOptions(target="cpu", phase="TRAIN", exact=exact), SGD)
        for iteration, batch in enumerate(stream):
            step.run([batch], 0.5, iteration)
        learned[exact] = {name: array.copy() for name, array in step.params.arrays.items()}
        ops = [op for op in step.compiled.main.ops for op in (op.body.ops if op.body else [op])]
        names = [op.name for op in ops]
        # forward twice, and the gradient of the second one's input
        assert (names.count("nn.winograd_conv"), names.count("nn.winograd_weight")) == (
            (0, 0) if exact else (3, 3)
        )
    for name, array in learned[True].items():
        np.testing.assert_allclose(learned[False][name], array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_every_sub_batch_runs_where_nothing_learns(target: str) -> None:
    text = convnet(4, frozen=True).replace('top: "ip"', 'top: "ip" param { lr_mult: 0 } param { lr_mult: 0 }')
    rule = UpdateRule("SGD", iter_size=2)
    step = training_step(text, CompileOptions(target=target, phase="TRAIN"), rule)
    results = step.run(batches(2, 4), 0.1, 0)
    assert len(results) == 2
    assert results[0]["loss"] != results[1]["loss"]


def test_a_limit_of_zero_for_gradients_makes_no_nan() -> None:
    rule = UpdateRule("SGD", clip_gradients=0.0)
    after = train(training_step(convnet(4), CompileOptions(phase="TRAIN"), rule), 2, 4)
    assert all(np.isfinite(array).all() for array in after.values())
