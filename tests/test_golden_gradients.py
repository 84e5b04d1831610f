"""The gradients of every golden case that has them: the reference, compiled programs, Caffe's interface."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from golden_cases import (
    CASES,
    COMPILED_TOLERANCE,
    FOLDER,
    REFERENCE_TOLERANCE,
    load,
    phase_of,
    under,
    weights_of,
)

import netc
import netc.pycaffe as caffe

GRADIENTS = ("indiff/", "paramdiff/")
WITH_GRADIENTS = [case for case in CASES if any(key.startswith(GRADIENTS) for key in load(case))]
# below is what is left of a sum that cancels: such a gradient is 0
ROUNDING = 1e-6
# the original takes no gradient from the states that a recurrent layer exposes at its end
NOT_TAKEN = {"lstm_expose_hidden": ("hT", "cT")}


def gradients(case: str, arrays: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """The gradients by the keys of the golden."""
    module = netc.compile(
        FOLDER / f"{case}.prototxt", weights_of(arrays), phase=phase_of(case), training=True, **options
    )
    module.run(**under(arrays, "in/"))
    seeds = under(arrays, "outdiff/")
    seeds = {blob: seed for blob, seed in seeds.items() if blob not in NOT_TAKEN.get(case, ())}
    found = {f"indiff/{name}": array for name, array in module.backward(**seeds).items()}
    for layer, blobs in module.param_grads.items():
        found.update({f"paramdiff/{layer}/{i}": array for i, array in enumerate(blobs)})
    return found


def check(found: Mapping[str, Any], arrays: Mapping[str, Any], tolerance: float) -> None:
    for key, want in arrays.items():
        if key.startswith(GRADIENTS):
            if key not in found:  # nothing reaches this input
                assert not want.any(), key
                continue
            assert found[key].shape == want.shape, key
            size = np.max(np.abs(want))
            least = tolerance * (size if size > ROUNDING else 1.0)
            assert np.max(np.abs(found[key] - want)) <= least, key


def test_most_cases_have_gradients():
    assert len(WITH_GRADIENTS) > 90


@pytest.mark.parametrize("case", WITH_GRADIENTS)
def test_the_reference_computes_the_gradients_of_the_original(case):
    arrays = load(case)
    check(gradients(case, arrays, target="numpy"), arrays, REFERENCE_TOLERANCE)


@pytest.mark.parametrize("opt_level", [0, 3])
@pytest.mark.parametrize("case", WITH_GRADIENTS)
def test_a_compiled_program_computes_the_gradients_of_the_original(case, opt_level):
    arrays = load(case)
    check(gradients(case, arrays, opt_level=opt_level), arrays, COMPILED_TOLERANCE)


@pytest.mark.parametrize("case", [case for case in WITH_GRADIENTS if case not in NOT_TAKEN][::4])
def test_the_interface_of_caffe_computes_the_gradients_of_the_original(case):
    arrays = load(case)
    net = caffe.Net(FOLDER / f"{case}.prototxt", {"TRAIN": caffe.TRAIN, "TEST": caffe.TEST}[phase_of(case)])
    for layer, blobs in weights_of(arrays).items():
        for blob, array in zip(net.params[layer], blobs, strict=True):
            blob.data[...] = array.reshape(blob.shape)
    for name, array in under(arrays, "in/").items():
        net.blobs[name].data[...] = array
    net.forward()
    for name, array in under(arrays, "outdiff/").items():
        net.blobs[name].diff[...] = array
    net.backward()
    found = {f"indiff/{name}": net.blobs[name].diff for name in under(arrays, "indiff/")}
    for layer, blobs in net.params.items():
        found.update({f"paramdiff/{layer}/{i}": blob.diff for i, blob in enumerate(blobs)})
    check(found, arrays, COMPILED_TOLERANCE)
