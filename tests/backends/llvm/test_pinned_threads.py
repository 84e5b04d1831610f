import ctypes
import os
import threading

import numpy as np
import pytest

from netc.backends.llvm import cores, spmd
from netc.backends.llvm.cores import cores_to_bind, parse_list
from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.library import Library
from netc.backends.llvm.spmd import Executor, Program, Step, executor_for
from netc.backends.llvm.sync_block import CONFIG
from netc.backends.llvm.target import host_target
from netc.ir.diagnostics import NetcError

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")

# where: cell[tid] = the number of the core that the thread runs on, by the C library's sched_getcpu
KERNEL = """
define void @where(ptr %slots, i64 %tid, i64 %nth) {
  %cells = load ptr, ptr %slots
  %function.p = getelementptr i64, ptr %slots, i64 1
  %function = load ptr, ptr %function.p
  %core = call i32 %function()
  %wide = sext i32 %core to i64
  %cell = getelementptr i64, ptr %cells, i64 %tid
  store i64 %wide, ptr %cell
  ret void
}
"""


@pytest.fixture(scope="module")
def library():
    return Library({"where": compile_to_object(KERNEL, host_target())}, host_target())


def where(library, executor):
    """A program that notes on which core each thread runs, and the notes."""
    cells = np.full(executor.threads, -1, dtype=np.int64)
    address = ctypes.cast(ctypes.CDLL(None).sched_getcpu, ctypes.c_void_p).value
    slots = np.array([cells.ctypes.data, address], dtype=np.int64)
    return Program(executor, [Step("where", library.address("where"), slots)], [library, cells]), cells


def masks(executor):
    return [
        os.sched_getaffinity(worker.native_id) for group in executor._groups.all for worker in group._workers
    ]


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_each_worker_is_bound_to_one_core_and_threads_share_cores_in_turn(library, threads):
    allowed = cores_to_bind()
    executor = Executor(threads, pinned=True)
    program, cells = where(library, executor)
    expected = [allowed[tid % len(allowed)] for tid in range(threads)]
    for _ in range(20):
        program.run()
        assert cells.tolist() == expected
    assert masks(executor) == [{core} for core in expected[1:]]
    executor.close()


def test_the_callers_thread_has_its_mask_back_after_a_run(library):
    before = os.sched_getaffinity(0)
    executor = Executor(2, pinned=True)
    program, _ = where(library, executor)
    program.run()
    assert os.sched_getaffinity(0) == before
    executor.close()


def test_a_caller_is_not_bound_to_a_core_outside_of_its_mask(library):
    allowed = cores_to_bind()
    if len(allowed) < 2:
        pytest.skip("needs two cores")
    executor = Executor(2, pinned=True)
    program, cells = where(library, executor)
    program.run()
    seen = []

    def run_elsewhere():
        os.sched_setaffinity(0, {allowed[1]})
        program.run()
        seen.append((os.sched_getaffinity(0), int(cells[0])))

    other = threading.Thread(target=run_elsewhere)
    other.start()
    other.join()
    assert seen == [({allowed[1]}, allowed[1])]
    executor.close()


def test_threads_are_not_bound_unless_that_is_asked_for(library):
    before = os.sched_getaffinity(0)
    executor = Executor(3)
    where(library, executor)[0].run()
    assert masks(executor) == [before, before]
    executor.close()
    assert executor_for(2) is not executor_for(2, pinned=True)
    assert executor_for(2, pinned=True) is executor_for(2, pinned=True)


def test_groups_that_run_side_by_side_have_cores_of_their_own(library, monkeypatch):
    bound = []
    monkeypatch.setattr(spmd, "_budgets", {})
    monkeypatch.setattr(spmd, "available_cores", lambda: 6)
    monkeypatch.setattr(spmd, "cores_to_bind", lambda: (0, 2, 4, 1, 3, 5))
    monkeypatch.setattr("netc.backends.llvm.thread_group.bind_thread", lambda _, core: bound.append(core))
    executor = Executor(2, pinned=True)
    for _ in range(3):
        assert executor._start(executor._groups)
    assert bound == [2, 1, 5]
    assert [int(group._sync[CONFIG + 12]) for group in executor._groups.all] == [0, 4, 3]
    assert not executor._start(executor._groups)
    executor.close()


def test_one_thread_of_each_physical_core_comes_first(tmp_path, monkeypatch):
    siblings = {0: "0,4", 4: "0,4", 1: "1,5", 5: "1,5", 2: "2-3", 3: "2-3", 6: "6"}
    for core, text in siblings.items():
        folder = tmp_path / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text + "\n")
    monkeypatch.setattr(cores, "_TOPOLOGY", tmp_path)
    for allowed, expected in (
        ({0, 1, 2, 3, 4, 5, 6}, (0, 1, 2, 6, 3, 4, 5)),
        ({3, 4, 5}, (3, 4, 5)),
        ({1, 5, 7}, (1, 7, 5)),  # of core 7 nothing is known
    ):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, allowed=allowed: allowed)
        assert cores_to_bind() == expected


def test_lists_of_cores_are_read():
    assert parse_list("0-3,8,10-11\n") == {0, 1, 2, 3, 8, 10, 11}
    with pytest.raises(ValueError, match="invalid literal"):
        parse_list("")


def test_a_core_that_is_not_there_is_an_error(monkeypatch, library):
    monkeypatch.setattr(spmd, "cores_to_bind", lambda: (0, 1 << 14))
    before = threading.active_count()
    program, _ = where(library, Executor(2, pinned=True))
    with pytest.raises(NetcError, match="cannot be bound to core 16384"):
        program.run()
    assert threading.active_count() == before


def test_where_a_system_binds_no_threads_that_is_said(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(NetcError, match=r"cannot be bound to cores here .*Linux alone"):
        Executor(2, pinned=True)
