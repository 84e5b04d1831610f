"""Timing of launches: that each is run, on memory of its own size, and that weights change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netc.backends.launch_body import split_body
from netc.backends.llvm.lower.table import other_schedules
from netc.backends.llvm.target import parse_target
from netc.ir.core import Op, Value
from netc.ir.ops.conv import ConvAttrs
from netc.ir.types import TensorType
from netc.runtime.tuning import launch_timer
from netc.runtime.tuning.launch_timer import STEPS, LaunchTimer
from netc.runtime.tuning.lone_conv import lone_launch, lone_module
from netc.runtime.tuning.setting import Setting

TARGET = parse_target("cpu")


def conv(name: str = "c") -> Op:
    types = [TensorType("f32", shape) for shape in ((1, 32, 8, 8), (32, 32, 3, 3), (1, 32, 8, 8))]
    x, w, y = (Value(f"{name}.{i}", type_) for i, type_ in enumerate(types))
    return Op("nn.conv", (x, w), ConvAttrs((1, 1), ((1, 1), (1, 1)), (1, 1)), (y,))


def test_equal_convolutions_are_one_question_whatever_their_names():
    assert lone_module(conv("a")) == lone_module(conv("b"))


def test_a_lone_convolution_becomes_the_kernel_of_each_algorithm():
    module = lone_module(conv())
    names = [split_body(lone_launch(module, tile, TARGET))[0].name for tile in (None, 4)]
    assert names == ["nn.conv", "nn.winograd_conv"]


@pytest.mark.parametrize("threads", [1, 2])
def test_every_launch_gets_a_time(threads):
    own = lone_launch(lone_module(conv()), None, TARGET)
    others = [replace(own, attrs=replace(own.attrs, schedule=s)) for s in other_schedules(own, TARGET)[:2]]
    winograd = lone_launch(lone_module(conv()), 4, TARGET)
    found = LaunchTimer()([own, *others, winograd], Setting(TARGET, threads, 1, 1 << 20))
    assert len(found) == 4
    assert all(seconds > 0 for seconds in found)


def test_cold_weights_are_never_those_of_the_run_before(monkeypatch):
    turns: list[list[int]] = []
    real = launch_timer.Program.run_timed

    def run_timed(program: launch_timer.Program) -> list[float]:
        turns.append([int(step.slots[1]) for step in program.steps])
        return real(program)

    monkeypatch.setattr(launch_timer.Program, "run_timed", run_timed)
    own = lone_launch(lone_module(conv()), None, TARGET)
    weight_bytes = 32 * 32 * 9 * 4
    LaunchTimer()([own], Setting(TARGET, 1, 1, 10 * weight_bytes))
    addresses = [address for turn in turns for address in turn]
    assert len(addresses) >= 4 * STEPS
    assert len(set(addresses)) == 10
    assert all(len(set(addresses[i : i + 10])) == 10 for i in range(len(addresses) - 10))
    turns.clear()
    LaunchTimer()([own], Setting(TARGET, 1, 1, 0))
    assert len({address for turn in turns for address in turn}) == 1
