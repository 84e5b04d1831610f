"""A run that the original started goes on: LeNet's snapshot after 10,000 iterations, of the first generation."""

from pathlib import Path

import numpy as np
import pytest

from netc.frontend.solver_state import load_solver_state
from netc.frontend.weights import load_weights
from netc.runtime.solver.solver import Solver

ROOT = Path(__file__).parents[3]
FOLDER = ROOT.parent / "shared" / "zoo" / "lenet_v1"
STATE = FOLDER / "lenet_iter_10000.solverstate"

pytestmark = pytest.mark.skipif(not STATE.exists(), reason="needs the original's snapshot")

DATA = """layer { name: "data" type: "Input" top: "data" top: "label"
    input_param { shape { dim: 64 dim: 1 dim: 28 dim: 28 } shape { dim: 64 } } }"""


@pytest.fixture
def solver(tmp_path, monkeypatch):
    """The MNIST example, fed from the shipped subset."""
    monkeypatch.chdir(tmp_path)
    net = (ROOT / "examples" / "mnist" / "lenet_train_test.prototxt").read_text()
    layers = net[net.index("# Biases") :]
    (tmp_path / "net.prototxt").write_text(f'name: "LeNet"\n{DATA}\n{layers}')
    solver = (ROOT / "examples" / "mnist" / "lenet_solver.prototxt").read_text()
    solver = solver.replace("examples/mnist/lenet_train_test", "net").replace(
        "test_iter: 100", "test_iter: 2"
    )
    (tmp_path / "solver.prototxt").write_text(solver.replace("examples/mnist/lenet", "lenet"))
    with np.load(ROOT / "tests" / "data" / "mnist_subset.npz") as subset:
        images, labels = subset["images"][:, np.newaxis] / np.float32(256), subset["labels"]
    starts = iter(range(0, 640, 64))

    def batch():
        rows = slice(start := next(starts), start + 64)
        return {"data": images[rows].astype(np.float32), "label": labels[rows].astype(np.float32)}

    return Solver(tmp_path / "solver.prototxt", inputs=batch)


def test_weights_histories_and_the_rate_go_on(solver):
    solver.restore(STATE)
    assert solver.iter == 10000
    assert f"{solver.lr:g}" == "0.00594604"
    state, weights = load_solver_state(STATE), load_weights(FOLDER / "lenet_iter_10000.caffemodel")
    np.testing.assert_array_equal(solver.params["ip1"][0], weights["ip1"][0].reshape(500, 800))
    histories = [h for each in solver.net.step.history.values() for h in each]
    for own, theirs in zip(histories, state.history, strict=True):
        np.testing.assert_array_equal(own.reshape(-1), theirs.reshape(-1))
    solver.step(3)
    assert solver.iter == 10003
    assert solver.loss < 0.05
    _, outputs = solver.test_nets[0].test(3)
    assert outputs.arrays["accuracy"] > 0.97


def test_the_snapshot_that_follows_has_the_shapes_of_the_current_generation(solver):
    solver.restore(STATE)
    report = solver.snapshot()
    again = load_solver_state(report.state)
    assert [h.shape for h in again.history[:2]] == [(20, 1, 5, 5), (20,)]
    for new, old in zip(again.history, load_solver_state(STATE).history, strict=True):
        np.testing.assert_array_equal(new.reshape(-1), old.reshape(-1))
