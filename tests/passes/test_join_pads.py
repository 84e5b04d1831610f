"""join_pads: sums of pads that fill different parts of an axis."""

from __future__ import annotations

import numpy as np
import pytest
from checks import becomes, keeps_meaning, main, stays
from nets import NETS, arguments, run_main

from netc.ir.parser import parse_module
from netc.passes.canonicalize import canonicalize
from netc.passes.dce import dce
from netc.passes.differentiate import differentiate
from netc.passes.join_pads import join_pads


def pad(name: str, of: str, low: str, high: str, shape: str = "2,6", value: float = 0.0) -> str:
    attrs = f"{{low = [{low}], high = [{high}], kind = constant, value = {value}}}"
    return f"%{name}: f32[{shape}] = tensor.pad %{of} {attrs}\n"


A = pad("p", "a", "0, 0", "0, 4")
B = pad("q", "b", "0, 3", "0, 0")
ARGS = "%a: f32[2,2], %b: f32[2,3]"


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_meaning_stays(name: str) -> None:
    keeps_meaning(join_pads, NETS[name]())


def test_zeros_fill_what_lies_between() -> None:
    before = main(ARGS, A + B + "%y: f32[2,6] = math.add %q, %p")
    after = main(
        ARGS,
        A
        + B
        + """%y.zeros: f32[2,1] = tensor.fill {tensor = <f32[2,1]>, value = 0.0}
        %y: f32[2,6] = tensor.concat %a, %y.zeros, %b {axis = 1}""",
    )
    becomes(join_pads, before, after)


def test_zeros_fill_both_ends() -> None:
    first, second = pad("p", "a", "0, 1", "0, 5", "2,8"), pad("q", "b", "0, 3", "0, 2", "2,8")
    before = main(ARGS, first + second + "%y: f32[2,8] = math.add %p, %q")
    after = main(
        ARGS,
        first
        + second
        + """%y.zeros: f32[2,1] = tensor.fill {tensor = <f32[2,1]>, value = 0.0}
        %y.zeros.1: f32[2,2] = tensor.fill {tensor = <f32[2,2]>, value = 0.0}
        %y: f32[2,8] = tensor.concat %y.zeros, %a, %b, %y.zeros.1 {axis = 1}""",
    )
    becomes(join_pads, before, after)


@pytest.mark.parametrize(
    "second",
    [
        pad("q", "b", "0, 1", "0, 2"),  # overlaps
        pad("q", "c", "1, 0", "0, 0"),  # on the other axis
        pad("q", "d", "1, 3", "0, 0"),  # on both
        pad("q", "b", "0, 3", "0, 0", value=1.0),
    ],
)
def test_other_sums_stay(second: str) -> None:
    args = f"{ARGS}, %c: f32[1,6], %d: f32[1,3]"
    stays(join_pads, main(args, A + second + "%y: f32[2,6] = math.add %p, %q"))


def test_the_gradients_of_all_slices_of_a_value_are_one_concat() -> None:
    slices = "".join(
        f"%s{i}: f32[1,3] = tensor.slice %x {{start = [{i}, 0], shape = [1, 3]}}\n"
        f"%e{i}: f32[1,3] = math.exp %s{i}\n"
        for i in range(5)
    )
    joined = "%y: f32[5,3] = tensor.concat " + ", ".join(f"%e{i}" for i in (2, 0, 4, 1, 3)) + " {axis = 0}"
    module = parse_module(main("%x: f32[5,3]", slices + joined), "<before>")
    module = differentiate(module, seeds={"y": 1.0}, wrt=["x"])
    outcome = dce(join_pads(canonicalize(module)))
    func = outcome.func("main")
    assert [op.name for op in func.ops if op.name in ("tensor.pad", "math.add")] == []
    assert func.results[1].name == func.ops[-1].result.name
    assert len(func.ops[-1].operands) == 5
    x = arguments(module)
    np.testing.assert_allclose(run_main(outcome, x)[1], np.exp(x["x"]), rtol=1e-6)
