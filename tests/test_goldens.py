"""Every golden case, made by running the original Caffe: the reference, and compiled programs.

``tests/goldens`` holds a net and the original's inputs, parameters and outputs for each case.
"""

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
from netc.backends.numpy_reference import run_func
from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.verify import verify
from netc.runtime.counted_rows import counted_rows_only
from netc.runtime.load_params import bind_weights
from netc.runtime.states import StateStore


def check(outputs: Mapping[str, Any], arrays: Mapping[str, Any], tolerance: float) -> None:
    expected = under(arrays, "out/")
    assert set(outputs) == set(expected)
    for name, want in expected.items():
        assert outputs[name].shape == want.shape, name
        assert np.max(np.abs(outputs[name] - want)) <= tolerance * np.max(np.abs(want)), name


def check_params(params: Mapping[tuple[str, int], Any], arrays: Mapping[str, Any], tolerance: float) -> None:
    """Parameters after the run, for the cases that say what they are."""
    for key, want in under(arrays, "param_after/").items():
        layer, _, index = key.rpartition("/")
        got = params[layer, int(index)]
        assert np.max(np.abs(got - want)) <= tolerance * np.max(np.abs(want)), key


def test_every_case_has_a_net_and_arrays():
    assert CASES
    assert sorted(path.stem for path in FOLDER.glob("*.npz")) == CASES


@pytest.mark.parametrize("case", CASES)
def test_the_reference_computes_what_the_original_does(case):
    arrays = load(case)
    phase = phase_of(case)
    net = import_net(load_net(FOLDER / f"{case}.prototxt", phase=phase), phase=phase)
    verify(net.module)
    params, report = bind_weights(net, weights_of(arrays))
    assert report.warnings == ()
    updated = dict(params)
    states = StateStore().inputs(net, ())
    results = run_func(net.module.func("main"), {**under(arrays, "in/"), **params, **states})
    outputs = {name: results[name] for name in net.module.func("main").result_names if name in net.blobs}
    outputs = {**outputs, **counted_rows_only(outputs | results, net.counted)}
    outputs = {name: outputs[name] for name in net.module.func("main").result_names if name in net.blobs}
    check(outputs, arrays, REFERENCE_TOLERANCE)
    after = {(info.layer, info.index): info.value.name for info in net.params}
    for state in net.states:
        updated[state.value.name] = results[state.next]
    check_params({key: updated[value] for key, value in after.items()}, arrays, REFERENCE_TOLERANCE)


@pytest.mark.parametrize("opt_level", [0, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_compiled_program_computes_what_the_original_does(case, opt_level):
    arrays = load(case)
    phase = phase_of(case)
    module = netc.compile(FOLDER / f"{case}.prototxt", weights_of(arrays), opt_level=opt_level, phase=phase)
    check(module.run(**under(arrays, "in/")), arrays, COMPILED_TOLERANCE)
    params = {(layer, i): a for layer, blobs in module.params.items() for i, a in enumerate(blobs)}
    check_params(params, arrays, COMPILED_TOLERANCE)
