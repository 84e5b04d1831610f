"""Inputs through pinned memory, on a stand-in for CuPy: what is copied when, and who waits for whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_harness import needs_emulator
from fake_cupy import Array, FakeCupy, Stream
from test_cuda_training import CUDA, DATA, NET, iterate, small_step
from test_cupy_device import gpu

import netc
from netc.passes.update_params import UpdateRule
from netc.runtime.input_copies import InputCopies


class Machine:
    """A GPU with memory for two inputs."""

    def __init__(self) -> None:
        self.cupy = FakeCupy()
        self.runs: Stream = self.cupy.cuda.Stream(non_blocking=True)
        self.copies = InputCopies(self.cupy, self.runs)
        self.memory = [self.cupy.zeros(size, np.uint8) for size in (24, 400)]

    def inputs(self, seed: int) -> list[tuple[Array, Any]]:
        rng = np.random.default_rng(seed)
        arrays = [rng.standard_normal((2, 3)).astype(np.float32), rng.standard_normal(100).astype(np.float32)]
        return list(zip(self.memory, arrays, strict=True))

    def holds(self, inputs: list[tuple[Array, Any]]) -> bool:
        return all((to.host.view(np.float32) == array.reshape(-1)).all() for to, array in inputs)


def test_inputs_go_through_two_pinned_buffers_in_turn() -> None:
    machine = Machine()
    for seed in range(4):
        inputs = machine.inputs(seed)
        machine.copies.feed(inputs)
        assert machine.holds(inputs)
    assert machine.cupy.copies == [("ours", 24, True), ("ours", 400, True)] * 4
    assert len(machine.cupy.pinned) == 2
    # from the third on a buffer is written again, when its copy has ended
    assert machine.cupy.waits == ["the host waits for an event of ours"] * 2


def test_staged_inputs_are_copied_beside_the_run_and_taken_by_the_next() -> None:
    machine = Machine()
    first, second = machine.inputs(0), machine.inputs(1)
    machine.copies.feed(first)
    machine.cupy.copies.clear()
    machine.copies.stage(second)
    assert machine.holds(first)
    assert machine.cupy.copies == [("the copies'", 24, True), ("the copies'", 400, True)]
    machine.copies.feed(second)
    assert machine.holds(second)
    assert len(machine.cupy.copies) == 2
    assert machine.cupy.waits == [
        "the copies' waits for an event of ours",
        "ours waits for an event of the copies'",
    ]


def test_a_staged_batch_waits_until_the_one_before_was_taken() -> None:
    machine = Machine()
    for seed in range(3):
        inputs = machine.inputs(seed)
        machine.copies.stage(inputs)
        machine.copies.feed(inputs)
        assert machine.holds(inputs)
    device = [wait for wait in machine.cupy.waits if not wait.startswith("the host")]
    assert device == ["the copies' waits for an event of ours", "ours waits for an event of the copies'"] * 3
    assert machine.cupy.waits.count("the host waits for an event of the copies'") == 1


def test_other_inputs_than_those_staged_are_copied_as_ever() -> None:
    machine = Machine()
    staged, other = machine.inputs(0), machine.inputs(1)
    machine.copies.stage(staged)
    mixed = [staged[0], other[1]]
    machine.copies.feed(mixed)
    assert machine.holds(mixed)
    machine.cupy.copies.clear()
    machine.copies.feed(staged)
    assert machine.holds(staged)
    assert [name for name, _, _ in machine.cupy.copies] == ["ours", "ours"]


@needs_emulator
@pytest.mark.parametrize("iter_size", [1, 2])
def test_a_training_iteration_copies_the_next_batch_while_it_runs(iter_size: int) -> None:
    cupy = FakeCupy()
    with gpu(cupy):
        step = small_step(UpdateRule("SGD", momentum=0.9, iter_size=iter_size), **CUDA)
        batches = [{name: array.copy() for name, array in DATA.items()} for _ in range(3 * iter_size)]
        for i in range(3):
            mine = batches[i * iter_size : (i + 1) * iter_size]
            after = batches[(i + 1) * iter_size : (i + 1) * iter_size + 1]
            step.run(mine, 0.1, i, following=lambda found=after: found[0] if found else None)
        found = dict(step.params.arrays)
    beside = [size for name, size, _ in cupy.copies if name == "the copies'"]
    assert beside == [96, 16] * (3 * iter_size - 1)
    plain = FakeCupy()
    with gpu(plain):
        other = small_step(UpdateRule("SGD", momentum=0.9, iter_size=iter_size), **CUDA)
        for i in range(3):
            iterate(other, i)
        for name, array in other.params.arrays.items():
            np.testing.assert_array_equal(found[name], array)


@needs_emulator
def test_a_module_feeds_its_inputs_through_pinned_memory() -> None:
    cupy = FakeCupy()
    with gpu(cupy):
        module = netc.compile(NET.split('layer { name: "loss"')[0], **CUDA)
        module.run(**DATA)
    assert ("ours", 96, True) in cupy.copies
