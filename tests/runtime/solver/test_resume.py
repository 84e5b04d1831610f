"""A run that stopped and went on is, bit by bit, the run that did not stop."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from netc.frontend.solver_state import load_solver_state
from netc.frontend.weights import load_weights
from netc.ir.diagnostics import NetcError
from netc.runtime.solver.action import Action
from netc.runtime.solver.reports import Reporter
from netc.runtime.solver.solver import Solver

ROOT = Path(__file__).parents[3]


class Losses(Reporter):
    def __init__(self):
        self.losses = {}
        self.tests = {}

    def on_iteration(self, report):
        self.losses[report.iteration] = report.smoothed_loss

    def on_test(self, report):
        self.tests[report.iteration] = {n: float(a) for n, a in report.outputs.arrays.items()}


def content(solver):
    return {
        **{f"param {n}": a.copy() for n, a in solver.net.store.arrays.items()},
        **{f"state {n}": a.copy() for n, a in solver.net.step.states.items()},
        **{f"history {n} {i}": a.copy() for n, h in solver.net.step.history.items() for i, a in enumerate(h)},
    }


def check_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("snapshot_format", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_a_resumed_run_is_bit_identical(solver_file, snapshot_format, kind):
    path = solver_file(f'type: "{kind}" snapshot: 6 snapshot_format: {snapshot_format}')
    whole, first = Losses(), Losses()
    straight = Solver(path, reporters=[whole])
    straight.solve()
    suffix = ".h5" if snapshot_format == "HDF5" else ""
    resumed = Solver(path, reporters=[first])
    resumed.solve(f"run_iter_12.solverstate{suffix}")
    assert resumed.iter == 20
    check_equal(content(straight), content(resumed))
    assert first.losses == {i: loss for i, loss in whole.losses.items() if i >= 12}
    assert first.tests == {20: whole.tests[20]}


def test_a_seed_that_was_drawn_goes_on_with_the_run(solver_file):
    path = solver_file("snapshot: 5", random_seed="-1")
    straight = Solver(path)
    straight.step(10)
    resumed = Solver(path)
    assert resumed.seed != straight.seed
    resumed.restore("run_iter_5.solverstate")
    resumed.step(5)
    assert resumed.seed == straight.seed
    check_equal(content(straight), content(resumed))


def test_the_steps_of_multistep_go_on(solver_file):
    path = solver_file("stepvalue: 2 stepvalue: 4 stepvalue: 9 snapshot: 6", lr_policy='"multistep"')
    straight = Solver(path)
    straight.step(12)
    resumed = Solver(path)
    resumed.restore("run_iter_6.solverstate")
    resumed.step(6)
    assert resumed.lr == straight.lr
    check_equal(content(straight), content(resumed))


def test_a_snapshot_has_what_the_original_reads(solver_file):
    solver = Solver(solver_file())
    solver.step(3)
    report = solver.snapshot()
    assert (report.weights, report.state) == ("run_iter_3.caffemodel", "run_iter_3.solverstate")
    weights = load_weights(report.weights)
    assert {n: [a.shape for a in blobs] for n, blobs in weights.items()} == {
        "ip1": [(8, 6), (8,)], "fixed": [(6, 8), (6,)], "ip2": [(3, 6), (3,)],
    }  # fmt: skip
    state = load_solver_state(report.state)
    assert (state.iteration, state.learned_net) == (3, report.weights)
    # a history for every parameter, learned or not, in the order of the layers
    assert [h.shape for h in state.history] == [(8, 6), (8,), (6, 8), (6,), (3, 6), (3,)]
    assert state.history[0].any()
    assert not state.history[2].any()


def test_both_histories_of_adam_stand_one_after_the_other(solver_file):
    solver = Solver(solver_file('type: "Adam"'))
    solver.step(2)
    history = load_solver_state(solver.snapshot().state).history
    assert len(history) == 12
    own = next(iter(solver.net.step.history.values()))
    np.testing.assert_array_equal(history[0], own[0])
    np.testing.assert_array_equal(history[6], own[1])
    assert history[6].min() >= 0  # squares


def test_weights_that_were_moved_with_their_state_are_found(solver_file, folder):
    path = solver_file()
    solver = Solver(path)
    solver.step(2)
    solver.snapshot()
    (folder / "old").mkdir()
    for name in ("run_iter_2.caffemodel", "run_iter_2.solverstate"):
        os.rename(name, folder / "old" / name)
    resumed = Solver(path)
    resumed.restore("old/run_iter_2.solverstate")
    check_equal(content(solver), content(resumed))
    os.unlink("old/run_iter_2.caffemodel")
    with pytest.raises(NetcError, match=r"its weights 'run_iter_2.caffemodel' do not exist"):
        resumed.restore("old/run_iter_2.solverstate")


def test_a_state_of_another_run_is_refused_and_changes_nothing(solver_file):
    solver = Solver(solver_file('type: "Adam"'))
    solver.step(1)
    state = solver.snapshot().state
    other = Solver(solver_file())
    before = content(other)
    with pytest.raises(NetcError, match="12 histories, and SGD keeps 1 for each of the net's 6"):
        other.restore(state)
    check_equal(before, content(other))


def test_a_snapshot_on_demand_and_a_stop_come_after_the_iteration(solver_file):
    solver = Solver(solver_file("test_initialization: false", test_interval="100"))
    actions = iter([Action.NONE, Action.SNAPSHOT, Action.NONE, Action.STOP])
    solver.action = lambda: next(actions)
    solver.solve()
    assert solver.iter == 4
    assert sorted(p.name for p in Path().glob("run_*")) == ["run_iter_2.caffemodel", "run_iter_2.solverstate"]


def run_and_kill(folder, kills, target):
    """Start the training again and again, and kill it at random moments; the last run ends by itself."""
    program = (
        "import glob, os, sys\n"
        "from netc.runtime.solver.solver import Solver\n"
        f"solver = Solver('solver.prototxt', target='{target}')\n"
        "key = lambda p: int(p.split('_')[-1].split('.')[0])\n"
        "found = sorted(glob.glob('run_iter_*.solverstate'), key=key)\n"
        "print('ready', flush=True)\n"
        "solver.solve(found[-1] if found else None)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    rng = np.random.default_rng(1)
    for _ in range(kills):
        run = subprocess.Popen(
            [sys.executable, "-c", program], cwd=folder, env=environment, stdout=subprocess.PIPE
        )
        assert run.stdout.readline() == b"ready\n"
        time.sleep(float(rng.uniform(0, 0.1)))
        run.kill()
        run.wait()
        run.stdout.close()
        for state in Path(folder).glob("run_iter_*.solverstate"):
            load_weights(folder / load_solver_state(state).learned_net)
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, check=True)


def check_killed_runs(solver_file, folder, kills, iterations, target):
    path = solver_file("snapshot: 1", max_iter=str(iterations), test_interval="50")
    run_and_kill(folder, kills, target)
    last = f"run_iter_{iterations}"
    killed, state = load_weights(f"{last}.caffemodel"), load_solver_state(f"{last}.solverstate")
    for leftover in folder.glob("run_iter_*"):
        leftover.unlink()
    solver = Solver(path, target=target)
    solver.solve()
    straight = load_weights(f"{last}.caffemodel")
    for layer in straight:
        for a, b in zip(straight[layer], killed[layer], strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(load_solver_state(f"{last}.solverstate").history, state.history, strict=True):
        np.testing.assert_array_equal(a, b)


def test_runs_killed_at_any_moment_go_on_bit_identically(solver_file, folder):
    check_killed_runs(solver_file, folder, 5, iterations=60, target="numpy")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_fifty_runs_killed_at_any_moment_go_on_bit_identically(solver_file, folder, target):
    check_killed_runs(solver_file, folder, 50, iterations=600, target=target)
