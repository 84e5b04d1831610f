"""The gradients of every golden case that has them: the reference, compiled programs, Caffe's interface."""

import pytest
from golden_cases import (
    COMPILED_TOLERANCE,
    FOLDER,
    NOT_TAKEN,
    REFERENCE_TOLERANCE,
    WITH_GRADIENTS,
    check,
    gradients,
    gradients_wanted,
    load,
    phase_of,
    under,
    weights_of,
)

import netc.pycaffe as caffe


def test_most_cases_have_gradients():
    assert len(WITH_GRADIENTS) > 90


@pytest.mark.parametrize("case", WITH_GRADIENTS)
def test_the_reference_computes_the_gradients_of_the_original(case):
    arrays = load(case)
    check(gradients(case, arrays, target="numpy"), gradients_wanted(arrays), REFERENCE_TOLERANCE)


@pytest.mark.parametrize("opt_level", [0, 3])
@pytest.mark.parametrize("case", WITH_GRADIENTS)
def test_a_compiled_program_computes_the_gradients_of_the_original(case, opt_level):
    arrays = load(case)
    check(gradients(case, arrays, opt_level=opt_level), gradients_wanted(arrays), COMPILED_TOLERANCE)


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
    check(found, gradients_wanted(arrays), COMPILED_TOLERANCE)
