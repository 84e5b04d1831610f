"""eliminate_dropout, dce and cse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from checks import becomes, keeps_meaning, main, stays
from nets import NETS

from netc.ir.core import Module
from netc.passes.cse import cse
from netc.passes.dce import dce
from netc.passes.eliminate_dropout import eliminate_dropout


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("run", [eliminate_dropout, dce, cse])
def test_the_meaning_stays(run: Callable[[Module], Module], name: str) -> None:
    keeps_meaning(run, NETS[name]())


def test_a_dropped_result_is_its_operand() -> None:
    before = main("%x: f32[2,8]", "%y: f32[2,8] = nn.dropout %x {ratio = 0.5}")
    becomes(eliminate_dropout, before, main("%x: f32[2,8]", "", "y = %x"))


def test_dead_chains_go_as_a_whole_and_arguments_stay() -> None:
    before = main(
        "%x: f32[2,8], %unused: param f32[8]",
        """
        %a: f32[2,8] = math.exp %x
        %b: f32[2,8] = math.add %a, %x
        %y: f32[2,8] = math.abs %x
        %c: f32[2,8] = math.abs %b
        """,
    )
    becomes(dce, before, main("%x: f32[2,8], %unused: param f32[8]", "%y: f32[2,8] = math.abs %x"))


def test_equal_chains_are_computed_once() -> None:
    before = main(
        "%x: f32[2,8]",
        """
        %a: f32[2,8] = math.exp %x
        %b: f32[2,8] = math.abs %a
        %c: f32[2,8] = math.exp %x
        %d: f32[2,8] = math.abs %c
        %y: f32[2,8] = math.sub %b, %d
        """,
    )
    after = main(
        "%x: f32[2,8]",
        """
        %a: f32[2,8] = math.exp %x
        %b: f32[2,8] = math.abs %a
        %y: f32[2,8] = math.sub %b, %b
        """,
    )
    becomes(cse, before, after)


def test_ops_that_differ_in_an_attribute_are_two() -> None:
    text = main(
        "%x: f32[2,8]",
        """
        %a: f32[2,8] = math.relu %x {slope = 0.0}
        %b: f32[2,8] = math.relu %x {slope = -0.0}
        %y: f32[2,8] = math.add %a, %b
        """,
    )
    stays(cse, text)


def test_two_draws_of_random_numbers_stay_apart() -> None:
    text = main(
        "%s: i64[2]",
        """
        %a: f32[4,8] = random.uniform %s {tensor = <f32[4,8]>, stream = 0}
        %b: f32[4,8] = random.uniform %s {tensor = <f32[4,8]>, stream = 1}
        %y: f32[4,8] = math.add %a, %b
        """,
    )
    stays(cse, text)
