"""Data layers: records of LMDB and LevelDB databases."""

from __future__ import annotations

import os

import numpy as np
import pytest
from small_data_sets import datums, make_leveldb, make_lmdb, pixels

from netc.ir.diagnostics import NetcError
from netc.runtime.data.datum import Datum, write_datum

MAKERS = {"LMDB": make_lmdb, "LEVELDB": make_leveldb}
COUNT = 10


@pytest.fixture(params=MAKERS)
def backend(request, tmp_path):
    MAKERS[request.param](tmp_path / "db", datums(pixels(COUNT, (1, 4, 5)), range(COUNT)))
    return request.param


def data(backend="LMDB", batch=4, extra="", tops="top: 'data' top: 'label'"):
    param = f"data_param {{ source: 'db' batch_size: {batch} backend: {backend} }}"
    return f"type: 'Data' {tops} {param} {extra}"


def test_batches_follow_the_keys_and_start_over_in_the_middle_of_a_batch(open_layer, backend):
    source = open_layer(data(backend))
    assert source.tops == {"data": (4, 1, 4, 5), "label": (4,)}
    images = pixels(COUNT, (1, 4, 5)).astype(np.float32)
    for index in range(6):
        batch = source.batch(index)
        places = [(index * 4 + i) % COUNT for i in range(4)]
        assert batch["label"].tolist() == places
        assert batch["data"].dtype == batch["label"].dtype == np.float32
        np.testing.assert_array_equal(batch["data"], images[places])


def test_a_batch_does_not_depend_on_what_was_read_before(open_layer, backend):
    extra = "transform_param { crop_size: 3 mirror: true }"
    forward = [open_layer(data(backend, extra=extra)).batch(i) for i in range(12)]
    other = open_layer(data(backend, extra=extra))
    for index in (11, 3, 0, 7, 7, 2):
        again = other.batch(index)
        for name in again:
            np.testing.assert_array_equal(again[name], forward[index][name])


def test_a_batch_may_be_larger_than_the_database(open_layer, backend):
    labels = open_layer(data(backend, batch=23)).batch(1)["label"]
    assert labels.tolist() == [(23 + i) % COUNT for i in range(23)]


def test_far_positions_are_found_in_a_database_of_many_records(open_layer, tmp_path):
    count = 1000
    make_lmdb(tmp_path / "db", datums(pixels(count, (1, 1, 1)), [i % 128 for i in range(count)]))
    source = open_layer(data(batch=7))
    for index in (140, 3, 77, 142, 141, 10_000):
        expected = [(index * 7 + i) % count % 128 for i in range(7)]
        assert source.batch(index)["label"].tolist() == expected


def test_a_layer_with_one_top_gives_no_labels(open_layer, backend):
    assert open_layer(data(backend, tops="top: 'data'")).batch(0).keys() == {"data"}


def test_two_layers_read_one_database(open_layer, backend):
    first, second = open_layer(data(backend)), open_layer(data(backend, batch=2))
    assert first.batch(1)["label"].tolist() == [4, 5, 6, 7]
    assert second.batch(1)["label"].tolist() == [2, 3]


def test_rand_skip_starts_at_a_place_that_the_seed_decides(open_layer, backend):
    text = data(backend).replace("batch_size", "rand_skip: 8 batch_size")
    starts = [int(open_layer(text, seed=seed).batch(0)["label"][0]) for seed in range(20)]
    assert set(starts) <= set(range(8))
    assert len(set(starts)) > 3
    assert starts == [int(open_layer(text, seed=seed).batch(0)["label"][0]) for seed in range(20)]


def test_labels_of_any_size_come_out_of_raw_records(open_layer, tmp_path):
    labels = [0, 5, 127, 128, 999, 70000, -1, 3]
    make_lmdb(tmp_path / "db", datums(pixels(8, (3, 2, 2)), labels))
    source = open_layer(data(batch=8))
    assert source.batch(0)["label"].tolist() == labels
    np.testing.assert_array_equal(source.batch(0)["data"], pixels(8, (3, 2, 2)).astype(np.float32))


def test_a_forked_process_reads_the_same(open_layer, backend):
    if backend == "LEVELDB":
        pytest.skip("LevelDB's threads do not survive a fork")
    source = open_layer(data(backend))
    expected = source.batch(1)["label"].tolist()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, bytes(source.batch(1)["label"].astype(np.uint8)))
        os._exit(0)
    os.waitpid(child, 0)
    assert list(os.read(read, 4)) == expected


def test_floats_are_read_where_a_record_has_no_pixels(open_layer, tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(1, 2, 3) / 7
    make_lmdb(tmp_path / "db", [write_datum(Datum(1, 2, 3, b"", 4, values.ravel()))])
    batch = open_layer(data(batch=2)).batch(0)
    np.testing.assert_array_equal(batch["data"], np.stack([values, values]))
    assert batch["label"].tolist() == [4, 4]


# ---- errors


def refusal(open_layer, text, **options):
    with pytest.raises(NetcError) as caught:
        open_layer(text, **options).batch(0)
    assert caught.value.layer == "source"
    assert caught.value.location is not None
    return caught.value


def test_a_missing_database_is_named_with_where_paths_start_and_how_to_make_it(open_layer, tmp_path):
    text = data().replace("'db'", "'examples/mnist/mnist_train_lmdb'")
    error = refusal(open_layer, text)
    assert "'examples/mnist/mnist_train_lmdb' does not exist" in error.message
    assert str(tmp_path) in error.notes[0]
    assert "netc data mnist" in error.remedy


def test_a_database_of_the_other_kind_is_refused_with_the_right_setting(open_layer, tmp_path):
    make_lmdb(tmp_path / "db", datums(pixels(1, (1, 1, 1)), [0]))
    assert "backend: LMDB" in refusal(open_layer, data("LEVELDB")).remedy


def test_an_empty_database_is_refused(open_layer, tmp_path):
    make_lmdb(tmp_path / "db", [])
    assert "empty" in refusal(open_layer, data()).message


def test_a_database_that_is_cut_off_is_refused(open_layer, tmp_path):
    make_lmdb(tmp_path / "db", datums(pixels(100, (3, 20, 20)), range(100)))
    file = tmp_path / "db" / "data.mdb"
    os.truncate(file, file.stat().st_size // 2)
    assert "cut off" in refusal(open_layer, data()).message


def test_files_that_are_no_database_are_refused(open_layer, tmp_path):
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "data.mdb").write_bytes(b"no database" * 1000)
    assert "cannot be read" in refusal(open_layer, data()).message


def test_a_folder_without_a_database_is_refused(open_layer, tmp_path):
    (tmp_path / "db").mkdir()
    for kind in MAKERS:
        refusal(open_layer, data(kind))
    assert list((tmp_path / "db").iterdir()) == []


def test_a_record_that_is_no_datum_is_named_by_its_place(open_layer, tmp_path):
    make_lmdb(tmp_path / "db", [*datums(pixels(2, (1, 2, 2)), [0, 1]), b"\xff\xff\xff"])
    assert "record 2 " in refusal(open_layer, data()).message


def test_a_record_with_too_few_pixels_is_refused(open_layer, tmp_path):
    make_lmdb(tmp_path / "db", [write_datum(Datum(3, 5, 5, b"\0" * 74, 0))])
    assert "74 elements for a shape of 3x5x5" in refusal(open_layer, data()).message


def test_images_of_different_sizes_are_refused_without_a_crop(open_layer, tmp_path):
    records = datums(pixels(1, (1, 4, 4)), [0]) + datums(pixels(1, (1, 5, 4)), [0])
    make_lmdb(tmp_path / "db", records)
    error = refusal(open_layer, data(batch=2))
    assert "1x5x4 among others of 1x4x4" in error.message
    batch = open_layer(data(batch=2, extra="transform_param { crop_size: 3 }")).batch(0)
    assert batch["data"].shape == (2, 1, 3, 3)


def test_a_batch_that_no_memory_holds_is_refused(open_layer, tmp_path):
    make_lmdb(tmp_path / "db", datums(pixels(1, (3, 20, 20)), [0]))
    assert "GiB" in refusal(open_layer, data(batch=4_000_000_000)).message
    assert "at least 1" in refusal(open_layer, data(batch=0)).message
