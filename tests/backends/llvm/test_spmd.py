import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.backends.llvm import spmd
from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.library import Library
from netc.backends.llvm.spmd import Executor, Program, Step, executor_for
from netc.backends.llvm.target import host_target
from netc.ir.diagnostics import NetcError

THREADS = (1, 2, 3, 4, 8)
LINE = 16  # words between the threads' cells

# rotate: out[tid] = in[(tid + 1) % nth] + 1, so one step without a barrier is seen in the result
# add:    cell[tid] += amount;  who: cell[0] = tid * 100 + nth;  halve: float32 cell[0] *= 0.5
KERNELS = f"""
define void @rotate(ptr %slots, i64 %tid, i64 %nth) {{
  %in = load ptr, ptr %slots
  %out.p = getelementptr i64, ptr %slots, i64 1
  %out = load ptr, ptr %out.p
  %next = add i64 %tid, 1
  %wrapped = urem i64 %next, %nth
  %from.at = mul i64 %wrapped, {LINE}
  %from = getelementptr i64, ptr %in, i64 %from.at
  %x = load i64, ptr %from
  %y = add i64 %x, 1
  %to.at = mul i64 %tid, {LINE}
  %to = getelementptr i64, ptr %out, i64 %to.at
  store i64 %y, ptr %to
  ret void
}}
define void @add(ptr %slots, i64 %tid, i64 %nth) {{
  %cells = load ptr, ptr %slots
  %amount.p = getelementptr i64, ptr %slots, i64 1
  %amount = load i64, ptr %amount.p
  %at = mul i64 %tid, {LINE}
  %cell = getelementptr i64, ptr %cells, i64 %at
  %x = load i64, ptr %cell
  %y = add i64 %x, %amount
  store i64 %y, ptr %cell
  ret void
}}
define void @who(ptr %slots, i64 %tid, i64 %nth) {{
  %cell = load ptr, ptr %slots
  %a = mul i64 %tid, 100
  %b = add i64 %a, %nth
  %c = load i64, ptr %cell
  %d = add i64 %b, %c
  store i64 %d, ptr %cell
  ret void
}}
define void @halve(ptr %slots, i64 %tid, i64 %nth) {{
  %cells = load ptr, ptr %slots
  %cell = getelementptr float, ptr %cells, i64 %tid
  %x = load float, ptr %cell
  %y = fmul float %x, 0.5
  store float %y, ptr %cell
  ret void
}}
define void @wait(ptr %slots, i64 %tid, i64 %nth) {{
entry:
  %n = load i64, ptr %slots
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %j = add i64 %i, 1
  store volatile i64 %n, ptr %slots
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %out
out:
  ret void
}}
"""


@pytest.fixture(scope="module")
def kernels():
    target = host_target()
    return Library({"rotate": compile_to_object(KERNELS, target)}, target)


def step(kernels, name, *slots, **flags):
    return Step(name, kernels.address(name), np.array(slots, dtype=np.int64), **flags)


def rotation(kernels, executor, steps):
    """A program of ``steps`` rotations between two rows of cells, and the two rows."""
    cells = np.zeros((2, executor.threads * LINE), dtype=np.int64)
    rows = [int(row.ctypes.data) for row in cells]
    launches = [step(kernels, "rotate", rows[i % 2], rows[1 - i % 2]) for i in range(steps)]
    return Program(executor, launches, [kernels, cells]), cells


def check_rotation(program, cells, threads, runs=1):
    steps = len(program.steps)
    for _ in range(runs):
        cells[0, ::LINE] = np.arange(threads)
        program.run()
        expected = (np.arange(threads) + steps) % threads + steps
        assert cells[steps % 2, ::LINE].tolist() == expected.tolist()


@pytest.mark.parametrize("threads", THREADS)
def test_no_step_starts_before_the_one_before_it_has_ended(kernels, threads):
    program, cells = rotation(kernels, executor_for(threads), 501)
    check_rotation(program, cells, threads, runs=5)


@pytest.mark.parametrize("threads", THREADS)
def test_short_programs_run_again_and_again(kernels, threads):
    program, cells = rotation(kernels, executor_for(threads), 1)
    check_rotation(program, cells, threads, runs=2000)


@pytest.mark.parametrize("threads", [2, 4])
def test_parked_threads_wake_up_each_time(kernels, threads):
    program, cells = rotation(kernels, executor_for(threads), 3)
    for pause in (0.0, 20e-6, 60e-6, 80e-6, 100e-6, 1e-3) * 15:  # around the time at which they park
        end = time.perf_counter() + pause
        while time.perf_counter() < end:
            pass
        check_rotation(program, cells, threads)


@pytest.mark.parametrize("threads", THREADS)
def test_a_serial_step_runs_once_as_the_only_thread(kernels, threads):
    cell = np.zeros(1, dtype=np.int64)
    steps = [step(kernels, "who", cell.ctypes.data, serial=True)] * 3
    Program(executor_for(threads), steps, [cell]).run()
    assert cell[0] == 3


@pytest.mark.parametrize("threads", THREADS)
def test_steps_without_a_barrier_still_end_before_the_program_does(kernels, threads):
    cells = np.zeros(threads * LINE, dtype=np.int64)
    adds = [step(kernels, "add", cells.ctypes.data, i, barrier_after=False) for i in range(100)]
    program = Program(executor_for(threads), adds, [cells])
    for _ in range(50):
        program.run()
    assert set(cells[::LINE].tolist()) == {50 * 99 * 100 // 2}


def test_slots_may_change_between_runs(kernels):
    cells = np.zeros(LINE, dtype=np.int64)
    add = step(kernels, "add", cells.ctypes.data, 1)
    program = Program(executor_for(1), [add])
    program.run()
    add.slots[1] = 10
    program.run()
    assert cells[0] == 11


def test_a_program_without_steps_does_nothing(kernels):
    program = Program(executor_for(2), [])
    program.run()
    assert program.run_timed() == []


@pytest.mark.parametrize("threads", [1, 2])
def test_timing_tells_which_step_takes_long(kernels, threads):
    quick, slow = step(kernels, "wait", 1), step(kernels, "wait", 3_000_000)
    program = Program(executor_for(threads), [quick, slow, quick])
    start = time.perf_counter()
    runs = [program.run_timed() for _ in range(9)]
    elapsed = time.perf_counter() - start
    assert {len(times) for times in runs} == {3}
    shortest = np.min(runs, axis=0)  # a quick step may lose its core for as long as it likes
    assert shortest[1] == max(shortest)
    assert 0 < np.sum(runs) <= elapsed


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_python_threads_may_run_programs_at_the_same_time(kernels, threads):
    def run() -> None:
        try:
            program, cells = rotation(kernels, executor_for(threads), 20)
            check_rotation(program, cells, threads, runs=100)
        except BaseException as error:
            failures.append(error)

    failures: list[BaseException] = []
    runners = [threading.Thread(target=run) for _ in range(3)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert failures == []


def test_executors_of_different_sizes_work_side_by_side(kernels):
    programs = [(n, *rotation(kernels, executor_for(n), 10)) for n in (2, 3, 4)]
    for _ in range(20):
        for n, program, cells in programs:
            check_rotation(program, cells, n)


@pytest.mark.parametrize("threads", [1, 2])
def test_every_thread_flushes_subnormals_and_the_caller_keeps_its_mode(kernels, threads):
    cells = np.full(threads, 2.0**-126, dtype=np.float32)
    Program(executor_for(threads), [step(kernels, "halve", cells.ctypes.data)], [cells]).run()
    assert cells.tolist() == [0.0] * threads
    assert np.float32(2.0**-126) * np.float32(0.5) > 0


def test_a_closed_executor_ends_its_threads_and_starts_new_ones_when_used(kernels):
    gc.collect()  # what other tests left
    before = threading.active_count()
    executor = Executor(4)
    program, cells = rotation(kernels, executor, 5)
    assert threading.active_count() == before  # not before they are needed
    check_rotation(program, cells, 4)
    assert threading.active_count() == before + 3
    executor.close()
    executor.close()
    assert threading.active_count() == before
    check_rotation(program, cells, 4)
    executor.close()


def test_an_executor_that_nobody_holds_ends_its_threads(kernels):
    gc.collect()  # what other tests left
    before = threading.active_count()
    program, cells = rotation(kernels, Executor(3), 5)
    check_rotation(program, cells, 3)
    assert threading.active_count() == before + 2
    del program
    gc.collect()
    assert threading.active_count() == before


def test_one_executor_serves_all_who_want_as_many_threads():
    assert executor_for(2) is executor_for(2)
    assert executor_for(2) is not executor_for(3)


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_a_bad_number_of_threads_is_an_error(threads):
    with pytest.raises(NetcError, match="expected 1 to 1024"):
        executor_for(threads)


def test_threads_that_cannot_be_started_are_an_error_and_leave_none_behind(kernels, monkeypatch):
    gc.collect()  # what other tests left
    before = threading.active_count()
    start = threading.Thread.start

    def fail_third(self):
        if self.name == "netc-3":
            raise RuntimeError("can't start new thread")
        start(self)

    executor = Executor(4)
    program, cells = rotation(kernels, executor, 5)
    monkeypatch.setattr(threading.Thread, "start", fail_third)
    with pytest.raises(NetcError, match="cannot start 4 threads"):
        program.run()
    assert threading.active_count() == before
    monkeypatch.undo()
    check_rotation(program, cells, 4)
    executor.close()


def test_wrong_slots_are_refused(kernels):
    address = kernels.address("add")
    for slots in (np.zeros(2, dtype=np.float32), np.zeros((4, 4), dtype=np.int64)[:, 0]):
        with pytest.raises(ValueError, match="contiguous int64"):
            Program(executor_for(1), [Step("s", address, slots)])
    with pytest.raises(ValueError, match="no kernel"):
        Program(executor_for(1), [Step("s", 0, np.zeros(2, dtype=np.int64))])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(kernels):
    program, cells = rotation(kernels, executor_for(3), 20)
    check_rotation(program, cells, 3)
    long = Program(executor_for(3), [step(kernels, "wait", 20_000_000)], [kernels])
    other = threading.Thread(target=long.run)
    other.start()
    while not executor_for(3)._groups.all[0].busy:
        pass
    child = os.fork()
    if child == 0:
        code = 1
        try:
            check_rotation(program, cells, 3, runs=10)
            code = 0
        finally:
            os._exit(code)
    assert wait_for(child) == 0
    other.join()
    check_rotation(program, cells, 3, runs=10)


def wait_for(child: int) -> int:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


PRELUDE = f"""
import os, sys, threading, time
import numpy as np
from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.library import Library
from netc.backends.llvm.spmd import Program, Step, executor_for
from netc.backends.llvm.target import host_target
text = '''{KERNELS}'''
library = Library({{"wait": compile_to_object(text, host_target())}}, host_target())
def program(threads, rounds):
    return Program(executor_for(threads), [Step("w", library.address("wait"), np.array([rounds]))], [library])
"""


@pytest.mark.parametrize(
    "script",
    [
        "program(2, 10).run()",
        "p = program(4, 10)\nfor _ in range(100): p.run()",
        "program(2, 10).run(); time.sleep(0.05)",  # parked
        "program(2, 10).run(); executor_for(2).close()",
        "program(2, 10).run(); program(3, 10).run(); sys.exit(0)",
        "p = program(2, 10 ** 8)\nthreading.Thread(target=p.run, daemon=True).start()\ntime.sleep(0.05)",
        "p = program(2, 10)\nimport atexit\natexit.register(p.run)\np.run()",
        "p = program(2, 10)\np.run()\nif os.fork() == 0: p.run()\nelse: os.wait()",
    ],
)
def test_the_process_ends_cleanly(script):
    if "fork" in script and not hasattr(os, "fork"):
        pytest.skip("needs fork")
    root = Path(netc.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_clock_agrees_with_python(kernels):
    program = Program(executor_for(1), [step(kernels, "wait", 5_000_000)])
    ratios = []
    for _ in range(5):
        start = time.perf_counter()
        (native,) = program.run_timed()
        ratios.append(native / (time.perf_counter() - start))
    assert 0.9 < max(ratios) <= 1.01
    assert spmd.seconds_per_tick() > 0
