"""Schedules of matrix products: every candidate computes the same, and a launch is told to take one by its text."""

from __future__ import annotations

from typing import Any

import pytest
from cuda_harness import check_launch, lowered, needs_emulator, run_kernel
from harness import launch_of, one_op
from products import conv_launch, gradient_launch, inner_product_launch, operands
from windows import conv

from netc.backends.cuda.lower.table import other_schedules
from netc.ir.core import Op
from netc.ir.diagnostics import NetcError
from netc.ir.ops.elementwise import ReluAttrs
from netc.ir.types import TensorType

PRODUCTS = {
    "conv": conv_launch(conv((2, 20, 9, 11), 72, 3, stride=2, pad=1)),
    "conv of groups": conv_launch(conv((1, 40, 9, 9), 80, 3, pad=1, group=2)),
    "conv 1x1": conv_launch(conv((1, 160, 8, 10), 64, 1)),
    "deconv": conv_launch(conv((1, 24, 9, 8), 66, 4, stride=2, pad=1, transposed=True)),
    "gradient": gradient_launch(conv((2, 24, 9, 11), 66, 3, pad=1)),
    "gradient 1x1": gradient_launch(conv((2, 64, 8, 8), 66, 1)),
    "inner product": inner_product_launch(66, 132, 70),
    "inner product of odd rows": inner_product_launch(66, 131, 70),
    "inner product transposed": inner_product_launch(66, 132, 72, transpose=True),
}
WGMMA = [
    "wgmma_m=128 wgmma_n=256 parts=1",
    "wgmma_m=64 wgmma_n=128 parts=1",
    "wgmma_m=128 wgmma_n=64 parts=1",
]

TOO_MANY_ROWS = {  # for the registers of a thread
    ("deconv", WGMMA[0]),
    ("gradient", WGMMA[0]),
    ("gradient", WGMMA[1]),
    ("inner product of odd rows", WGMMA[0]),
}


def others(launch: Op, precision: Any, **options: Any) -> list[str]:
    return other_schedules(launch, precision, [True] * len(launch.operands), **options)


@needs_emulator
@pytest.mark.parametrize("schedule", WGMMA)
@pytest.mark.parametrize("name", PRODUCTS)
def test_warpgroups_compute_a_product(name: str, schedule: str) -> None:
    launch = PRODUCTS[name]
    if (name, schedule) in TOO_MANY_ROWS:
        with pytest.raises(NetcError, match="a schedule asks for tiles of"):
            lowered(launch, "tf32", warpgroups=True, schedule=schedule)
        return
    kernel = check_launch(
        launch, operands(launch), precision="tf32", warpgroups=True, schedule=schedule, tolerance=5e-6
    )
    assert "wgmma_tf32(" in kernel.text


@needs_emulator
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize("name", ["conv", "inner product"])
def test_every_candidate_computes_the_same(name: str, precision: str) -> None:
    launch = PRODUCTS[name]
    found = others(launch, precision, warpgroups=True)
    assert len(found) >= 2
    for schedule in found:
        check_launch(
            launch, operands(launch), precision=precision, warpgroups=True, schedule=schedule, tolerance=5e-6
        )


@needs_emulator
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize(
    "schedule", ["wgmma_m=128 wgmma_n=128 parts=1", *WGMMA[1:], "wgmma_m=64 wgmma_n=64 parts=2"]
)
@pytest.mark.parametrize("name", PRODUCTS)
def test_warpgroups_compute_a_product_of_rounded_factors(name: str, schedule: str, precision: str) -> None:
    launch = PRODUCTS[name]
    kernel = check_launch(launch, operands(launch), precision=precision, warpgroups=True, schedule=schedule)
    assert "wgmma_" in kernel.text


@needs_emulator
def test_warpgroups_and_warps_differ_by_rounding_alone() -> None:
    launch = PRODUCTS["inner product"]
    kernels = [lowered(launch, "tf32", True, True, s) for s in ("mma_m=64 mma_n=64 parts=1", WGMMA[1])]
    one, other = (run_kernel(kernel, launch, operands(launch))[0] for kernel in kernels)
    assert abs(one - other).max() < 4e-3 * abs(one).max()


def test_warpgroups_are_a_choice_only_where_they_are_there_and_clearly_pay() -> None:
    large = conv_launch(conv((16, 256, 56, 56), 512, 3, pad=1))
    small = conv_launch(conv((1, 64, 14, 14), 64, 3, pad=1))
    assert "wgmma_tf32(" in lowered(large, "tf32", warpgroups=True).text
    assert "wgmma_tf32(" not in lowered(small, "tf32", warpgroups=True).text
    for options in ({"warpgroups": False}, {"precision": "fp32", "warpgroups": True}):
        given = {"precision": "tf32", **options}
        assert "wgmma" not in lowered(large, **given).text
        assert not [s for s in others(large, **given) if "wgmma" in s]


def test_a_schedule_for_units_that_are_not_there_leaves_the_choice_to_the_model() -> None:
    launch = PRODUCTS["conv"]
    assert lowered(launch, "tf32", schedule=WGMMA[1]).text == lowered(launch, "tf32").text


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("mma_m=64 mma_n=63 parts=1", "tiles of 64x63"),
        ("mma_m=64 mma_n=64 parts=90", "cuts a sum of 180 products into 90 parts"),
        ("mma_m=64", "no schedule of this kernel"),
        ("mma_m=64 mma_n=64 parts=x", "no schedule of this kernel"),
    ],
)
def test_a_schedule_that_cannot_be_had_is_an_error(schedule: str, message: str) -> None:
    with pytest.raises(NetcError, match=message):
        lowered(PRODUCTS["conv"], "tf32", schedule=schedule)


def test_what_is_no_product_has_no_other_schedules() -> None:
    launch = launch_of([TensorType("f32", (2, 8))], one_op("math.relu", ReluAttrs(0.0)))
    assert not others(launch, "tf32", warpgroups=True)
    assert not others(conv_launch(conv((1, 20, 9, 13), 20, 3, pad=1, group=20)), "tf32")
