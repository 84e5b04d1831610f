"""MemoryData layers: the caller's arrays."""

from __future__ import annotations

import numpy as np
import pytest

from netc.ir.diagnostics import NetcError

LAYER = (
    "type: 'MemoryData' top: 'data' top: 'label' "
    "memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 }"
)


def test_batches_of_the_arrays_start_over_at_their_end(open_layer):
    source = open_layer(LAYER)
    assert source.tops == {"data": (2, 1, 2, 3), "label": (2,)}
    data = np.random.default_rng(0).random((6, 1, 2, 3))
    source.set_arrays(data, np.arange(6))
    for index in (0, 4, 2):
        batch = source.batch(index)
        places = [index * 2 % 6, index * 2 % 6 + 1]
        np.testing.assert_array_equal(batch["data"], data[places].astype(np.float32))
        assert batch["label"].tolist() == places


def test_a_layer_without_arrays_says_so(open_layer):
    with pytest.raises(NetcError, match="has none yet"):
        open_layer(LAYER).batch(0)


@pytest.mark.parametrize(
    ("shape", "labels"), [((5, 1, 2, 3), 5), ((4, 1, 3, 2), 4), ((4, 1, 2, 3), 3), ((0, 1, 2, 3), 0)]
)
def test_arrays_that_do_not_fit_are_refused(open_layer, shape, labels):
    with pytest.raises(NetcError, match="expected a multiple of 2 of 1x2x3") as caught:
        open_layer(LAYER).set_arrays(np.zeros(shape), np.zeros(labels))
    assert caught.value.layer == "source"


def test_extents_must_be_given(open_layer):
    with pytest.raises(NetcError, match="must be at least 1"):
        open_layer(LAYER.replace("channels: 1", ""))
