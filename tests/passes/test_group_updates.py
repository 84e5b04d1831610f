"""group_updates: small sweeps that change states are few kernels, and compute what they did."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from checks import keeps_meaning, main, stays
from nets import run_main

from netc.frontend.net_file import load_net
from netc.ir.core import Module, Op
from netc.ir.parser import parse_module
from netc.ir.verify import verify
from netc.passes.bufferize import bufferize
from netc.passes.group_updates import group_updates
from netc.passes.pipeline import Lowered, run_pipeline
from netc.passes.update_params import UpdateRule
from netc.runtime.compiler import import_message
from netc.runtime.options import CompileOptions
from netc.runtime.training import forward_results, step_module

NET = """
layer { name: "in" type: "Input" top: "x" top: "label" input_param { shape { dim: 4 dim: 3 dim: 6 dim: 6 } shape { dim: 4 } } }
layer { name: "a" type: "Convolution" bottom: "x" top: "a" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "a" top: "bn" }
layer { name: "b" type: "Convolution" bottom: "bn" top: "b" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "bn2" type: "BatchNorm" bottom: "b" top: "bn2" }
layer { name: "ip" type: "InnerProduct" bottom: "bn2" top: "ip" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@cache
def step() -> tuple[Module, tuple[str, ...]]:
    """An iteration, and the results of its forward pass."""
    net = import_message(load_net(NET, phase="TRAIN"), CompileOptions(phase="TRAIN"))
    rule = UpdateRule("SGD", momentum=0.9, weight_decay=0.01)
    return step_module(net, rule), forward_results(net)


@cache
def lowered(one_update: bool) -> Lowered:
    module, forward = step()
    return run_pipeline(
        module, opt_level=2, block=1, forward=forward, one_update=one_update, verify_each=True
    )


def groups(module: Module) -> list[Op]:
    """The fusions whose results are of different shapes."""
    fusions = [op for op in module.func("main").ops if op.name == "fusion"]
    return [op for op in fusions if len({r.type for r in op.results}) > 1]


def test_the_updates_of_all_parameters_are_one_kernel() -> None:
    before, after = (lowered(one).tensor.func("main").ops for one in (False, True))
    sums, updates = groups(lowered(True).tensor)
    assert {r.type.shape for r in sums.results} == {(4,), (5,)}
    assert {r.type.shape for r in updates.results} == {(4, 3, 3, 3), (5, 4, 1, 1), (3, 80), (4,), (5,), (3,)}
    # four moving sums, the updates of six parameters, and two counts of batches
    assert len(before) - len(after) == 3 + 5 + 1


def test_the_meaning_stays() -> None:
    module, forward = step()
    keeps_meaning(
        lambda m: run_pipeline(m, opt_level=2, block=1, forward=forward, one_update=True).tensor, module
    )


def test_states_are_still_written_in_place() -> None:
    buffer = lowered(True).buffer
    copies = [op for op in buffer.func("main").ops if op.name == "buffer.launch" and not op.body.ops]  # type: ignore[union-attr]
    assert not copies


def test_moving_sums_of_the_forward_pass_do_not_wait_for_the_updates() -> None:
    module, forward = lowered(True).tensor, set(step()[1])
    main_func = module.func("main")
    names = dict(zip((v.name for v in main_func.results), main_func.result_names, strict=True))
    for op in groups(module):
        assert len({names[r.name] in forward for r in op.results}) == 1


SWEEP = """%{n}n: f32[{s}] = fusion %{x}, %{n} {{anchor = map}} (%{n}.a: f32[{s}], %{n}.b: f32[{s}]) {{
  %{n}.c: f32[{s}] = math.{op} %{n}.b, %{n}.a
  yield %{n}.c
}}"""


def text(*sweeps: tuple[str, str, str, str], between: str = "", results: str = "") -> str:
    args = ", ".join(f"%{x}: f32[{s}], %{n}: state f32[{s}]" for x, n, s, _ in sweeps)
    ops = "\n".join(SWEEP.format(x=x, n=n, s=s, op=op) for x, n, s, op in sweeps)
    given = ", ".join(f"{n} = %{n}n" for _, n, _, _ in sweeps)
    return main(args, ops + between, given + results)


@pytest.mark.parametrize(
    "sweeps",
    [
        [("x", "v", "8", "sub"), ("y", "w", "4", "add")],
        [("x", "v", "8", "sub"), ("y", "w", "101", "sub")],
        [("x", "v", "1", "sub"), ("y", "w", "4", "sub")],
    ],
    ids=["other ops", "too large", "a single element"],
)
def test_unlike_sweeps_stay_apart(sweeps: list[tuple[str, str, str, str]]) -> None:
    stays(lambda m: group_updates(m, most_elements=100), text(*sweeps))


def test_what_another_op_reads_stays() -> None:
    again = """
%z: f32[8] = fusion %vn {anchor = map} (%z.a: f32[8]) {
  %z.b: f32[8] = math.exp %z.a
  yield %z.b
}"""
    both = [("x", "v", "8", "sub"), ("y", "w", "4", "sub")]
    stays(group_updates, text(*both, between=again, results=", z = %z"))


def test_a_kernel_takes_so_many_pointers_and_no_more() -> None:
    sweeps = [(f"x{i}", f"v{i}", str(i + 2), "sub") for i in range(5)]
    module = parse_module(text(*sweeps))
    verify(module)
    found = group_updates(module, most_operands=6)
    verify(found)
    assert [len(op.results) for op in found.func("main").ops] == [2, 2, 1]


def test_a_gradient_that_is_a_part_of_other_memory_stays_alone() -> None:
    args = "%x: f32[3,8], %v: state f32[3,4], %w: state f32[2,2], %y: f32[2,2]"
    ops = """%s: f32[3,4] = tensor.slice %x {start = [0, 0], shape = [3, 4]}
%vn: f32[3,4] = fusion %s, %v {anchor = map} (%v.a: f32[3,4], %v.b: f32[3,4]) {
  %v.c: f32[3,4] = math.sub %v.b, %v.a
  yield %v.c
}
""" + SWEEP.format(x="y", n="w", s="2,2", op="sub")
    module = parse_module(main(args, ops, "v = %vn, w = %wn"))
    verify(module)
    assert group_updates(module) == module


def test_the_new_contents_are_those_of_separate_sweeps_to_the_bit() -> None:
    module = parse_module(text(*[(f"x{i}", f"v{i}", str(3 * i + 2), "sub") for i in range(4)]))
    grouped = group_updates(module)
    assert len(grouped.func("main").ops) == 1
    assert len(bufferize(grouped).func("main").ops) == 1
    rng = np.random.default_rng(0)
    args = {
        a.name: rng.standard_normal(a.type.static_shape).astype(np.float32) for a in module.func("main").args
    }
    for a, b in zip(run_main(grouped, args), run_main(module, args), strict=True):
        np.testing.assert_array_equal(a, b)
