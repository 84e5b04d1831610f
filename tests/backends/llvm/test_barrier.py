import numpy as np
import pytest

from netc.backends.llvm.barrier import PROBE
from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.library import Library
from netc.backends.llvm.native_runtime import native
from netc.backends.llvm.spmd import Executor, Program, Step
from netc.backends.llvm.sync_block import CONFIG, GENERATION, LINE_WORDS, WORKER
from netc.backends.llvm.target import host_target

# late: thread 0 counts to slots[1] and adds 1 to cell[0]; others copy cell[0] of the step before to cell[tid]
KERNEL = f"""
define void @late(ptr %slots, i64 %tid, i64 %nth) {{
entry:
  %cells = load ptr, ptr %slots
  %n.p = getelementptr i64, ptr %slots, i64 1
  %first = icmp eq i64 %tid, 0
  br i1 %first, label %loop, label %out
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %n = load volatile i64, ptr %n.p
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %last
last:
  %x = load i64, ptr %cells
  %y = add i64 %x, 1
  store i64 %y, ptr %cells
  br label %out
out:
  ret void
}}
define void @copy(ptr %slots, i64 %tid, i64 %nth) {{
  %cells = load ptr, ptr %slots
  %x = load i64, ptr %cells
  %at = mul i64 %tid, {LINE_WORDS}
  %cell = getelementptr i64, ptr %cells, i64 %at
  store i64 %x, ptr %cell
  ret void
}}
"""
LONG, SHORT = 10_000_000, 1
SPINS, ASLEEP = CONFIG + 5, GENERATION + 1


@pytest.fixture(scope="module")
def library():
    return Library({"late": compile_to_object(KERNEL, host_target())}, host_target())


def late(library, executor, count, steps=1):
    """``steps`` times: a step to whose barrier thread 0 comes late, and one that shows what it wrote."""
    cells = np.zeros(executor.threads * LINE_WORDS, dtype=np.int64)
    slots = np.array([cells.ctypes.data, count], dtype=np.int64)
    pair = [Step(name, library.address(name), slots) for name in ("late", "copy")]
    return Program(executor, pair * steps, [library, cells]), cells[::LINE_WORDS]


def sleeps(executor):
    """At how many barriers in a row the workers have slept."""
    (group,) = executor._groups.all
    return group._sync[WORKER + 2 + LINE_WORDS :: LINE_WORDS][: executor.threads - 1]


@pytest.mark.skipif(not native().system_call, reason="needs futexes")
def test_a_thread_that_waits_for_long_sleeps_and_is_woken_and_trusts_again_after_a_short_wait(library):
    executor = Executor(2)
    slow, cells = late(library, executor, LONG)
    assert executor._start(executor._groups)
    sync = executor._groups.all[0]._sync
    sync[SPINS] = 1
    for number in range(1, 50):  # on a busy machine the other thread may be the late one
        slow.run()
        assert cells.tolist() == [number, number]
        if sleeps(executor)[0]:
            break
    assert sleeps(executor)[0] > 0
    quick, _ = late(library, executor, SHORT, steps=4)
    sync[SPINS] = 1 << 40
    for _ in range(500):
        quick.run()
        if not sleeps(executor)[0] and not sync[ASLEEP]:
            break
    assert sleeps(executor)[0] == sync[ASLEEP] == 0
    executor.close()


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("futexes", [True, False])
def test_nobody_passes_a_barrier_before_the_last_has_arrived(library, monkeypatch, threads, futexes):
    if not futexes:  # as on systems that have none
        monkeypatch.setattr(native(), "system_call", 0)
    executor = Executor(threads)
    program, cells = late(library, executor, 20_000, steps=2 * PROBE)
    for number in range(1, 6):
        program.run()
        assert set(cells.tolist()) == {number * 2 * PROBE}
    program, cells = late(library, executor, LONG // 4, steps=3)
    program.run()
    assert set(cells.tolist()) == {3}
    assert max(sleeps(executor)) < (PROBE if futexes else 1)
    executor.close()
