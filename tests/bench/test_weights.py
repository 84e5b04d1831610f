"""Random weights, and the files that carry them."""

from pathlib import Path

import numpy as np
import pytest

from netc.bench.net_shapes import infer
from netc.bench.prototext import read_layers
from netc.bench.weights import load_npz, random_weights, save_caffemodel, save_npz
from netc.frontend.weights import load_weights

LENET = Path(__file__).parents[2] / "examples" / "models" / "lenet.prototxt"


@pytest.fixture
def layers():
    return read_layers(LENET)


@pytest.fixture
def weights(layers):
    return random_weights(layers, infer(layers))


def test_equal_seeds_give_equal_weights(layers, weights):
    again = random_weights(layers, infer(layers))
    other = random_weights(layers, infer(layers), seed=1)
    np.testing.assert_array_equal(weights["conv1"][0], again["conv1"][0])
    assert not np.array_equal(weights["conv1"][0], other["conv1"][0])


def test_deviation_follows_what_the_layer_reads(weights):
    # ip1 reads a maximum pooling of a convolution (second moment 2), ip2 a ReLU of ip1 (one half)
    assert weights["ip1"][0].std() == pytest.approx((800 * 2.0) ** -0.5, rel=0.02)
    assert weights["ip2"][0].std() == pytest.approx((500 * 0.5) ** -0.5, rel=0.05)


def test_npz_round_trip(weights, tmp_path):
    save_npz(tmp_path / "w.npz", weights)
    again = load_npz(tmp_path / "w.npz")
    assert list(again) == list(weights)
    for layer, blobs in weights.items():
        for got, expected in zip(again[layer], blobs, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_netc_reads_the_caffemodel(layers, weights, tmp_path):
    save_caffemodel(tmp_path / "w.caffemodel", "lenet", layers, weights)
    read = load_weights(tmp_path / "w.caffemodel")
    assert list(read) == list(weights)
    for layer, blobs in weights.items():
        for got, expected in zip(read[layer], blobs, strict=True):
            np.testing.assert_array_equal(got, expected)
