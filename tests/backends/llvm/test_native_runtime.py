from netc.backends.llvm import native_runtime
from netc.backends.llvm.native_runtime import compile_runtime
from netc.backends.llvm.object_cache import ObjectCache


def test_every_cache_folder_gets_the_runtime(monkeypatch, tmp_path):
    code = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        monkeypatch.setattr(native_runtime, "default_cache_dir", lambda folder=folder: folder)
        code.append(compile_runtime())
        assert [file.suffix for file in folder.iterdir()] == [".obj"]
    assert code[0] == code[1]


def test_a_cache_folder_is_read_once(monkeypatch, tmp_path):
    monkeypatch.setattr(native_runtime, "default_cache_dir", lambda: tmp_path)
    reads = []
    get = ObjectCache.get
    monkeypatch.setattr(ObjectCache, "get", lambda cache, key: reads.append(key) or get(cache, key))
    assert compile_runtime() is compile_runtime()
    assert len(reads) == 1
