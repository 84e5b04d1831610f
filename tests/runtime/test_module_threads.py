"""Modules in programs that have threads and children of their own."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.backends.llvm import spmd
from netc.ir.diagnostics import NetcError

SOLVER = """base_lr: 0.1 lr_policy: "fixed" random_seed: 1
net_param {
  layer { name: "d" type: "Input" top: "x" top: "y"
    input_param { shape { dim: 8 dim: 3 } shape { dim: 8 dim: 4 } } }
  layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 4
    weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "y" top: "loss" }
}"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")


@pytest.fixture
def new_threads(monkeypatch):
    """Executors of the test's own; gives the masks of the threads that they started."""
    before = set(threading.enumerate())
    monkeypatch.setattr(spmd, "_shared", {})

    def masks():
        workers = [t for t in set(threading.enumerate()) - before if t.name.startswith("netc-")]
        return [os.sched_getaffinity(worker.native_id) for worker in workers]

    yield masks
    for executor in spmd._shared.values():
        executor.close()


@pytest.mark.parametrize("threads", [(1, 1, 1, 1), (2, 2, 2, 2), (1, 2, 3, 5)])
def test_modules_run_in_a_pool_of_python_threads(tiny, tiny_weights, images, threads):
    modules = [netc.compile(tiny, tiny_weights, threads=number) for number in threads]
    batches = [images * scale for scale in (0.5, 1, 2)]
    expected = [modules[0].run(data=batch)["prob"] for batch in batches]
    jobs = [(module, index) for _ in range(10) for module in modules for index in range(3)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda job: job[0].run(data=batches[job[1]])["prob"], jobs))
    for (_, index), prob in zip(jobs, found, strict=True):
        np.testing.assert_array_equal(prob, expected[index])


def test_a_pool_inside_of_a_pool_runs_modules(tiny, tiny_weights, images):
    module = netc.compile(tiny, tiny_weights, threads=2)
    expected = module.run(data=images)["prob"]

    def inner(_):
        return netc.compile(tiny, tiny_weights, threads=2).run(data=images)["prob"]

    def outer(_):
        with ThreadPoolExecutor(2) as pool:
            return [module.run(data=images)["prob"], *pool.map(inner, range(2))]

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(outer, range(2)):
            np.testing.assert_array_equal(found, [expected] * 3)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_forked_while_other_threads_run_the_net_run_it_too(tiny, tiny_weights, images):
    shared, alone = (netc.compile(tiny, tiny_weights, threads=2) for _ in range(2))
    expected = shared.run(data=images)["prob"]
    ended = threading.Event()

    def run(module):
        while not ended.is_set():
            module.run(data=images)

    runners = [threading.Thread(target=run, args=(module,)) for module in (shared, alone)]
    for runner in runners:
        runner.start()
    try:
        codes = [_in_child(lambda: shared.run(data=images)["prob"], expected) for _ in range(5)]
    finally:
        ended.set()
        for runner in runners:
            runner.join()
    assert codes == [0] * 5
    np.testing.assert_array_equal(shared.run(data=images)["prob"], expected)


def _in_child(run, expected):
    """The exit code of a child: 0 where it computes what is expected."""
    child = os.fork()
    if not child:
        signal.alarm(60)
        try:
            os._exit(0 if all(np.array_equal(run(), expected) for _ in range(3)) else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_pool_of_processes_runs_a_module(tiny, tiny_weights, images):
    module = netc.compile(tiny, tiny_weights, threads=2)
    expected = module.run(data=images)["prob"]
    _MODULES.append(module)
    try:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map_async(_run_first, [images] * 8).get(60)
    finally:
        _MODULES.clear()
    np.testing.assert_array_equal(found, [expected] * 8)


_MODULES: list[netc.Module] = []


def _run_first(images):
    return _MODULES[0].run(data=images)["prob"]


@needs_linux
def test_pinned_threads_give_the_same_results_and_the_callers_mask_stays(
    tiny, tiny_weights, images, new_threads
):
    before = os.sched_getaffinity(0)
    expected = netc.compile(tiny, tiny_weights, threads=1).run(data=images)["prob"]
    module = netc.compile(tiny, tiny_weights, threads=3, pin_threads=True)
    for _ in range(3):
        np.testing.assert_array_equal(module.run(data=images)["prob"], expected)
        assert os.sched_getaffinity(0) == before
    assert [len(mask) for mask in new_threads()] == [1, 1]
    plain = netc.compile(tiny, tiny_weights, threads=2)
    np.testing.assert_array_equal(plain.run(data=images)["prob"], expected)
    assert sorted(map(len, new_threads())) == sorted([1, 1, len(before)])


@needs_linux
def test_a_file_does_not_keep_that_threads_were_pinned(tiny, tiny_weights, images, tmp_path, new_threads):
    pinned = netc.compile(tiny, tiny_weights, threads=2, pin_threads=True)
    pinned.save(tmp_path / "pinned.netc")
    netc.compile(tiny, tiny_weights, threads=2).save(tmp_path / "plain.netc")
    assert (tmp_path / "pinned.netc").read_bytes() == (tmp_path / "plain.netc").read_bytes()
    assert not netc.load(tmp_path / "pinned.netc").compiled.options.pin_threads
    loaded = netc.load(tmp_path / "plain.netc", pin_threads=True)
    np.testing.assert_array_equal(loaded.run(data=images)["prob"], pinned.run(data=images)["prob"])
    assert [len(mask) for mask in new_threads()] == [1]


@needs_linux
def test_a_solver_pins_its_threads(new_threads):
    solver = netc.Solver(
        SOLVER,
        threads=2,
        pin_threads=True,
        inputs=lambda: {"x": np.ones((8, 3)), "y": np.ones((8, 4))},
    )
    solver.step(3)
    assert [len(mask) for mask in new_threads()] == [1]


@pytest.mark.parametrize("target", ["numpy", "cuda:sm_90"])
def test_targets_without_threads_refuse_to_pin_them(tiny, target):
    with pytest.raises(NetcError, match="has no threads to bind"):
        netc.compile(tiny, target=target, pin_threads=True)


def test_a_system_without_affinity_says_so(tiny, monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(NetcError, match="cannot be bound to cores here"):
        netc.compile(tiny, pin_threads=True)


@needs_linux
@pytest.mark.parametrize("how", ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGINT)", ""])
def test_a_process_ends_cleanly_while_modules_run_in_other_threads(tiny, tmp_path, how):
    (tmp_path / "net.prototxt").write_text(tiny)
    script = f"""
        import os, signal, sys, threading, time
        import numpy as np
        import netc
        def work(module):
            while True:
                module.run(data=np.ones((2, 3, 8, 8)))
        for threads, pinned in ((2, False), (2, True), (3, False), (1, False)):
            module = netc.compile("net.prototxt", threads=threads, pin_threads=pinned)
            module.run(data=np.ones((2, 3, 8, 8)))
            threading.Thread(target=work, args=(module,), daemon=True).start()
        time.sleep(0.05)
        try:
            {how or "pass"}
        except KeyboardInterrupt:
            pass
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(netc.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
