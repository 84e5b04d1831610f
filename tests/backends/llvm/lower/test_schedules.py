"""Schedules that launches ask for: what there is to choose from, and that every choice computes the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, launch_of, random, run_launch

from netc.backends.llvm.backend import kernel_name
from netc.backends.llvm.lower.conv_schedule import (
    MacTile,
    choose_tile,
    fits_registers,
    near_tiles,
    plane_cost,
    row_cost,
    row_counts,
)
from netc.backends.llvm.lower.table import lower_launch, other_schedules, scratch_bytes
from netc.backends.llvm.target import parse_target
from netc.ir.core import Op
from netc.ir.diagnostics import NetcError
from netc.ir.layout import Blocked
from netc.ir.ops.conv import ConvAttrs, FractionalConvAttrs
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.ops.winograd import WinogradConvAttrs
from netc.ir.schedule import read_schedule, show_schedule
from netc.ir.types import TensorType

PADDED = ((1, 1), (1, 1))
ONES = (1, 1)
# op, its attributes, the shapes of x and w, whether x is blocked
CASES: dict[str, tuple[str, Any, tuple[int, ...], tuple[int, ...], bool]] = {
    "conv": ("nn.conv", ConvAttrs(ONES, PADDED, ONES), (2, 70, 9, 11), (40, 70, 3, 3), True),
    "images": ("nn.conv", ConvAttrs((2, 2), PADDED, ONES), (1, 3, 15, 17), (40, 3, 5, 5), False),
    "1x1": ("nn.conv", ConvAttrs(ONES, ((0, 0), (0, 0)), ONES), (1, 200, 6, 10), (64, 200, 1, 1), True),
    "fractional": (
        "nn.fractional_conv",
        FractionalConvAttrs((2, 2), ((2, 2), (2, 2))),
        (1, 32, 7, 9),
        (40, 32, 3, 3),
        True,
    ),
    "winograd": ("nn.winograd_conv", WinogradConvAttrs(4, 3, PADDED), (3, 70, 30, 21), (70, 36, 70), True),
    "one sample": ("nn.inner_product", InnerProductAttrs(), (1, 300), (100, 300), False),
    "samples": ("nn.inner_product", InnerProductAttrs(), (20, 2000), (100, 2000), False),
}


def launch(case: str, block: int) -> tuple[Op, list[np.ndarray]]:
    name, attrs, x_shape, w_shape, blocked = CASES[case]
    x = TensorType("f32", x_shape, Blocked(1, block) if blocked else None)
    w = TensorType("f32", w_shape, Blocked(0, block))
    flat = name == "nn.inner_product"
    b = TensorType("f32", w_shape[:1], None if flat else Blocked(0, block))
    made = launch_of([x, w, b], lambda builder, given: builder.add1(name, given, attrs, hint="y"))
    return made, [random(t.static_shape, seed) for seed, t in enumerate((x, w, b))]


def with_schedule(op: Op, schedule: str | None) -> Op:
    return replace(op, attrs=replace(op.attrs, schedule=schedule))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_every_schedule_computes_the_same_to_the_bit(case, target):
    own, arrays = launch(case, LANES[target])
    others = other_schedules(own, parse_target(target))
    assert others
    assert len({own, *others}) == len(others) + 1
    (expected,) = run_launch(own, arrays, target=target, threads=(2,)).run(2)
    for other in others[:: max(1, len(others) // 4)]:
        (found,) = run_launch(with_schedule(own, other), arrays, target=target, threads=(2,)).run(2)
        np.testing.assert_array_equal(found, expected, other)


@pytest.mark.parametrize("case", CASES)
def test_every_schedule_is_another_kernel(case):
    own, _ = launch(case, 16)
    others = other_schedules(own, parse_target("cpu:avx512"))
    assert len({kernel_name(with_schedule(own, each)) for each in (None, *others)}) == len(others) + 1


def test_what_may_be_chosen_does_not_depend_on_what_is_chosen():
    own, _ = launch("conv", 16)
    target = parse_target("cpu:avx512")
    others = other_schedules(own, target)
    assert other_schedules(with_schedule(own, others[0]), target) == others


def test_elementwise_kernels_have_nothing_to_choose():
    x = TensorType("f32", (4, 4))
    op = launch_of([x], lambda builder, given: builder.add1("math.tanh", given, hint="y"))
    assert other_schedules(op, parse_target("cpu")) == []


def test_scratch_memory_follows_the_schedule():
    own, _ = launch("winograd", 16)
    target = parse_target("cpu:avx512")
    small, large = (with_schedule(own, f"tiles={tiles} pixels=4 vectors=4 depth=64") for tiles in (16, 96))
    assert scratch_bytes(small, target) < scratch_bytes(own, target) < scratch_bytes(large, target)


def test_near_tiles_begin_with_the_chosen_one_and_fit_the_registers():
    for name in TARGETS:
        target = parse_target(name)
        for row, blocks in ((7, 2), (14, 5), (56, 4), (1, 1), (None, 3)):
            near = near_tiles(target, row, blocks, 9, 256)
            assert near[0][1] == choose_tile(target, row, blocks, 9, 256)
            assert [cost for cost, _ in near] == sorted(cost for cost, _ in near)
            assert all(fits_registers(target, tile.pixels, tile.vectors) for _, tile in near)


def test_a_schedule_is_read_as_it_was_shown():
    text = show_schedule(MacTile(7, 4, 64))
    assert text == "pixels=7 vectors=4 depth=64"
    assert read_schedule(text, MacTile) == MacTile(7, 4, 64)


@pytest.mark.parametrize(
    "text",
    ["", "pixels=7", "pixels=7 vectors=4 depth=0", "pixels=7 vectors=4 depth=-8", "pixels=٧ vectors=4 depth=8",
     "vectors=4 pixels=7 depth=64", "pixels=7 vectors=4 depth=64 more=1", "pixels=7 vectors=4 depth=9999999999"],
)  # fmt: skip
def test_any_other_text_is_no_schedule(text):
    with pytest.raises(NetcError, match="is no schedule of this kernel"):
        read_schedule(text, MacTile)


@pytest.mark.parametrize(
    ("case", "text", "message"),
    [
        ("conv", "pixels=20 vectors=4 depth=64", "32 vector registers"),
        ("conv", "pixels=4 vectors=4 depth=24", "no multiple of 16"),
        ("conv", "tiles=9 pixels=4 vectors=4 depth=16", "no schedule of this kernel"),
        ("samples", "pixels=30 vectors=2 depth=64", "32 vector registers"),
        ("winograd", "tiles=999999 pixels=4 vectors=4 depth=16", "more registers or memory"),
        ("winograd", "tiles=64 pixels=9 vectors=9 depth=16", "more registers or memory"),
        ("winograd", "tiles=64 pixels=4 vectors=4 depth=24", "no multiple of 16"),
    ],
)
def test_a_schedule_that_cannot_be_had_is_refused(case, text, message):
    op, _ = launch(case, 16)
    with pytest.raises(NetcError, match=message):
        lower_launch("kernel", with_schedule(op, text), parse_target("cpu:avx512"))


def test_a_plane_is_cut_into_rows_that_are_equal_but_for_the_last_of_a_small_one():
    assert row_counts(49) == [49, 25, 17, 13, 10, 9, 7, 6, 5, 4, 3, 2, 1]
    assert all(784 % rows == 0 for rows in row_counts(784))


def test_rows_that_threads_cannot_share_evenly_cost_more():
    tile = MacTile(7, 3, 832)
    # one thread does all of the work, two wait for the one that has four rows of seven
    one, two, four = (max(7, -(-7 // threads) * threads) for threads in (1, 2, 4))
    assert plane_cost(49, 7, 3, tile, images=1) == pytest.approx(
        (one + two + four) / 3 * row_cost(7, 3, 7, 3)
    )
    # with many images there is enough for all
    assert plane_cost(49, 7, 3, tile, images=16) == pytest.approx(7 * row_cost(7, 3, 7, 3))


def test_a_shorter_last_row_counts_for_what_it_is():
    tile = MacTile(13, 2, 832)
    expected = 3 * row_cost(13, 2, 13, 2) + row_cost(10, 2, 13, 2)
    assert plane_cost(49, 4, 2, tile, images=64) == pytest.approx(expected)
