import pytest

from netc.backends.llvm.compile_pool import Job, compile_all
from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.object_cache import ObjectCache
from netc.backends.llvm.target import host_target, parse_target
from netc.ir.diagnostics import InternalError, NetcError


def text(i: int) -> str:
    return f"define i64 @f{i}(i64 %x) {{\n  %y = mul i64 %x, {i + 3}\n  ret i64 %y\n}}\n"


class Builds:
    """Jobs that record which texts were built."""

    def __init__(self) -> None:
        self.built: list[int] = []

    def job(self, i: int) -> Job:
        def build() -> str:
            self.built.append(i)
            return text(i)

        return Job(f"kernel {i}", build)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_the_objects_are_those_of_compiling_one_by_one(threads):
    builds = Builds()
    jobs = [builds.job(i) for i in range(20)]
    objects = compile_all(jobs, host_target(), 1, ObjectCache(None), threads)
    assert list(objects) == [job.key for job in jobs]
    assert objects == {f"kernel {i}": compile_to_object(text(i), host_target(), 1) for i in range(20)}


def test_equal_keys_are_compiled_once():
    builds = Builds()
    objects = compile_all([builds.job(i % 3) for i in range(12)], host_target(), 1, ObjectCache(None), 2)
    assert sorted(builds.built) == [0, 1, 2]
    assert len(objects) == 3


def test_a_second_compilation_builds_no_text(tmp_path):
    first, second = Builds(), Builds()
    a = compile_all([first.job(i) for i in range(5)], host_target(), 1, ObjectCache(tmp_path / "c"), 2)
    b = compile_all([second.job(i) for i in range(5)], host_target(), 1, ObjectCache(tmp_path / "c"), 2)
    assert a == b
    assert second.built == []


def test_a_damaged_entry_is_compiled_again(tmp_path):
    builds = Builds()
    cache = ObjectCache(tmp_path / "c")
    good = compile_all([builds.job(1)], host_target(), 1, cache, 1)
    (path,) = cache.directory.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert compile_all([builds.job(1)], host_target(), 1, cache, 1) == good
    assert builds.built == [1, 1]


def test_another_target_or_level_is_another_object(tmp_path):
    builds = Builds()
    cache = ObjectCache(tmp_path / "c")
    compile_all([builds.job(1)], host_target(), 1, cache, 1)
    compile_all([builds.job(1)], host_target(), 2, cache, 1)
    compile_all([builds.job(1)], parse_target("cpu:sse2"), 1, cache, 1)
    assert builds.built == [1, 1, 1]


def test_progress_counts_distinct_kernels_and_ends_at_the_total(tmp_path):
    builds = Builds()
    cache = ObjectCache(tmp_path / "c")
    compile_all([builds.job(0), builds.job(1)], host_target(), 1, cache, 1)
    seen: list[tuple[int, int]] = []
    compile_all([builds.job(i % 4) for i in range(8)], host_target(), 1, cache, 2, lambda *x: seen.append(x))
    assert seen == [(2, 4), (3, 4), (4, 4)]
    seen.clear()
    compile_all([builds.job(0)], host_target(), 1, cache, 2, lambda *x: seen.append(x))
    assert seen == [(1, 1)]


def test_no_jobs_give_no_objects():
    assert compile_all([], host_target(), 1, ObjectCache(None), 2) == {}


def test_the_error_of_one_kernel_is_raised():
    builds = Builds()
    jobs = [builds.job(i) for i in range(6)]
    jobs[3] = Job("bad", lambda: "define void @f(")
    with pytest.raises(InternalError, match="does not parse"):
        compile_all(jobs, host_target(), 1, ObjectCache(None), 2)


def test_an_error_while_building_a_text_is_raised_as_it_is():
    def build() -> str:
        raise NetcError("no schedule", layer="conv1")

    with pytest.raises(NetcError, match="layer 'conv1': no schedule"):
        compile_all([Job("k", build)], host_target(), 1, ObjectCache(None), 2)
