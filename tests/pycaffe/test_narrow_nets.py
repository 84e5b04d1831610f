"""``Net`` in low precision: blobs near those of float32, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
from small_nets import CONV_NET

import netc
import netc.pycaffe as caffe
from netc.ir.diagnostics import NetcError
from netc.runtime.ranges import write_ranges

WIDE_NET = CONV_NET.replace("num_output: 4", "num_output: 32")


@pytest.fixture
def exact(write) -> caffe.Net:
    return caffe.Net(write(WIDE_NET), caffe.TEST)


@pytest.fixture
def narrow(exact, write, batch, tmp_path) -> Callable[[str], caffe.Net]:
    """Makes the same net in a precision."""
    path, weights, ranges = write(WIDE_NET), tmp_path / "w.caffemodel", tmp_path / "r.json"
    exact.save(weights)

    def make(precision: str) -> caffe.Net:
        if precision == "int8":
            write_ranges(ranges, netc.calibrate(path, weights, {"data": batch}))
        own = ranges if precision == "int8" else None
        return caffe.Net(path, caffe.TEST, weights=weights, precision=precision, ranges=own)

    return make


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_all_blobs_are_near_those_of_float32(exact, narrow, precision, batch):
    net = narrow(precision)
    wanted, got = exact.forward(data=batch)["prob"], net.forward(data=batch)["prob"]
    assert 0 < np.abs(got - wanted).max() < 0.02
    for name in ("conv", "pool", "fc"):
        wanted = exact.blobs[name].data
        assert np.abs(net.blobs[name].data - wanted).max() < 0.02 * np.abs(wanted).max()


def test_the_way_back_is_refused(narrow, batch):
    net = narrow("bf16")
    net.forward(data=batch)
    with pytest.raises(NetcError, match="processors go backward in float32"):
        net.backward()


def test_ranges_are_for_passes_over_the_whole_net(narrow, batch):
    net = narrow("int8")
    net.forward(data=batch)
    with pytest.raises(NetcError, match="of other layers"):
        net.forward(start="pool")
