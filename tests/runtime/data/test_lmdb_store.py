"""The reader of LMDB databases against the library, and on damaged files."""

from __future__ import annotations

import random

import pytest

from netc.ir.diagnostics import NetcError
from netc.runtime.data.lmdb_store import FILE, LmdbStore

lmdb = pytest.importorskip("lmdb")


def build(path, seed, *, count=700, largest=9000):
    """A database with values in and beyond its leaves, some replaced, some deleted again."""
    rng = random.Random(seed)
    contents = {}
    environment = lmdb.open(str(path), map_size=2**26)
    for _ in range(4):
        with environment.begin(write=True) as transaction:
            for _ in range(count // 4):
                key = b"%d" % rng.randrange(10**9) * rng.choice([1, 1, 8])
                contents[key] = rng.randbytes(rng.choice([0, 3, 300, 2000, 2040, largest]))
                transaction.put(key, contents[key])
            for key in rng.sample(sorted(contents), count // 16):
                del contents[key]
                transaction.delete(key)
    environment.close()
    return [contents[key] for key in sorted(contents)]


@pytest.mark.parametrize("seed", range(3))
def test_records_come_in_the_order_of_their_keys(tmp_path, seed):
    values = build(tmp_path / "db", seed)
    store = LmdbStore(tmp_path / "db")
    assert store.count == len(values)
    assert [value for _, value in store.records(None)] == values


def test_reading_goes_on_at_any_place(tmp_path):
    values = build(tmp_path / "db", 1)
    store = LmdbStore(tmp_path / "db")
    places = list(store.places(None))
    assert len(places) == len(values)
    for index in (0, 1, 55, 300, len(values) - 1):
        assert list(store.places(places[index])) == places[index:]
        found = store.records(places[index])
        assert next(found) == (places[index], values[index])
        assert [value for _, value in found] == values[index + 1 :]


def test_a_database_may_be_a_file_of_any_name(tmp_path):
    environment = lmdb.open(str(tmp_path / "file"), subdir=False, map_size=2**20)
    with environment.begin(write=True) as transaction:
        transaction.put(b"key", b"value")
    environment.close()
    assert [value for _, value in LmdbStore(tmp_path / "file").records(None)] == [b"value"]


def test_a_database_of_another_kind_is_refused(tmp_path):
    environment = lmdb.open(str(tmp_path / "db"), max_dbs=1, map_size=2**20)
    environment.open_db(b"inner")
    environment.close()
    with pytest.raises(NetcError, match="another kind than Caffe's"):
        list(LmdbStore(tmp_path / "db").records(None))


def test_damaged_databases_end_in_an_error_or_in_values(tmp_path):
    build(tmp_path / "db", 2, count=200, largest=5000)
    file = tmp_path / "db" / FILE
    whole = file.read_bytes()
    refused = []
    for seed in range(400):
        rng = random.Random(seed)
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 2, 20])):
            page = rng.randrange(len(whole) // 4096)  # most of a page's meaning is in its first bytes
            damaged[page * 4096 + rng.randrange(rng.choice([60, 60, 4096]))] = rng.randrange(256)
        if seed % 10 == 0:
            del damaged[rng.randrange(len(damaged)) :]
        file.write_bytes(damaged)
        try:
            assert sum(len(value) for _, value in LmdbStore(tmp_path / "db").records(None)) <= len(whole)
        except NetcError as error:
            refused.append(error.message)
    assert len(refused) > 100
    assert all(str(file) in message for message in refused)
