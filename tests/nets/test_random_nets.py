"""Whole nets at random: compiled with and without optimisations they compute what the reference does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from caffe_net import CaffeNet
from exact_outputs import check_net
from hypothesis import HealthCheck, given, settings
from random_nets import caffe_nets


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels that two nets share are compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@settings(max_examples=100, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(net=caffe_nets())
def test_a_random_net_computes_the_same_at_every_level(net: CaffeNet) -> None:
    check_net(net.text)


@pytest.mark.slow
@settings(max_examples=2000, suppress_health_check=list(HealthCheck), print_blob=True)
@given(net=caffe_nets())
def test_many_random_nets_compute_the_same_at_every_level(net: CaffeNet) -> None:
    check_net(net.text)


X = 'layer {{ name: "{0}" type: "Input" top: "{0}" input_param {{ shape {{ dim: 2 dim: 3 dim: 4 dim: {1} }} }} }}\n'
CONV = (
    'layer {{ name: "c{0}" type: "Convolution" bottom: "{0}" top: "c{0}" '
    "convolution_param {{ num_output: 16 kernel_size: 1 }} }}\n"
)
FOUND = {
    "1x1 convolution of a plane of one column": X.format("x", 1) + CONV.format("x"),
    "1x1 convolution added to a part of wider rows": X.format("x", 5)
    + X.format("y", 7)
    + CONV.format("y")
    + 'layer { name: "s" type: "Slice" bottom: "cy" top: "a" top: "b" slice_param { axis: 3 slice_point: 5 } }\n'
    + CONV.format("x")
    + 'layer { name: "e" type: "Eltwise" bottom: "cx" bottom: "a" top: "e" }\n',
    "a map that reads two values of one other map": X.format("x", 5)
    + 'layer { name: "p" type: "Permute" bottom: "x" top: "p" permute_param { order: 0 order: 2 order: 1 order: 3 } }\n'
    + 'layer { name: "a" type: "ELU" bottom: "p" top: "a" }\n'
    + 'layer { name: "b" type: "Eltwise" bottom: "a" bottom: "p" top: "b" eltwise_param { operation: PROD } }\n'
    + 'layer { name: "s" type: "Split" bottom: "b" top: "c" top: "d" }\n'
    + 'layer { name: "e" type: "Scale" bottom: "d" bottom: "a" top: "e" scale_param { axis: 0 bias_term: true } }\n',
}


@pytest.mark.parametrize("name", FOUND)
def test_a_net_that_was_compiled_wrongly_once_is_compiled_well(name: str) -> None:
    check_net(FOUND[name])
