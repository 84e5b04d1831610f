"""Ranges measured on samples: those of the values that are cast; and what samples are refused."""

from __future__ import annotations

import numpy as np
import pytest

import netc
from netc.ir.diagnostics import NetcError
from netc.runtime.api import filled_params, read_message
from netc.runtime.calibration.accuracy import accuracy_change
from netc.runtime.calibration.calibrate import ROWS_AT_ONCE, batches_of, shapes_of
from netc.runtime.compiler import import_message
from netc.runtime.options import CompileOptions

NET = """name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 16 dim: 6 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 32 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 20 weight_filler { type: "msra" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def samples(rows: int, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).uniform(-1, 3, (rows, 16, 6, 6)).astype(np.float32)


def test_the_ranges_are_those_of_the_values_that_products_read() -> None:
    data = samples(3)
    found = netc.calibrate(NET, None, {"data": data}, method="max")
    assert found.samples == 3
    module = netc.compile(NET, keep=["conv"], input_shapes={"data": data.shape})
    module.run(data=data)
    read = module.blob("conv")
    bounds = sorted(found.by_name.values())
    assert len(bounds) == 2
    np.testing.assert_allclose(bounds[0], (data.min(), data.max()), rtol=1e-6)
    np.testing.assert_allclose(bounds[1], (read.min(), read.max()), rtol=1e-5)


def test_batches_widen_the_ranges() -> None:
    one = netc.calibrate(NET, None, [{"data": samples(2)}], method="max").by_name
    both = netc.calibrate(NET, None, [{"data": samples(2)}, {"data": 2 * samples(2)}], method="max").by_name
    assert all(both[name][1] > one[name][1] for name in one)


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_the_other_methods_lie_within_what_was_seen(method: str) -> None:
    widest = netc.calibrate(NET, None, {"data": samples(2)}, method="max").by_name
    found = netc.calibrate(NET, None, {"data": samples(2)}, method=method).by_name  # type: ignore[arg-type]
    assert all(w[0] <= f[0] <= f[1] <= w[1] for w, f in ((widest[n], found[n]) for n in widest))


def test_many_rows_are_cut_into_batches_of_one_size_and_all_are_seen() -> None:
    data = samples(2 * ROWS_AT_ONCE + 5)
    options = CompileOptions()
    found = [b["data"] for b in batches_of(read_message(NET, options), options, {"data": data})]
    assert [len(b) for b in found] == [ROWS_AT_ONCE] * 3
    np.testing.assert_array_equal(np.concatenate([found[0], found[1], found[2][-5:]]), data)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "needs sample inputs"),
        ([{"data": samples(1)}, {"data": samples(2)}], "different shapes"),
        ({"data": samples(1) * np.float32(np.nan)}, "not finite"),
    ],
)
def test_samples_that_will_not_do_are_refused(inputs: object, message: str) -> None:
    with pytest.raises(NetcError, match=message):
        netc.calibrate(NET, None, inputs)  # type: ignore[arg-type]


def test_a_net_without_such_layers_is_refused() -> None:
    net = NET.partition('layer { name: "conv"')[0]
    net += 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }'
    with pytest.raises(NetcError, match="no layer that would be computed in 8-bit"):
        netc.calibrate(net, None, {"data": samples(1)})


def test_the_report_compares_each_output_with_float32() -> None:
    message, options = read_message(NET, CompileOptions()), CompileOptions(keep=("fc",))
    batches = list(batches_of(message, options, {"data": samples(12)}))
    options = shapes_of(options, batches)
    params, _ = filled_params(import_message(message, options), None)
    ranges = netc.calibrate(NET, None, {"data": samples(12)}, method="max")
    changes = accuracy_change(message, options, params, batches, ranges)
    assert set(changes) == {"bf16", "int8"}
    for found in changes.values():
        by_name = {change.output: change for change in found}
        assert set(by_name) == {"fc", "prob"}
        assert 0 < by_name["fc"].mean < by_name["fc"].largest < 0.1
        assert by_name["fc"].same_best is None  # no probabilities
        assert by_name["prob"].same_best is not None
        assert by_name["prob"].same_best > 0.8
        assert by_name["prob"].same_best_five == 1.0
    assert changes["bf16"][0].largest < changes["int8"][0].largest
