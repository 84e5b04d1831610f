"""Programs that Python threads run at the same time: side by side while there are cores, else in turn."""

import os
import signal
import threading
from queue import SimpleQueue

import numpy as np
import pytest

from netc.backends.llvm import spmd
from netc.backends.llvm.core_budget import CoreBudget
from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.library import Library
from netc.backends.llvm.spmd import Executor, Program, Step
from netc.backends.llvm.target import host_target

needs_linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")

# meet:  tid 0 sets its flag and looks for the other's, ``limit`` times at most; says whether it saw it
# count: adds itself to the threads that run, notes the most there were, works a while, and leaves
KERNELS = """
define void @meet(ptr %slots, i64 %tid, i64 %nth) {
entry:
  %mine = load ptr, ptr %slots
  %other.p = getelementptr i64, ptr %slots, i64 1
  %other = load ptr, ptr %other.p
  %met.p = getelementptr i64, ptr %slots, i64 2
  %met = load ptr, ptr %met.p
  %limit.p = getelementptr i64, ptr %slots, i64 3
  %limit = load i64, ptr %limit.p
  %first = icmp eq i64 %tid, 0
  br i1 %first, label %show, label %out
show:
  store atomic i64 1, ptr %mine seq_cst, align 8
  br label %look
look:
  %i = phi i64 [ 0, %show ], [ %j, %again ]
  %seen = load atomic i64, ptr %other seq_cst, align 8
  %there = icmp ne i64 %seen, 0
  br i1 %there, label %good, label %again
again:
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %limit
  br i1 %more, label %look, label %out
good:
  store i64 1, ptr %met
  br label %out
out:
  ret void
}
define void @count(ptr %slots, i64 %tid, i64 %nth) {
entry:
  %running = load ptr, ptr %slots
  %most = getelementptr i64, ptr %running, i64 1
  %work = getelementptr i64, ptr %slots, i64 1
  %before = atomicrmw add ptr %running, i64 1 seq_cst
  %now = add i64 %before, 1
  %old = atomicrmw max ptr %most, i64 %now seq_cst
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %n = load volatile i64, ptr %work
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %leave
leave:
  %gone = atomicrmw sub ptr %running, i64 1 seq_cst
  ret void
}
"""


@pytest.fixture(scope="module")
def kernels():
    target = host_target()
    return Library({"meet": compile_to_object(KERNELS, target)}, target)


@pytest.fixture
def cores(monkeypatch):
    """A machine with as many cores as a test says."""

    def give(number):
        monkeypatch.setattr(spmd, "_budgets", {})
        monkeypatch.setattr(spmd, "available_cores", lambda: number)

    return give


def run_all(programs, times=1):
    """Run each program in a Python thread of its own; what went wrong there goes wrong here."""
    failures = []

    def run(program):
        try:
            for _ in range(times):
                program.run()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(program,)) for program in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def meeting(kernels, executors, limit):
    """Two programs that look for each other, and the cells that say whether they met."""
    cells = np.zeros((4, 16), dtype=np.int64)
    flags, met = [int(row.ctypes.data) for row in cells[:2]], [int(row.ctypes.data) for row in cells[2:]]
    programs = []
    for i, executor in enumerate(executors):
        slots = np.array([flags[i], flags[1 - i], met[i], limit], dtype=np.int64)
        programs.append(Program(executor, [Step("meet", kernels.address("meet"), slots)], [kernels, cells]))
    return programs, cells[2:, 0]


@pytest.mark.parametrize("sizes", [(1, 1), (2, 2), (3, 1), (2, 1)])
def test_programs_whose_threads_fit_the_cores_run_side_by_side(kernels, cores, sizes):
    cores(4)
    executors = {size: Executor(size) for size in sizes}
    programs, met = meeting(kernels, [executors[size] for size in sizes], 1 << 62)
    run_all(programs)
    assert met.tolist() == [1, 1]


def test_programs_of_one_thread_run_side_by_side_however_few_cores_there_are(kernels, cores):
    cores(1)
    programs, met = meeting(kernels, [Executor(1)] * 2, 1 << 62)
    run_all(programs)
    assert met.tolist() == [1, 1]


@pytest.mark.parametrize("sizes", [(3, 3), (2, 3), (5, 2)])
def test_programs_that_do_not_fit_together_run_one_after_the_other(kernels, cores, sizes):
    cores(4)
    programs, met = meeting(kernels, [Executor(size) for size in sizes], 1000)
    run_all(programs)
    assert sum(met.tolist()) == 1  # the second finds the flag that the first left


@pytest.mark.parametrize(
    ("number", "sizes"), [(2, (2, 2, 2, 3)), (4, (2, 2, 2, 3, 4)), (6, (2, 3, 4, 6, 2, 8))]
)
def test_no_more_threads_run_at_once_than_there_are_cores(kernels, cores, number, sizes):
    cores(number)
    state = np.zeros(2, dtype=np.int64)
    slots = np.array([state.ctypes.data, 200], dtype=np.int64)
    executors = {size: Executor(size) for size in sizes}
    count = Step("count", kernels.address("count"), slots)
    run_all([Program(executors[size], [count] * 5, [kernels, state]) for size in sizes], times=20)
    running, most = state.tolist()
    assert running == 0
    assert most <= max(number, *sizes)  # a program of more threads runs alone
    assert spmd._budget().free == number


def test_no_more_threads_are_started_than_can_run(kernels, cores):
    cores(5)
    state = np.zeros(2, dtype=np.int64)
    slots = np.array([state.ctypes.data, 2000], dtype=np.int64)
    executor = Executor(2)
    count = Step("count", kernels.address("count"), slots)
    run_all([Program(executor, [count] * 5, [kernels, state]) for _ in range(8)], times=10)
    assert 1 <= len(executor._groups.all) <= 2


def test_a_large_program_is_not_kept_waiting_by_small_ones():
    budget, looked, room = CoreBudget(4), [], threading.Event()

    def small_is_ready():
        looked.append(room.is_set())
        return True

    waits = []
    for ready in (room.is_set, small_is_ready):
        waits.append(threading.Thread(target=budget.wait, args=(ready,)))
        waits[-1].start()
        while len(budget.waiting) < len(waits):
            pass
    for _ in range(3):
        budget.wake()
    room.set()
    for thread in waits:
        thread.join()
    assert looked == [True]
    assert not budget.waiting


def test_who_is_interrupted_while_it_waits_leaves_the_queue():
    budget = CoreBudget(2)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        budget.wait(interrupt)
    assert not budget.waiting
    budget.wait(lambda: True)  # who comes next is not behind it


def test_who_comes_too_late_for_the_cores_waits_in_front():
    budget = CoreBudget(2)
    earlier = SimpleQueue()
    budget.waiting.append(earlier)
    budget.wait(lambda: budget.waiting[1] is earlier, again=True)
    assert list(budget.waiting) == [earlier]
    assert earlier.get(timeout=1) is None  # it may look now


class Interrupt(Exception):
    """What the signal raises, in the middle of whatever the main thread does."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
@pytest.mark.parametrize("pinned", [False, pytest.param(True, marks=needs_linux)])
def test_programs_go_on_after_signals_interrupted_them_anywhere(kernels, cores, pinned):
    cores(4)
    state = np.zeros(2, dtype=np.int64)
    count = Step("count", kernels.address("count"), np.array([state.ctypes.data, 100], dtype=np.int64))
    executor = Executor(3, pinned=pinned)
    program, other = (Program(executor, [count], [kernels, state]) for _ in range(2))
    program.run()
    mask = os.sched_getaffinity(0) if pinned else None
    ended = threading.Event()

    def compete():
        while not ended.is_set():
            other.run()

    def interrupt(*_):
        raise Interrupt

    rival = threading.Thread(target=compete)
    before = signal.signal(signal.SIGALRM, interrupt)
    rival.start()
    interrupted = 0
    try:
        while interrupted < 100:
            try:
                signal.setitimer(signal.ITIMER_REAL, 50e-6 * (1 + interrupted % 10))
                while True:
                    program.run()
            except Interrupt:
                interrupted += 1
    finally:
        signal.signal(signal.SIGALRM, before)
        ended.set()
        rival.join()
    program.run()
    budget = executor._groups.budget
    assert (budget.free, list(budget.waiting), int(state[0])) == (4, [], 0)
    assert not executor._groups.all[0].busy
    if pinned:
        assert os.sched_getaffinity(0) == mask
    executor.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
def test_a_handler_that_runs_a_program_while_its_thread_waits_comes_first():
    budget, rival = CoreBudget(2), SimpleQueue()
    budget.waiting.append(rival)

    def handler(*_: object) -> None:
        budget.wait(lambda: True)  # behind the wait that it interrupts it would wait for ever
        budget.waiting.remove(rival)

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        budget.wait(lambda: True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert not budget.waiting
