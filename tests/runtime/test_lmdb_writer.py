"""LMDB databases as the package ``lmdb`` reads them back."""

import sys

import pytest

from netc.ir.diagnostics import NetcError
from netc.runtime.data.lmdb_writer import COMMIT_RECORDS, LmdbWriter

lmdb = pytest.importorskip("lmdb")


def _records(path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as database, database.begin() as transaction:
        return dict(transaction.cursor())


def test_records_come_back_in_the_order_of_their_keys(tmp_path):
    with LmdbWriter(tmp_path / "db") as writer:
        writer.put(b"b", b"second")
        writer.put(b"a", b"first")
        writer.put(b"b", b"replaced")
    assert list(_records(tmp_path / "db").items()) == [(b"a", b"first"), (b"b", b"replaced")]


def _fail_after(path, *records: tuple[bytes, bytes]) -> None:
    with LmdbWriter(path) as writer:
        for key, value in records:
            writer.put(key, value)
        raise RuntimeError


def test_a_full_map_grows_without_losing_records(tmp_path):
    wanted = {b"%05d" % i: bytes([i % 256]) * 500 for i in range(COMMIT_RECORDS + 10)}
    with LmdbWriter(tmp_path / "db", map_size=2**16) as writer:
        for key, value in wanted.items():
            writer.put(key, value)
    assert _records(tmp_path / "db") == wanted


def test_large_records_are_committed_before_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("netc.runtime.data.lmdb_writer.COMMIT_BYTES", 100)
    with pytest.raises(RuntimeError):
        _fail_after(tmp_path / "db", (b"a", bytes(100)), (b"b", bytes(10)))
    assert list(_records(tmp_path / "db")) == [b"a"]


def test_an_error_in_the_block_commits_nothing_more(tmp_path):
    with pytest.raises(RuntimeError):
        _fail_after(tmp_path / "db", (b"a", b"1"))
    assert _records(tmp_path / "db") == {}


def test_a_database_that_exists_is_left_alone(tmp_path):
    (tmp_path / "db").mkdir()
    with pytest.raises(NetcError, match="exists already"):
        LmdbWriter(tmp_path / "db")
    with pytest.raises(NetcError, match="No such file"):
        LmdbWriter(tmp_path / "no" / "db")


def test_a_key_that_lmdb_cannot_store_is_an_error_of_the_database(tmp_path):
    with pytest.raises(NetcError, match="db: "), LmdbWriter(tmp_path / "db") as writer:
        writer.put(b"", b"1")


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(NetcError) as error:
        LmdbWriter(tmp_path / "db")
    assert error.value.remedy == "pip install 'netc[lmdb]'"
