"""split_batch: kernels that run on a part of the batch at a time."""

from __future__ import annotations

from functools import partial

import pytest
from checks import UNIT, becomes, keeps_meaning, main, stays

from netc.ir.batch import Batch, Segment
from netc.ir.core import Module
from netc.ir.parser import parse_module
from netc.passes.fuse import fuse
from netc.passes.split_batch import split_batch


def split(*segments: tuple[int, int, int]) -> partial[Module]:
    return partial(split_batch, choose=lambda batch: [Segment(*each) for each in segments])


def splittable(text: str) -> Batch | None:
    """What the pass says may be split."""
    seen: list[Batch] = []
    split_batch(parse_module(text), choose=lambda batch: seen.append(batch) or [])
    return seen[0] if seen else None


CHAIN = main(
    "%x: f32[4,2]",
    """%a: f32[4,2] = math.exp %x
    %b: f32[4,2] = math.tanh %a
    %y: f32[4,2] = math.add %a, %b""",
)


def test_a_value_that_is_read_inside_and_behind_is_put_together_once() -> None:
    after = main(
        "%x: f32[4,2]",
        """%x0: f32[2,2] = tensor.slice %x {start = [0, 0], shape = [2, 2]}
        %a0: f32[2,2] = math.exp %x0
        %b0: f32[2,2] = math.tanh %a0
        %x1: f32[2,2] = tensor.slice %x {start = [2, 0], shape = [2, 2]}
        %a1: f32[2,2] = math.exp %x1
        %b1: f32[2,2] = math.tanh %a1
        %a: f32[4,2] = tensor.concat %a0, %a1 {axis = 0}
        %b: f32[4,2] = tensor.concat %b0, %b1 {axis = 0}
        %y: f32[4,2] = math.add %a, %b""",
    )
    becomes(split((0, 2, 2)), CHAIN, after)


def test_segments_have_parts_of_their_own() -> None:
    after = main(
        "%x: f32[4,2]",
        """%x0: f32[2,2] = tensor.slice %x {start = [0, 0], shape = [2, 2]}
        %a0: f32[2,2] = math.exp %x0
        %x1: f32[2,2] = tensor.slice %x {start = [2, 0], shape = [2, 2]}
        %a1: f32[2,2] = math.exp %x1
        %a: f32[4,2] = tensor.concat %a0, %a1 {axis = 0}
        %b: f32[4,2] = math.tanh %a
        %al: f32[2,2] = tensor.slice %a {start = [0, 0], shape = [2, 2]}
        %bl: f32[2,2] = tensor.slice %b {start = [0, 0], shape = [2, 2]}
        %yl: f32[2,2] = math.add %al, %bl
        %ah: f32[2,2] = tensor.slice %a {start = [2, 0], shape = [2, 2]}
        %bh: f32[2,2] = tensor.slice %b {start = [2, 0], shape = [2, 2]}
        %yh: f32[2,2] = math.add %ah, %bh
        %y: f32[4,2] = tensor.concat %yl, %yh {axis = 0}""",
    )
    becomes(split((0, 1, 2), (1, 2, 4), (2, 3, 2)), CHAIN, after)


def test_what_holds_no_samples_is_computed_once() -> None:
    before = main(
        "%x: f32[4,2], %w: param f32[1,2]",
        """%a: f32[4,2] = math.exp %x
        %v: f32[1,2] = math.exp %w
        %y: f32[4,2] = math.add %a, %v""",
    )
    after = main(
        "%x: f32[4,2], %w: param f32[1,2]",
        """%v: f32[1,2] = math.exp %w
        %x0: f32[2,2] = tensor.slice %x {start = [0, 0], shape = [2, 2]}
        %a0: f32[2,2] = math.exp %x0
        %y0: f32[2,2] = math.add %a0, %v
        %x1: f32[2,2] = tensor.slice %x {start = [2, 0], shape = [2, 2]}
        %a1: f32[2,2] = math.exp %x1
        %y1: f32[2,2] = math.add %a1, %v
        %y: f32[4,2] = tensor.concat %y0, %y1 {axis = 0}""",
    )
    becomes(split((0, 3, 2)), before, after)


def test_shapes_that_ops_state_follow() -> None:
    before = main(
        "%x: f32[4,2,3]",
        """%r: f32[4,6] = tensor.reshape %x {shape = [4, 6]}
        %s: f32[4,4] = tensor.slice %r {start = [0, 1], shape = [4, 4]}
        %y: f32[4,4] = math.exp %s""",
    )
    once = """%x{i}: f32[1,2,3] = tensor.slice %x {{start = [{i}, 0, 0], shape = [1, 2, 3]}}
        %r{i}: f32[1,6] = tensor.reshape %x{i} {{shape = [1, 6]}}
        %s{i}: f32[1,4] = tensor.slice %r{i} {{start = [0, 1], shape = [1, 4]}}
        %y{i}: f32[1,4] = math.exp %s{i}\n"""
    parts = "".join(once.format(i=i) for i in range(4))
    after = main("%x: f32[4,2,3]", parts + "%y: f32[4,4] = tensor.concat %y0, %y1, %y2, %y3 {axis = 0}")
    becomes(split((0, 3, 1)), before, after)


def test_kernels_keep_their_meaning() -> None:
    before = main(
        "%x: f32[6,3,5,5], %w: param f32[4,3,3,3]",
        f"""%c: f32[6,4,3,3] = nn.conv %x, %w {UNIT}
        %r: f32[6,4,3,3] = math.relu %c {{slope = 0.0}}
        %n: f32[6,4,3,3] = nn.lrn %r {{size = 3, alpha = 0.1, beta = 0.75, k = 1.0}}
        %f: f32[6,36] = tensor.reshape %n {{shape = [6, 36]}}
        %y: f32[6,36] = nn.softmax %f {{axis = 1}}""",
    )
    module = fuse(parse_module(before))
    count = len(module.func("main").ops)
    assert count < 5
    for rows in (1, 2, 3):
        keeps_meaning(split((0, count, rows)), module)


def test_nothing_is_split_where_all_segments_are_whole() -> None:
    stays(split((0, 3, 4)), CHAIN)
    stays(split(), CHAIN)


@pytest.mark.parametrize(
    ("args", "ops", "end"),
    [
        ("%x: f32[4,2]", "%y: f32[4,2] = math.exp %x", 1),
        ("%x: f32[4,2]", "%y: f32[4,2] = nn.softmax %x {axis = 0}", 0),
        ("%x: f32[4,2]", "%a: f32[4,2] = math.exp %x\n%y: f32[2,4] = tensor.reshape %a {shape = [2, 4]}", 1),
        ("%x: f32[4,2]", "%a: f32[4,2] = math.exp %x\n%y: f32[8,2] = tensor.concat %a, %x {axis = 0}", 1),
        ("%x: f32[4,2]", "%y: f32[2,2] = tensor.slice %x {start = [1, 0], shape = [2, 2]}", 0),
        # a constant of the size of the batch
        ("%x: f32[4,2], %w: param f32[4,2]", "%a: f32[4,2] = math.exp %x\n%y: f32[4,2] = math.add %a, %w", 1),
    ],
    ids=["elementwise", "softmax", "reshape", "concat", "slice", "parameter"],
)
def test_an_op_in_which_samples_meet_ends_what_may_be_split(args: str, ops: str, end: int) -> None:
    batch = splittable(main(args, ops))
    assert batch is not None
    assert (batch.rows, batch.end) == (4, end)


def test_samples_that_lie_along_another_axis_are_followed() -> None:
    batch = splittable(
        main("%x: f32[4,2]", "%t: f32[2,4] = tensor.transpose %x {perm = [1, 0]}\n%y: f32[2,4] = math.exp %t")
    )
    assert batch is not None
    assert batch.axes == {"x": 0, "t": 1, "y": 1}
    assert batch.end == 2


@pytest.mark.parametrize(
    "args", ["%x: f32[N,2]", "%x: f32[1,2]", "%x: f32[4,2], %z: f32[2,2]", "%x: f32[4,2], %z: f32[]"]
)
def test_without_a_known_batch_nothing_is_asked(args: str) -> None:
    assert splittable(main(args, "%y: f32[N,2] = math.exp %x".replace("N", args[8]))) is None
