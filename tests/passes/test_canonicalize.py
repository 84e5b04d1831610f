"""canonicalize: each numbered case of its header."""

from __future__ import annotations

import pytest
from checks import becomes, keeps_meaning, main, stays
from hypothesis import HealthCheck, given, settings
from nets import NETS, random_nets

from netc.ir.core import Module
from netc.passes.canonicalize import canonicalize
from netc.passes.dce import dce

X = "%x: f32[2,8]"
IMAGE = "%x: f32[2,3,4,4]"


def tidy(module: Module) -> Module:
    return dce(canonicalize(module))


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_meaning_stays(name: str) -> None:
    keeps_meaning(canonicalize, NETS[name]())


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(module=random_nets())
def test_twice_is_once(module: Module) -> None:
    once = tidy(module)
    assert tidy(once) == once


CASES = {
    "1: affine(1, 0) is nothing": (
        X,
        "%a: f32[2,8] = math.affine %x {scale = 1.0, shift = 0.0} %y: f32[2,8] = math.exp %a",
        "%y: f32[2,8] = math.exp %x",
    ),
    "1: pow(1) is nothing": (
        X,
        "%a: f32[2,8] = math.pow %x {exponent = 1.0} %y: f32[2,8] = math.exp %a",
        "%y: f32[2,8] = math.exp %x",
    ),
    "1: relu(1) is nothing": (
        X,
        "%a: f32[2,8] = math.relu %x {slope = 1.0} %y: f32[2,8] = math.exp %a",
        "%y: f32[2,8] = math.exp %x",
    ),
    "2: affine of affine": (
        X,
        """%a: f32[2,8] = math.affine %x {scale = 2.0, shift = 3.0}
        %b: f32[2,8] = math.affine %a {scale = 0.5, shift = 1.0}
        %y: f32[2,8] = math.affine %b {scale = 4.0, shift = -1.0}""",
        "%y: f32[2,8] = math.affine %x {scale = 4.0, shift = 9.0}",
    ),
    "3: pow(2)": (X, "%y: f32[2,8] = math.pow %x {exponent = 2.0}", "%y: f32[2,8] = math.mul %x, %x"),
    "4: relu of relu": (
        X,
        "%a: f32[2,8] = math.relu %x {slope = 0.0} %y: f32[2,8] = math.relu %a {slope = 0.0}",
        "%y: f32[2,8] = math.relu %x {slope = 0.0}",
    ),
    "5: mul by a fill": (
        X,
        "%f: f32[1,8] = tensor.fill {tensor = <f32[1,8]>, value = 2.0} %y: f32[2,8] = math.mul %x, %f",
        "%y: f32[2,8] = math.affine %x {scale = 2.0, shift = 0.0}",
    ),
    "5: a fill minus x": (
        X,
        "%f: f32[1,1] = tensor.fill {tensor = <f32[1,1]>, value = 2.0} %y: f32[2,8] = math.sub %f, %x",
        "%y: f32[2,8] = math.affine %x {scale = -1.0, shift = 2.0}",
    ),
    "5: div by a fill": (
        X,
        "%f: f32[1,1] = tensor.fill {tensor = <f32[1,1]>, value = 4.0} %y: f32[2,8] = math.div %x, %f",
        "%y: f32[2,8] = math.affine %x {scale = 0.25, shift = 0.0}",
    ),
    "6: arithmetic on fills": (
        X,
        """%f: f32[2,8] = tensor.fill {tensor = <f32[2,8]>, value = 4.0}
        %r: f32[2,8] = math.sqrt %f
        %g: f32[2,8] = math.max %r, %f
        %y: f32[2,8] = math.max %x, %g""",
        """%g: f32[2,8] = tensor.fill {tensor = <f32[2,8]>, value = 4.0}
        %y: f32[2,8] = math.max %x, %g""",
    ),
    "7: reshape of reshape": (
        IMAGE,
        """%a: f32[2,48] = tensor.reshape %x {shape = [2, 48]}
        %b: f32[2,48] = tensor.reshape %a {shape = [2, 48]}
        %y: f32[6,16] = tensor.reshape %b {shape = [6, 16]}""",
        "%y: f32[6,16] = tensor.reshape %x {shape = [6, 16]}",
    ),
    "8: transpose of transpose": (
        IMAGE,
        """%a: f32[3,2,4,4] = tensor.transpose %x {perm = [1, 0, 2, 3]}
        %y: f32[3,4,2,4] = tensor.transpose %a {perm = [0, 2, 1, 3]}""",
        "%y: f32[3,4,2,4] = tensor.transpose %x {perm = [1, 2, 0, 3]}",
    ),
    "8: there and back": (
        IMAGE,
        """%a: f32[3,2,4,4] = tensor.transpose %x {perm = [1, 0, 2, 3]}
        %b: f32[2,3,4,4] = tensor.transpose %a {perm = [1, 0, 2, 3]}
        %y: f32[2,3,4,4] = math.abs %b""",
        "%y: f32[2,3,4,4] = math.abs %x",
    ),
    "8: moving an extent of 1": (
        "%x: f32[2,3,1,4]",
        "%y: f32[2,1,3,4] = tensor.transpose %x {perm = [0, 2, 1, 3]}",
        "%y: f32[2,1,3,4] = tensor.reshape %x {shape = [2, 1, 3, 4]}",
    ),
    "9: slice of slice": (
        X,
        """%a: f32[2,6] = tensor.slice %x {start = [0, 1], shape = [2, 6]}
        %y: f32[1,3] = tensor.slice %a {start = [1, 2], shape = [1, 3]}""",
        "%y: f32[1,3] = tensor.slice %x {start = [1, 3], shape = [1, 3]}",
    ),
    "9: slice of concat": (
        X + ", %z: f32[2,4]",
        """%c: f32[2,12] = tensor.concat %x, %z {axis = 1}
        %s: f32[2,4] = tensor.slice %c {start = [0, 8], shape = [2, 4]}
        %y: f32[2,4] = math.exp %s""",
        "%y: f32[2,4] = math.exp %z",
    ),
    "10: concat of one, concat of concat": (
        X + ", %z: f32[2,4]",
        """%a: f32[2,8] = tensor.concat %x {axis = 1}
        %b: f32[2,12] = tensor.concat %a, %z {axis = 1}
        %y: f32[2,20] = tensor.concat %b, %x {axis = 1}""",
        "%y: f32[2,20] = tensor.concat %x, %z, %x {axis = 1}",
    ),
    "11: convert there and back": (
        IMAGE,
        """%a: f32[2,3,4,4]{1:4} = layout.convert %x {axis = 1, size = 4}
        %b: f32[2,3,4,4] = layout.convert %a {axis = none}
        %y: f32[2,3,4,4] = math.abs %b""",
        "%y: f32[2,3,4,4] = math.abs %x",
    ),
    "12: reduce over nothing": (
        "%x: f32[2,8,1,1]",
        "%a: f32[2,8,1,1] = tensor.reduce %x {kind = mean, axes = [2, 3]} %y: f32[2,8,1,1] = math.exp %a",
        "%y: f32[2,8,1,1] = math.exp %x",
    ),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_case_of_the_header(case: str) -> None:
    args, before, after = CASES[case]
    becomes(tidy, main(args, before), main(args, after))


STAYS = {
    "a fill that widens the result": (
        "%x: f32[1,8]",
        "%f: f32[2,8] = tensor.fill {tensor = <f32[2,8]>, value = 2.0} %y: f32[2,8] = math.mul %x, %f",
    ),
    "a constant divided by data": (
        X,
        "%f: f32[1,1] = tensor.fill {tensor = <f32[1,1]>, value = 2.0} %y: f32[2,8] = math.div %f, %x",
    ),
    "division by a fill of 0": (
        X,
        "%f: f32[1,1] = tensor.fill {tensor = <f32[1,1]>, value = 0.0} %y: f32[2,8] = math.div %x, %f",
    ),
    "leaky relu of leaky relu": (
        X,
        "%a: f32[2,8] = math.relu %x {slope = 0.5} %y: f32[2,8] = math.relu %a {slope = 0.5}",
    ),
    "a slice that takes parts of two operands": (
        X,
        """%c: f32[2,16] = tensor.concat %x, %x {axis = 1}
        %y: f32[2,8] = tensor.slice %c {start = [0, 4], shape = [2, 8]}""",
    ),
    "a concat that somebody else reads too": (
        X,
        """%c: f32[2,16] = tensor.concat %x, %x {axis = 1}
        %e: f32[2,16] = math.exp %c
        %y: f32[2,24] = tensor.concat %c, %x {axis = 1}""",
    ),
    "a product with weights that are data": (
        X + ", %w: f32[8,4]",
        "%y: f32[2,4] = nn.inner_product %x, %w {transpose = true}",
    ),
}


@pytest.mark.parametrize("case", sorted(STAYS))
def test_what_only_looks_like_a_case_stays(case: str) -> None:
    args, ops = STAYS[case]
    stays(canonicalize, main(args, ops))
