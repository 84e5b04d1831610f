"""Every barrier, wait, fence and commit of the kernels for warpgroups is needed: without one the emulator faults."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from cuda_harness import lowered, needs_emulator, run_kernel
from emulator import EmulatorFault
from products import conv_launch, operands
from windows import conv

pytestmark = needs_emulator
LAUNCH = conv_launch(conv((1, 40, 9, 9), 80, 3, pad=1))
ORDERING = re.compile(r"\b(copy_async_wait<\d>|copy_async_commit|wgmma_\w+(?:<\d>)?|__syncthreads)\(\);")


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_kernel_without_any_one_of_them_is_at_fault(precision: str) -> None:
    kernel = lowered(LAUNCH, precision, warpgroups=True, schedule="wgmma_m=64 wgmma_n=64 parts=1")
    (stage,) = kernel.stages
    places = list(ORDERING.finditer(stage.text))
    assert {match[1].partition("<")[0] for match in places} >= {
        "wgmma_publish",
        "wgmma_fence",
        "__syncthreads",
    }
    for match in places:
        text = stage.text[: match.start()] + stage.text[match.end() :]
        with pytest.raises(EmulatorFault):
            run_kernel(replace(kernel, stages=(replace(stage, text=text),)), LAUNCH, operands(LAUNCH))
