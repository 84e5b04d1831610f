"""Recomputing activations: the same numbers with less memory."""

from __future__ import annotations

import numpy as np
import pytest

from netc.backends.numpy_reference import run_func
from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.arena import arena_bytes
from netc.ir.core import Module
from netc.ir.verify import verify
from netc.passes.differentiate import differentiate
from netc.passes.pipeline import run_pipeline
from netc.passes.recompute import recompute

CHANNELS, SIZE, DEPTH = 8, 12, 12


def chain(*, residual: bool = False) -> str:
    """Convolutions one after the other, behind each a ReLU; every second one may be skipped over."""
    text = f'layer {{ name: "x" type: "Input" top: "b0" input_param {{ shape {{ dim: 2 dim: {CHANNELS} '
    text += f"dim: {SIZE} dim: {SIZE} }} }} }}\n"
    for i in range(DEPTH):
        text += (
            f'layer {{ name: "c{i}" type: "Convolution" bottom: "b{i}" top: "c{i}" convolution_param {{ '
            f"num_output: {CHANNELS} kernel_size: 3 pad: 1 }} }}\n"
            f'layer {{ name: "r{i}" type: "ReLU" bottom: "c{i}" top: "{"r" if residual else "b"}{i + 1}" }}\n'
        )
        if residual:
            text += f'layer {{ name: "s{i}" type: "Eltwise" bottom: "r{i + 1}" bottom: "b{i}" top: "b{i + 1}" }}\n'
    return (
        text + f'layer {{ name: "loss" type: "Reduction" bottom: "b{DEPTH}" top: "loss" loss_weight: 1 }}\n'
    )


def differentiated(text: str) -> tuple[Module, tuple[str, ...]]:
    net = import_net(load_net(text, phase="TRAIN"), phase="TRAIN")
    wrt = [info.value.name for info in net.params]
    seeds: dict[str, float | None] = {term.value.name: term.weight for term in net.losses}
    forward = net.module.func("main").result_names
    return differentiate(net.module, seeds=seeds, wrt=wrt), forward


def results(module: Module) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    main = module.func("main")
    args = {a.name: rng.standard_normal(a.type.shape).astype(np.float32) * 0.2 for a in main.args}
    return run_func(main, args)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("segments", [2, 3, 5, 40])
def test_computing_again_gives_the_same_numbers_to_the_bit(segments: int, residual: bool) -> None:
    module, forward = differentiated(chain(residual=residual))
    again = recompute(module, forward=forward, segments=segments)
    verify(again)
    assert again != module
    expected, found = results(module), results(again)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_one_run_changes_nothing() -> None:
    module, forward = differentiated(chain())
    assert recompute(module, forward=forward, segments=1) == module


@pytest.mark.parametrize("residual", [False, True])
def test_a_deep_chain_needs_a_third_less_memory(residual: bool) -> None:
    module, forward = differentiated(chain(residual=residual))
    kept, again = (
        arena_bytes(run_pipeline(module, opt_level=3, block=8, forward=forward, segments=n).buffer)
        for n in (1, 4)
    )
    assert again < 0.67 * kept


def test_the_last_run_is_not_computed_twice() -> None:
    module, forward = differentiated(chain())
    again = recompute(module, forward=forward, segments=2)
    count = sum(op.name == "nn.conv" for op in again.func("main").ops)
    assert DEPTH < count < 2 * DEPTH - 2
