"""hoist_prepare: what depends on params alone is computed once."""

from __future__ import annotations

import pytest
from checks import becomes, keeps_meaning, main
from nets import NETS

from netc.ir.diagnostics import NetcError
from netc.passes.hoist_prepare import hoist_prepare


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_meaning_stays(name: str) -> None:
    keeps_meaning(hoist_prepare, NETS[name]())


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_params_of_main_are_the_results_of_prepare(name: str) -> None:
    module = hoist_prepare(NETS[name]())
    prepare, func = module.func("prepare"), module.func("main")
    assert tuple((v.name, v.type) for v in func.params) == tuple((v.name, v.type) for v in prepare.results)
    assert prepare.result_names == tuple(v.name for v in func.params)
    assert prepare.args == NETS[name]().func("main").params


def test_constants_are_made_once_unless_their_size_is_unknown() -> None:
    before = main(
        "%x: f32[N,8]",
        """
        %c: f32[1,8] = tensor.fill {tensor = <f32[1,8]>, value = 2.0}
        %d: f32[N,8] = tensor.fill {tensor = <f32[N,8]>, value = 3.0}
        %a: f32[N,8] = math.max %x, %c
        %y: f32[N,8] = math.max %a, %d
        """,
    )
    after = """
        module m tensor {
        func @prepare() -> (c = %c) {
          %c: f32[1,8] = tensor.fill {tensor = <f32[1,8]>, value = 2.0}
        }
        func @main(%x: f32[N,8], %c: param f32[1,8]) -> (y = %y) {
          %d: f32[N,8] = tensor.fill {tensor = <f32[N,8]>, value = 3.0}
          %a: f32[N,8] = math.max %x, %c
          %y: f32[N,8] = math.max %a, %d
        }
        }"""
    becomes(hoist_prepare, before, after)


def test_heavy_ops_on_constants_stay_in_main() -> None:
    before = main(
        "%w: param f32[4,8]",
        """
        %c: f32[2,8] = tensor.fill {tensor = <f32[2,8]>, value = 2.0}
        %y: f32[2,4] = nn.inner_product %c, %w {transpose = false}
        """,
    )
    after = """
        module m tensor {
        func @prepare(%w: param f32[4,8]) -> (c = %c, w = %w) {
          %c: f32[2,8] = tensor.fill {tensor = <f32[2,8]>, value = 2.0}
        }
        func @main(%c: param f32[2,8], %w: param f32[4,8]) -> (y = %y) {
          %y: f32[2,4] = nn.inner_product %c, %w {transpose = false}
        }
        }"""
    becomes(hoist_prepare, before, after)


def test_a_result_that_is_a_param_passes_through() -> None:
    after = """
        module m tensor {
        func @prepare(%w: param f32[4]) -> (w = %w) {}
        func @main(%x: f32[4], %w: param f32[4]) -> (y = %w) {}
        }"""
    becomes(hoist_prepare, main("%x: f32[4], %w: param f32[4]", "", "y = %w"), after)


def test_hoisting_twice_is_refused() -> None:
    with pytest.raises(NetcError, match="has a function 'prepare' already"):
        hoist_prepare(hoist_prepare(NETS["dense"]()))
