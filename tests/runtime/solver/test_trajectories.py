"""Ten updates by every kind of solver, against parameters that the original Caffe had after each."""

from pathlib import Path

import numpy as np
import pytest

from netc.runtime.solver.solver import Solver

FOLDER = Path(__file__).parents[2] / "goldens" / "solver"
CASES = sorted(path.stem for path in FOLDER.glob("solver_*.npz"))
LAYERS = ("ip1", "ip2")
TOLERANCE = {"numpy": 1e-5, "cpu": 1e-4}


@pytest.mark.parametrize("target", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
def test_every_update_leaves_the_parameters_of_the_original(case, target):
    golden = np.load(FOLDER / f"{case}.npz")
    solver = Solver(FOLDER / f"{case}.prototxt", target=target, root=FOLDER)
    for layer in LAYERS:
        for index, array in enumerate(solver.params[layer]):
            array[...] = golden[f"init/{layer}/{index}"]
    for step in range(10):
        solver.step(1)
        for layer in LAYERS:
            for index, array in enumerate(solver.params[layer]):
                want = golden[f"step{step + 1}/{layer}/{index}"]
                assert np.max(np.abs(array - want)) <= TOLERANCE[target], (step, layer, index)
        # that of the last batch, where an iteration has several
        assert abs(float(solver.net.results["loss"]) - golden["loss"][step]) <= TOLERANCE[target]
    solver.close()
    assert np.float32(solver.lr) == golden["lr_after"].astype(np.float32)


def test_every_kind_and_setting_of_the_original_is_among_the_cases():
    assert {case.removeprefix("solver_") for case in CASES} == {
        "adadelta", "adagrad", "adam", "clip", "inv", "iter_size", "l1", "multistep", "nesterov", "rmsprop",
        "sgd", "step",
    }  # fmt: skip


def test_sub_batches_learn_what_one_batch_learns(tmp_path):
    net = (FOLDER / "solver_net.prototxt").read_text()
    golden = np.load(FOLDER / "solver_sgd.npz")
    found = []
    for batch, parts in ((4, 1), (2, 2), (1, 4)):
        path = tmp_path / f"net{batch}.prototxt"
        path.write_text(net.replace("batch_size: 4", f"batch_size: {batch}"))
        solver = Solver(
            f'net: "{path}" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 iter_size: {parts}\n', root=FOLDER
        )
        for layer in LAYERS:
            for index, array in enumerate(solver.params[layer]):
                array[...] = golden[f"init/{layer}/{index}"]
        solver.step(10)
        found.append((solver.loss, [a.copy() for layer in LAYERS for a in solver.params[layer]]))
        solver.close()
    (loss, whole), *others = found
    for other_loss, arrays in others:
        assert other_loss == pytest.approx(loss, abs=1e-5)
        for a, b in zip(whole, arrays, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
