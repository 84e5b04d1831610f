"""Batches for a net: what seeding anew keeps."""

import time
from pathlib import Path

import numpy as np

from netc.frontend.net_file import read_net
from netc.runtime.solver.feed import Feed

NET = """layer { name: "m" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 } }
"""


def test_arrays_that_were_set_are_there_after_seeding_anew(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    feed = Feed(read_net(path), phase="TRAIN", seed=1, root=Path())
    data = np.arange(12, dtype=np.float32).reshape(4, 1, 1, 3)
    assert feed.set_arrays(data, np.arange(4))
    feed.next({"data": None})
    feed.reseed(2)
    np.testing.assert_array_equal(feed.next({"data": None})["data"], data[2:])
    feed.close()


def test_the_next_batch_can_be_seen_before_it_is_taken_once_threads_make_batches(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    feed = Feed(read_net(path), phase="TRAIN", seed=1, root=Path())
    feed.set_arrays(np.arange(12, dtype=np.float32).reshape(4, 1, 1, 3), np.arange(4))
    assert feed.peek({"data": None}) is None
    feed.next({"data": None})
    while (seen := feed.peek({"data": None})) is None:
        time.sleep(0.001)
    assert feed.position == 1
    assert feed.next({"data": None})["data"] is seen["data"]
    assert feed.peek({"other": None}) is None
    feed.close()
