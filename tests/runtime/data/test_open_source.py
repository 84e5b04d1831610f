"""The data layers of a net: their sources first, the import after them."""

from __future__ import annotations

import pytest
from small_data_sets import datums, make_lmdb, pixels

from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.runtime.data.open_source import data_shapes
from netc.runtime.data.prefetch import Prefetcher

NET = """
layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        data_param { source: "train" batch_size: 4 backend: LMDB } }
layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST }
        data_param { source: "test" batch_size: 2 backend: LMDB } }
layer { name: "more" type: "MemoryData" top: "more" top: "unused"
        memory_data_param { batch_size: 3 channels: 1 height: 1 width: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize(("phase", "batch", "first"), [("TRAIN", 4, 0), ("TEST", 2, 3)])
def test_the_shapes_of_the_sources_are_the_inputs_of_the_net(tmp_path, phase, batch, first):
    make_lmdb(tmp_path / "train", datums(pixels(5, (3, 6, 7)), range(5)))
    make_lmdb(tmp_path / "test", datums(pixels(2, (3, 6, 7)), [3, 4]))
    net = load_net(NET, phase=phase)
    sources, shapes = data_shapes(net, phase=phase, seed=0, root=tmp_path)
    assert shapes == {"data": (batch, 3, 6, 7), "label": (batch,), "more": (3, 1, 1, 1), "unused": (3,)}
    imported = import_net(net, phase=phase, input_shapes=shapes)
    assert {name: imported.blobs[name].type.shape for name in ("data", "label", "ip")} == {
        "data": (batch, 3, 6, 7),
        "label": (batch,),
        "ip": (batch, 5),
    }
    with Prefetcher(sources[:1]) as batches:
        assert next(batches)["label"][0] == first


def test_data_of_forks_that_no_one_reads_are_refused_by_name(tmp_path):
    net = load_net('layer { name: "ssd" type: "AnnotatedData" top: "data" top: "label" }')
    with pytest.raises(NetcError, match="no reader for the data of layers of type AnnotatedData") as caught:
        data_shapes(net, phase="TRAIN", seed=0, root=tmp_path)
    assert caught.value.layer == "ssd"
    assert caught.value.location is not None
