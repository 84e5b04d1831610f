"""The tuner, with a clock and measurements of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.backends.launch_body import split_body
from netc.backends.llvm.object_cache import ObjectCache
from netc.ir.core import Op
from netc.ir.diagnostics import NetcError
from netc.ir.printer import print_module
from netc.runtime.api import build, build_training, read_message
from netc.runtime.compiler import Compiled, import_message
from netc.runtime.emit import emit
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions
from netc.runtime.tuning.choice_store import ChoiceStore
from netc.runtime.tuning.setting import Setting
from netc.runtime.tuning.tuner import Tuner

NET = """name: "two"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 32 dim: 14 dim: 14 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 64 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "one" type: "Convolution" bottom: "conv" top: "one"
        convolution_param { num_output: 32 kernel_size: 1 weight_filler { type: "xavier" } } }
"""
Rate = Callable[[Op], float]


class Machine:
    """What launches take, by the rate of their anchors; every measurement lasts a second."""

    def __init__(self, seconds: Rate) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.asked: list[list[Op]] = []
        self.settings: list[Setting] = []

    def measure(self, launches: Sequence[Op], setting: Setting) -> list[float]:
        self.now += 1.0
        self.asked.append(list(launches))
        self.settings.append(setting)
        return [self.seconds(launch) for launch in launches]

    def tuner(self, folder: Path, **options: float) -> Tuner:
        store = ChoiceStore(ObjectCache(folder / "choices"))
        return Tuner(measure=self.measure, clock=lambda: self.now, store=store, **options)


def anchors(compiled: Compiled) -> list[Op]:
    return [split_body(op)[0] for op in launches(compiled) if op.body is not None and op.body.ops]


def algorithms(module: Module) -> set[str]:
    return {anchor.name for anchor in anchors(module.compiled)}


def launches(compiled: Compiled) -> list[Op]:
    assert compiled.buffer is not None
    return [op for op in compiled.buffer.func("main").ops if op.name == "buffer.launch"]


def compiled(tuner: Tuner | None, **options: object) -> Module:
    return build(NET, None, CompileOptions(tuner=tuner, **options))  # type: ignore[arg-type]


def schedules(module: Module) -> list[str]:
    return [op.attrs.schedule for op in launches(module.compiled) if op.attrs.schedule is not None]


def winograd_is_slow(launch: Op) -> float:
    return 2.0 if split_body(launch)[0].name == "nn.winograd_conv" else 1.0


def direct_is_slow(launch: Op) -> float:
    anchor = split_body(launch)[0]
    return 1.0 + (anchor.attrs.tile == 4) if anchor.name == "nn.winograd_conv" else 9.0


def own_is_slow(launch: Op) -> float:
    return 2.0 if launch.attrs.schedule is None else 1.0


def test_the_quickest_algorithm_is_taken(tmp_path):
    direct = compiled(Machine(winograd_is_slow).tuner(tmp_path / "a"))
    assert "nn.winograd_conv" not in algorithms(direct)
    winograd = compiled(Machine(direct_is_slow).tuner(tmp_path / "b"))
    (found,) = (op for op in anchors(winograd.compiled) if op.name == "nn.winograd_conv")
    assert found.attrs.tile != 4


def test_the_quickest_schedule_is_taken_and_computes_the_same(tmp_path):
    plain, tuned = compiled(None), compiled(Machine(own_is_slow).tuner(tmp_path))
    assert schedules(plain) == []
    assert len(schedules(tuned)) == 2
    data = np.random.default_rng(0).random((2, 32, 14, 14), np.float32)
    for layer, arrays in plain.params.items():
        for array, other in zip(arrays, tuned.params[layer], strict=True):
            array[...] = other
    np.testing.assert_allclose(tuned.run(data=data)["one"], plain.run(data=data)["one"], atol=1e-4)


def test_the_model_keeps_its_choice_unless_another_is_clearly_quicker(tmp_path):
    def hardly(launch: Op) -> float:
        return 1.0 if launch.attrs.schedule is None else 0.98

    assert schedules(compiled(Machine(hardly).tuner(tmp_path))) == []


def test_a_quickest_one_that_is_not_so_the_second_time_is_not_taken(tmp_path):
    seen: set[str | None] = set()

    def once(launch: Op) -> float:
        first = launch.attrs.schedule not in seen
        seen.add(launch.attrs.schedule)
        return 1.0 if launch.attrs.schedule is not None and first else 2.0

    machine = Machine(once)
    assert schedules(compiled(machine.tuner(tmp_path))) == []
    assert any(len(asked) == 2 for asked in machine.asked)


def test_what_was_measured_is_remembered(tmp_path):
    first = compiled(Machine(own_is_slow).tuner(tmp_path))
    later = Machine(winograd_is_slow)
    second = compiled(later.tuner(tmp_path))
    assert later.asked == []
    assert schedules(second) == schedules(first)
    assert algorithms(second) == algorithms(first)


def test_without_a_tuner_nothing_remembered_is_used(tmp_path):
    compiled(Machine(own_is_slow).tuner(tmp_path))
    assert schedules(compiled(None)) == []


@pytest.mark.parametrize("other", [{"threads": 3}, {"target": "cpu:avx2"}, {"opt_level": 0}])
def test_what_was_measured_holds_for_its_machine_and_threads_only(tmp_path, other):
    compiled(Machine(own_is_slow).tuner(tmp_path), threads=2)
    again, changed = Machine(own_is_slow), Machine(own_is_slow)
    compiled(again.tuner(tmp_path), threads=2)
    assert again.asked == []
    compiled(changed.tuner(tmp_path), **{"threads": 2, **other})
    assert (changed.asked == []) == ("opt_level" in other)  # nothing is blocked there, so nothing is chosen


def test_damaged_memories_are_measured_again(tmp_path):
    compiled(Machine(own_is_slow).tuner(tmp_path))
    files = list((tmp_path / "choices").glob("*"))
    assert len(files) == 3
    for path in files:
        path.write_bytes(path.read_bytes()[:-3])
    again = Machine(own_is_slow)
    assert len(schedules(compiled(again.tuner(tmp_path)))) == 2
    assert len(again.asked) == 5  # two of the questions once more, for what was quickest


def test_exact_forbids_winograd_to_the_tuner_too(tmp_path):
    machine = Machine(direct_is_slow)
    module = compiled(machine.tuner(tmp_path), exact=True)
    assert "nn.winograd_conv" not in algorithms(module)
    assert all(split_body(op)[0].name == "nn.conv" for asked in machine.asked for op in asked)


def test_when_time_is_up_the_rest_is_left_to_the_model_and_to_another_time(tmp_path):
    machine = Machine(own_is_slow)
    tuner = machine.tuner(tmp_path, limit_s=2.0)
    assert len(schedules(compiled(tuner))) == 1
    assert (len(machine.asked), tuner.unmeasured) == (3, 1)
    # the 3x3 convolution is the larger one
    assert machine.asked[1][0].operands[0].type.tensor.shape == (2, 32, 14, 14)  # type: ignore[union-attr]
    later = machine.tuner(tmp_path)
    assert len(schedules(compiled(later))) == 2
    assert (len(machine.asked), later.unmeasured) == (5, 0)


def test_progress_goes_from_nothing_to_all(tmp_path):
    seen: list[tuple[int, int]] = []
    tuner = Machine(winograd_is_slow).tuner(tmp_path)
    tuner.on_progress = lambda done, total: seen.append((done, total))
    compiled(tuner)
    assert seen == [(0, 1), (1, 1), (0, 2), (1, 2), (2, 2)]


def test_kernels_for_any_size_are_not_measured(tmp_path):
    machine = Machine(own_is_slow)
    options = CompileOptions(
        tuner=machine.tuner(tmp_path), input_shapes=(("data", (netc.ir.dim.symbol("N"), 32, 14, 14)),)
    )
    module = build(NET, None, options)
    assert machine.asked == []
    assert schedules(module) == []


def test_a_file_of_a_tuned_net_keeps_its_schedules(tmp_path):
    module = compiled(Machine(own_is_slow).tuner(tmp_path))
    module.save(tmp_path / "two.netc")
    loaded = netc.load(tmp_path / "two.netc")
    assert schedules(loaded) == schedules(module)
    data = np.random.default_rng(0).random((2, 32, 14, 14), np.float32)
    np.testing.assert_array_equal(loaded.run(data=data)["one"], module.run(data=data)["one"])


def test_the_code_shown_is_the_tuned_one(tmp_path):
    options = CompileOptions(tuner=Machine(own_is_slow).tuner(tmp_path))
    message = read_message(NET, options)
    net = import_message(message, options)
    text = emit(net, options, "buffer")
    module = build(NET, None, options)
    assert module.compiled.buffer is not None
    assert text == print_module(module.compiled.buffer)
    assert 'schedule = "' in text


def test_a_net_for_training_is_tuned_too(tmp_path):
    machine = Machine(own_is_slow)
    module = build_training(NET, None, CompileOptions(tuner=machine.tuner(tmp_path)))
    # forward, and the gradients of both inputs
    assert len(schedules(module)) == 4


def test_weights_that_fit_no_cache_are_measured_cold(tmp_path):
    machine = Machine(own_is_slow)
    compiled(machine.tuner(tmp_path))
    assert {setting.cold_bytes for setting in machine.settings} == {0}
    wide = NET.replace("num_output: 32", "num_output: 40000")
    build(wide, None, CompileOptions(tuner=machine.tuner(tmp_path)))
    assert machine.settings[-1].cold_bytes > machine.settings[-1].target.l2_bytes


def test_the_reference_has_nothing_to_tune():
    with pytest.raises(NetcError, match="no schedules to measure"):
        netc.compile(NET, target="numpy", tune=True)


def test_compile_tunes_on_request(monkeypatch):
    machine = Machine(own_is_slow)
    monkeypatch.setattr("netc.runtime.tuning.tuner.LaunchTimer", lambda: machine.measure)
    assert schedules(netc.compile(NET)) == []
    assert len(schedules(netc.compile(NET, tune=True))) == 2
    assert len(machine.asked) == 5
