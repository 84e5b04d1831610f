import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from netc.backends.llvm.object_cache import ObjectCache, default_cache_dir

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs POSIX permissions")


def entry(cache: ObjectCache):
    (path,) = cache.directory.glob("*.obj")
    return path


def test_what_was_put_is_found_by_a_later_process(tmp_path):
    ObjectCache(tmp_path / "c").put("key", b"data" * 1000)
    assert ObjectCache(tmp_path / "c").get("key") == b"data" * 1000
    assert ObjectCache(tmp_path / "c").get("other") is None


def test_empty_data_is_data(tmp_path):
    cache = ObjectCache(tmp_path / "c")
    cache.put("key", b"")
    assert cache.get("key") == b""


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:10],
        lambda content: b"",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content + b"more",
    ],
)
def test_a_damaged_entry_is_a_miss_and_can_be_written_again(tmp_path, damage):
    cache = ObjectCache(tmp_path / "c")
    cache.put("key", b"the code")
    path = entry(cache)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("key") is None
    assert not path.exists()
    cache.put("key", b"the code")
    assert cache.get("key") == b"the code"


def test_an_entry_under_the_name_of_another_is_a_miss(tmp_path):
    cache = ObjectCache(tmp_path / "c")
    cache.put("a", b"code of a")
    path_a = entry(cache)
    content = path_a.read_bytes()
    path_a.unlink()
    cache.put("b", b"code of b")
    entry(cache).write_bytes(content)
    assert cache.get("b") is None


def test_readers_never_see_half_an_entry(tmp_path):
    cache = ObjectCache(tmp_path / "c")
    values = [bytes([i]) * 200_000 for i in range(4)]
    cache.put("key", values[0])

    def write(value: bytes) -> None:
        for _ in range(10):
            cache.put("key", value)

    with ThreadPoolExecutor(len(values)) as pool:
        writers = [pool.submit(write, value) for value in values]
        while not all(writer.done() for writer in writers):
            assert cache.get("key") in values
        for writer in writers:
            writer.result()
    assert [path.suffix for path in cache.directory.iterdir()] == [".obj"]


def test_without_a_directory_nothing_is_kept():
    cache = ObjectCache(None)
    cache.put("key", b"data")
    cache.evict()
    assert cache.get("key") is None


def test_a_path_that_cannot_be_a_directory_works_as_no_cache(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        cache = ObjectCache(path)
        cache.put("key", b"data")
        assert cache.directory is None
        assert cache.get("key") is None


def test_a_directory_that_vanishes_is_no_error(tmp_path):
    cache = ObjectCache(tmp_path / "c")
    cache.directory.rmdir()
    cache.put("key", b"data")
    cache.evict()
    assert cache.get("key") is None


def test_the_least_recently_used_entries_are_evicted(tmp_path):
    cache = ObjectCache(tmp_path / "c", limit_bytes=10_000)
    now = time.time()
    for i in range(20):
        cache.put(f"key{i}", bytes(900))
        newest = max(cache.directory.glob("*.obj"), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (now - 10_000 + i, now - 10_000 + i))
    assert cache.get("key0") == bytes(900)  # used now, so it stays
    cache.evict()
    kept = [i for i in range(20) if cache.get(f"key{i}") is not None]
    assert kept[0] == 0
    assert kept[1:] == list(range(20 - len(kept) + 1, 20))
    assert 5 <= len(kept) <= 10


def test_old_temporary_files_are_removed_and_new_ones_are_not(tmp_path):
    cache = ObjectCache(tmp_path / "c")
    for name, age in (("old.part", 10_000), ("new.part", 0)):
        path = cache.directory / name
        path.write_bytes(b"")
        os.utime(path, (time.time() - age,) * 2)
    cache.evict()
    assert [path.name for path in cache.directory.iterdir()] == ["new.part"]


@posix
def test_the_directory_is_created_for_the_user_alone(tmp_path):
    cache = ObjectCache(tmp_path / "a" / "b")
    assert cache.directory.stat().st_mode & 0o777 == 0o700


@posix
def test_a_directory_that_others_may_write_to_is_not_used(tmp_path):
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o777)
    assert ObjectCache(path).directory is None


@posix
def test_a_directory_of_another_user_is_not_used(tmp_path, monkeypatch):
    path = tmp_path / "c"
    path.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    assert ObjectCache(path).directory is None


@pytest.mark.skipif(os.name == "nt", reason="XDG is for Unix")
def test_the_default_directory_follows_the_platform(tmp_path, monkeypatch):
    import sys

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert default_cache_dir() == tmp_path / "x" / "netc"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache_dir() == tmp_path / ".cache" / "netc"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_cache_dir() == tmp_path / "Library" / "Caches" / "netc"
