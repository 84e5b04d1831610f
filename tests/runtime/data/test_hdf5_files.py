"""HDF5Data layers: rows of datasets in several files."""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pytest

from netc.ir.diagnostics import NetcError

h5py = pytest.importorskip("h5py")

ROWS = (3, 5, 2)
TOTAL = sum(ROWS)


@pytest.fixture
def files(tmp_path):
    """Three files of 3, 5 and 2 rows; row i of all holds i."""
    start = 0
    for number, rows in enumerate(ROWS):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            places = np.arange(start, start + rows, dtype=np.float64)
            file["data"] = places[:, None, None] + np.zeros((1, 2, 3))
            file["label"] = places.astype(np.int32)
        start += rows
    (tmp_path / "list.txt").write_text("0.h5\n1.h5\n2.h5\n")


def layer(
    settings: str = "", source: str = "list.txt", batch: int = 4, tops: str = "top: 'data' top: 'label'"
) -> str:
    return f"type: 'HDF5Data' {tops} hdf5_data_param {{ source: '{source}' batch_size: {batch} {settings} }}"


def test_rows_follow_each_other_across_files_and_start_over(open_layer, files):
    source = open_layer(layer())
    assert source.tops == {"data": (4, 2, 3), "label": (4,)}
    for index in (0, 5, 1, 2, 3, 0):
        batch = source.batch(index)
        places = [(index * 4 + i) % TOTAL for i in range(4)]
        assert batch["label"].tolist() == places
        assert batch["data"].dtype == batch["label"].dtype == np.float32
        np.testing.assert_array_equal(batch["data"][:, 1, 2], places)


def test_a_batch_may_hold_several_epochs(open_layer, files):
    assert open_layer(layer(batch=23)).batch(1)["label"].tolist() == [(23 + i) % TOTAL for i in range(23)]


def test_files_and_their_rows_are_shuffled_in_every_epoch(open_layer, files):
    source = open_layer(layer("shuffle: true", batch=5))
    epochs = [
        [int(label) for index in (2 * epoch, 2 * epoch + 1) for label in source.batch(index)["label"]]
        for epoch in range(6)
    ]
    assert all(sorted(epoch) == list(range(TOTAL)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    files_first = {sum(epoch[0] >= end for end in np.cumsum(ROWS)) for epoch in epochs}
    assert len(files_first) > 1
    for epoch in epochs:  # the rows of a file stay together
        of_files = [sum(place >= end for end in np.cumsum(ROWS)) for place in epoch]
        assert sum(a != b for a, b in pairwise(of_files)) == 2
    again = open_layer(layer("shuffle: true", batch=5))
    assert again.batch(7)["label"].tolist() == epochs[3][5:]
    np.testing.assert_array_equal(again.batch(7)["data"][:, 0, 0], epochs[3][5:])


def test_a_forked_process_reads_the_same(open_layer, files):
    source = open_layer(layer("shuffle: true"))
    expected = source.batch(2)["label"].astype(int).tolist()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, bytes(source.batch(2)["label"].astype(np.uint8)))
        os._exit(0)
    os.waitpid(child, 0)
    assert list(os.read(read, 4)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer(source="none.txt"), "'none.txt' does not exist"),
        (layer(source="empty.txt"), "the list is empty"),
        (layer(source="gone.txt"), "gone.h5: does not exist"),
        (layer(source="junk.txt"), "junk.h5: cannot be read as an HDF5 file"),
        (layer(source="other.txt"), "the rows of 'data' are 7; those of the first file are 2x3"),
        (layer(source="uneven.txt"), "different numbers of rows: 'data' 4x7, 'label' 3"),
        (layer(source="words.txt"), "'label' holds no rows of numbers"),
        (layer(source="none_in_it.txt"), "no rows in it"),
        (layer(source="0.h5"), "0.h5"),
        (layer(tops="top: 'data' top: 'target'"), "no dataset 'target' in it"),
        (layer() + " transform_param { scale: 2 }", "do not transform"),
    ],
)
def test_files_that_do_not_fit_are_refused_at_the_layer(open_layer, files, tmp_path, text, message):
    contents = {
        "other": (np.zeros((3, 7)), np.zeros(3)),
        "uneven": (np.zeros((4, 7)), np.zeros(3)),
        "words": (np.zeros((1, 2, 3)), np.array([b"word"])),
        "none_in_it": (np.zeros((0, 2, 3)), np.zeros(0)),
    }
    for name, (data, label) in contents.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["data"], file["label"] = data, label
        (tmp_path / f"{name}.txt").write_text(f"{name}.h5\n")
    (tmp_path / "other.txt").write_text("0.h5\nother.h5\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "gone.txt").write_text("gone.h5\n")
    (tmp_path / "junk.txt").write_text("junk.h5\n")
    (tmp_path / "junk.h5").write_bytes(b"junk" * 100)
    with pytest.raises(NetcError) as caught:
        open_layer(text).batch(0)
    assert message in caught.value.message
    assert caught.value.layer == "source"
    assert caught.value.location is not None
