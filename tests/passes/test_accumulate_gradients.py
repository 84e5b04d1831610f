"""accumulate_gradients: the sums over calls, where they lie, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from alpha import assert_same
from checks import main
from nets import arguments

from netc.backends.numpy_reference import run_func
from netc.ir.core import Module
from netc.ir.diagnostics import NetcError
from netc.ir.parser import parse_module
from netc.ir.verify import verify
from netc.passes.accumulate_gradients import accumulate_gradients, sum_name
from netc.passes.bufferize import bufferize
from netc.passes.differentiate import differentiate
from netc.passes.fuse import fuse
from netc.passes.share_buffers import share_buffers

PARAMS = ("w", "b")


def differentiated() -> Module:
    text = main(
        "%x: f32[4,3], %w: state f32[2,3], %b: state f32[2]",
        "%a: f32[4,2] = nn.inner_product %x, %w, %b\n%y: f32[4,2] = math.tanh %a",
    )
    return differentiate(parse_module(text, "<before>"), seeds={"y": 1.5}, wrt=PARAMS)


def accumulated() -> Module:
    module = accumulate_gradients(differentiated(), params=PARAMS)
    verify(module)
    return module


def test_the_result_becomes_a_state_to_which_it_is_added() -> None:
    args = "%x: f32[2,3], %w: state f32[1,3]"
    ops = "%y: f32[2,3] = math.mul %x, %w\n%g: f32[1,3] = tensor.reduce %x {kind = sum, axes = [0]}"
    assert_same(
        accumulate_gradients(
            parse_module(main(args, ops, "y = %y, w.gradient = %g"), "<before>"), params=["w"]
        ),
        main(
            f"{args}, %w.gradient.sum: state f32[1,3]",
            f"{ops}\n%s: f32[1,3] = math.add %w.gradient.sum, %g",
            "y = %y, w.gradient.sum = %s",
        ),
    )


def test_the_sums_over_calls_are_the_sums_of_the_gradients() -> None:
    before, after = differentiated(), accumulated()
    memory = arguments(before)
    sums = {sum_name(name): np.zeros(memory[name].shape) for name in PARAMS}
    wanted = {name: array.copy() for name, array in sums.items()}
    for seed in range(3):
        batch = np.random.default_rng(seed).normal(size=memory["x"].shape)
        gradients = run_func(before.func("main"), {**memory, "x": batch}, "f64")
        found = run_func(after.func("main"), {**memory, **sums, "x": batch}, "f64")
        np.testing.assert_array_equal(found["y"], gradients["y"])
        for name in PARAMS:
            wanted[sum_name(name)] += gradients[f"{name}.gradient"]
            assert f"{name}.gradient" not in found
        sums = {name: found[name] for name in sums}
    for name, total in wanted.items():
        assert np.abs(total).min() > 0
        np.testing.assert_allclose(sums[name], total, rtol=1e-12)


def test_each_sum_is_written_in_place_by_the_launch_that_adds() -> None:
    buffers = share_buffers(bufferize(fuse(accumulated())))
    verify(buffers)
    func = buffers.func("main")
    launches = [op for op in func.ops if op.name == "buffer.launch"]
    assert all(op.body is not None and op.body.ops for op in launches), "a launch without ops copies"
    for name in map(sum_name, PARAMS):
        assert name in {a.name for a in func.states}
        assert name not in {a.name for a in func.outputs}
        (adding,) = (op for op in launches if name in {v.name for v in op.operands})
        reads = len(adding.operands) - adding.attrs.writes
        assert name in {v.name for v in adding.operands[:reads]}
        assert name in {v.name for v in adding.operands[reads:]}
        assert adding.body is not None
        assert adding.body.ops[-1].name == "math.add"


def test_a_param_without_a_gradient_is_refused() -> None:
    with pytest.raises(NetcError, match=r"has no result 'x\.gradient'"):
        accumulate_gradients(differentiated(), params=["w", "x"])
