"""Every golden case through the CUDA kernels in the emulator: outputs and gradients of the original Caffe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from cuda_harness import PRECISION_TOLERANCE, needs_emulator
from emulated_device import emulated_gpu
from golden_cases import CASES, COMPILED_TOLERANCE, FOLDER, load, phase_of, under, weights_of

import netc
from netc.ir.core import walk

pytestmark = needs_emulator
GRADIENTS = ("indiff/", "paramdiff/")
WITH_GRADIENTS = [case for case in CASES if any(key.startswith(GRADIENTS) for key in load(case))]
# below is what is left of a sum that cancels: such a gradient is 0
ROUNDING = 1e-6
# the original takes no gradient from the states that a recurrent layer exposes at its end
NOT_TAKEN = {"lstm_expose_hidden": ("hT", "cT")}
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


def gradients(case: str, precision: Any) -> dict[str, Any]:
    """The gradients by the keys of the golden."""
    arrays = load(case)
    with emulated_gpu():
        module = netc.compile(
            FOLDER / f"{case}.prototxt",
            weights_of(arrays),
            target="cuda:sm_90",
            precision=precision,
            phase=phase_of(case),
            training=True,
        )
        module.run(**under(arrays, "in/"))
        seeds = under(arrays, "outdiff/")
        given = {blob: seed for blob, seed in seeds.items() if blob not in NOT_TAKEN.get(case, ())}
        found = {f"indiff/{name}": array for name, array in module.backward(**given).items()}
    for layer, blobs in module.param_grads.items():
        found.update({f"paramdiff/{layer}/{i}": array for i, array in enumerate(blobs)})
    return found


def check(found: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float) -> None:
    for key, want in wanted.items():
        if key not in found:  # nothing reaches this input
            assert not want.any(), key
            continue
        assert found[key].shape == want.shape, key
        size = np.max(np.abs(want))
        least = tolerance * (size if size > ROUNDING else 1.0)
        assert np.max(np.abs(found[key] - want)) <= least, key


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
    wanted = {key: array for key, array in load(case).items() if key.startswith(GRADIENTS)}
    check(gradients(case, "fp32"), wanted, COMPILED_TOLERANCE)


def has_products(case: str) -> bool:
    module = netc.compile(FOLDER / f"{case}.prototxt", target="numpy", phase=phase_of(case))
    return any(op.name in PRODUCTS for op in walk(module.compiled.main.ops))


@pytest.mark.parametrize("precision", list(PRECISION_TOLERANCE))
@pytest.mark.parametrize("case", most_are_slow([c for c in WITH_GRADIENTS if has_products(c)], 6))
def test_tensor_cores_stay_within_the_error_of_their_precision(case: str, precision: str) -> None:
    arrays = load(case)
    check(outputs(case, precision), under(arrays, "out/"), 4 * PRECISION_TOLERANCE[precision])
    wanted = {key: array for key, array in arrays.items() if key.startswith(GRADIENTS)}
    check(gradients(case, precision), wanted, 4 * PRECISION_TOLERANCE[precision])
