"""What products ask of memory, as the emulator counts it: no bank conflicts, few sectors beyond the bytes used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_harness import lowered, needs_emulator
from emulator import Emulator
from emulator.profile import LineTraffic
from products import conv_launch, gradient_launch, inner_product_launch, zeros
from windows import conv

from netc.backends.cuda.backend import translation_unit
from netc.ir.core import Op
from netc.ir.dim import evaluate

pytestmark = needs_emulator
ALIGNED, GATHERED, CUT = (
    1.0,
    1.25,
    1.5,
)  # sectors for each needed: whole rows, windows in rows, odd or short rows


PRODUCTS = {
    "conv 1x1": (conv_launch(conv((1, 48, 16, 16), 64, 1)), ALIGNED),
    "conv 3x3": (conv_launch(conv((1, 16, 28, 28), 64, 3, pad=1)), GATHERED),
    "conv 3x3 on short rows": (conv_launch(conv((4, 16, 7, 7), 64, 3, pad=1)), CUT),
    "gradient 1x1": (gradient_launch(conv((2, 48, 8, 8), 64, 1)), ALIGNED),
    "gradient 3x3": (gradient_launch(conv((1, 16, 28, 28), 64, 3, pad=1)), GATHERED),
    "inner product": (inner_product_launch(64, 128, 128), ALIGNED),
    "inner product transposed": (inner_product_launch(64, 128, 128, transpose=True), ALIGNED),
    "inner product of odd rows": (inner_product_launch(64, 127, 130), CUT),
}

WGMMA = "wgmma_m=64 wgmma_n=128 parts=1"


def traffic(launch: Op, precision: Any, **options: Any) -> list[LineTraffic]:
    """What the first stage's first block asks for."""
    kernel = lowered(launch, precision, **options)
    arrays = zeros(launch)
    args = [arrays[i] for i in kernel.operands]
    scratch = evaluate(kernel.scratch_bytes, {})
    if scratch:
        args.append(np.zeros(scratch // 4, np.float32))
    stage = kernel.stages[0]
    grid = [evaluate(d, {}) for d in stage.grid]
    emulator = Emulator(translation_unit([kernel.text]))
    return emulator.profile(
        stage.name,
        grid=grid,
        block=(stage.threads, 1, 1),
        args=args,
        shared_bytes=stage.shared_bytes,
    )


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_no_lanes_of_a_product_meet_in_a_bank(name: str, precision: str) -> None:
    shared = [line for line in traffic(PRODUCTS[name][0], precision) if line.shared]
    assert shared
    assert not [str(line) for line in shared if line.excess > 1]


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_operands_of_a_product_are_read_in_few_sectors(name: str, precision: str) -> None:
    launch, allowed = PRODUCTS[name]
    copies = [line for line in traffic(launch, precision) if not line.shared and not line.write]
    assert sum(line.least for line in copies) > 0
    assert not [str(line) for line in copies if line.excess > allowed]


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_tiles_for_warpgroups_are_filled_without_bank_conflicts(name: str, precision: str) -> None:
    found = traffic(PRODUCTS[name][0], precision, warpgroups=True, schedule=WGMMA)
    shared = [line for line in found if line.shared]
    assert shared
    assert not [str(line) for line in shared if line.excess > 1]


@pytest.mark.parametrize("name", PRODUCTS)
def test_copies_for_warpgroups_read_few_sectors(name: str) -> None:
    launch, allowed = PRODUCTS[name]
    allowed = (
        CUT if allowed == GATHERED else allowed
    )  # eight pixels of a window at a time, wherever it begins
    found = traffic(launch, "tf32", warpgroups=True, schedule=WGMMA)
    copies = [line for line in found if not line.shared and not line.write]
    assert copies
    assert not [str(line) for line in copies if line.excess > allowed]


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize("name", ["conv 1x1", "conv 3x3", "gradient 3x3", "inner product"])
def test_results_are_stored_in_whole_sectors(name: str, precision: str) -> None:
    stores = [line for line in traffic(PRODUCTS[name][0], precision) if line.write and not line.shared]
    assert stores
    assert not [str(line) for line in stores if line.excess > 1]
