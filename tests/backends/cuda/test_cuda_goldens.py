"""Every golden case through the CUDA kernels in the emulator: outputs and gradients of the original Caffe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from cuda_harness import PRECISION_TOLERANCE, needs_emulator
from emulated_device import emulated_gpu
from golden_cases import (
    CASES,
    COMPILED_TOLERANCE,
    FOLDER,
    WITH_GRADIENTS,
    check,
    gradients,
    gradients_wanted,
    load,
    phase_of,
    under,
    weights_of,
)

import netc
from netc.ir.core import walk

pytestmark = needs_emulator
PRODUCTS = {"nn.conv", "nn.deconv", "nn.inner_product"}


def outputs(case: str, precision: Any) -> dict[str, Any]:
    arrays = load(case)
    with emulated_gpu():
        module = netc.compile(
            FOLDER / f"{case}.prototxt",
            weights_of(arrays),
            target="cuda:sm_90",
            precision=precision,
            phase=phase_of(case),
        )
        return module.run(**under(arrays, "in/"))


def cuda_gradients(case: str, precision: Any) -> dict[str, Any]:
    with emulated_gpu():
        return gradients(case, load(case), target="cuda:sm_90", precision=precision)


def most_are_slow(cases: Sequence[str], quick: int) -> list[Any]:
    """One of so many cases in the quick tests, the others in the slow ones."""
    slow = pytest.mark.slow
    return [case if i % quick == 0 else pytest.param(case, marks=slow) for i, case in enumerate(cases)]


@pytest.mark.parametrize("case", most_are_slow(CASES, 3))
def test_outputs_are_those_of_the_original(case: str) -> None:
    wanted = under(load(case), "out/")
    found = outputs(case, "fp32")
    assert set(found) == set(wanted)
    check(found, wanted, COMPILED_TOLERANCE)


@pytest.mark.parametrize("case", most_are_slow(WITH_GRADIENTS, 3))
def test_gradients_are_those_of_the_original(case: str) -> None:
    check(cuda_gradients(case, "fp32"), gradients_wanted(load(case)), COMPILED_TOLERANCE)


def has_products(case: str) -> bool:
    module = netc.compile(FOLDER / f"{case}.prototxt", target="numpy", phase=phase_of(case))
    return any(op.name in PRODUCTS for op in walk(module.compiled.main.ops))


@pytest.mark.parametrize("precision", list(PRECISION_TOLERANCE))
@pytest.mark.parametrize("case", most_are_slow([c for c in WITH_GRADIENTS if has_products(c)], 6))
def test_tensor_cores_stay_within_the_error_of_their_precision(case: str, precision: str) -> None:
    arrays = load(case)
    check(outputs(case, precision), under(arrays, "out/"), 4 * PRECISION_TOLERANCE[precision])
    check(cuda_gradients(case, precision), gradients_wanted(arrays), 4 * PRECISION_TOLERANCE[precision])
