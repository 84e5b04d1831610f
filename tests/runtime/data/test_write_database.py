"""Databases that are written appear when they are whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from netc.ir.diagnostics import NetcError
from netc.runtime.data.stores import open_store
from netc.runtime.data.write_database import BACKENDS, new_database


@pytest.fixture(params=BACKENDS)
def backend(request):
    pytest.importorskip("lmdb" if request.param == "lmdb" else "plyvel")
    return request.param


def test_a_database_holds_what_was_put(tmp_path, backend):
    with new_database(tmp_path / "db", backend) as put:
        for index in range(2500):
            put(b"%05d" % index, bytes(index % 300))
        assert not (tmp_path / "db").exists()
    found = [value for _, value in open_store(tmp_path / "db", backend.upper()).records(None)]
    assert found == [bytes(index % 300) for index in range(2500)]
    assert os.listdir(tmp_path) == ["db"]


def test_an_error_leaves_nothing(tmp_path, backend):
    def write():
        with new_database(tmp_path / "db", backend) as put:
            put(b"key", b"value")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write()
    assert os.listdir(tmp_path) == []


def test_what_exists_is_not_overwritten(tmp_path, backend):
    (tmp_path / "db").write_text("mine")
    with pytest.raises(NetcError, match="exists already"), new_database(tmp_path / "db", backend):
        pass
    assert (tmp_path / "db").read_text() == "mine"


def test_a_folder_that_is_not_there_is_an_error(tmp_path, backend):
    with pytest.raises(NetcError), new_database(tmp_path / "none" / "db", backend):
        pass


def test_a_process_that_is_killed_leaves_no_database_under_the_name(tmp_path, backend):
    script = f"""
import os, signal
from pathlib import Path
from netc.runtime.data.write_database import new_database
with new_database(Path({str(tmp_path / "db")!r}), {backend!r}) as put:
    for index in range(3000):
        put(b"%05d" % index, b"value")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    assert not (tmp_path / "db").exists()
