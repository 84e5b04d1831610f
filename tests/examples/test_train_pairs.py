"""The Siamese and the fine-tuning example, trained for a little on the shipped subset of MNIST."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from netc.cli import main
from netc.runtime.solver.solver import Solver

ROOT = Path(__file__).parents[2]
LENET = ROOT / "examples" / "lenet" / "lenet_iter_10000.caffemodel"


@pytest.fixture
def examples(mnist_archives, tmp_path, monkeypatch):
    """The examples' folders, beside the archives of a subset of MNIST in ``raw``."""
    pytest.importorskip("lmdb")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").symlink_to(mnist_archives)
    for name in ("siamese", "finetune"):
        shutil.copytree(ROOT / "examples" / name, tmp_path / "examples" / name)
    for solver in tmp_path.glob("examples/*/*_solver.prototxt"):
        solver.write_text(solver.read_text().replace("test_iter: 100", "test_iter: 3"))


def mean_output(solver: Solver, output: str) -> float:
    _, outputs = solver.test_nets[0].test(3)
    return float(outputs.arrays[output])


def test_the_siamese_example_brings_equal_digits_together(examples):
    assert main(["data", "mnist-siamese", "examples/siamese", "--from", "raw"]) == 0
    solver = Solver("examples/siamese/siamese_solver.prototxt")
    before = mean_output(solver, "loss")
    solver.step(60)
    assert mean_output(solver, "loss") < 0.5 * before
    shared = [solver.params[layer][0] for layer in ("feat", "feat_p")]
    assert np.shares_memory(*shared)


def test_the_finetuning_example_learns_new_classes_on_a_frozen_trunk(examples):
    assert main(["data", "mnist", "examples/mnist", "--from", "raw"]) == 0
    solver = Solver("examples/finetune/finetune_solver.prototxt", weights=LENET)
    trunk = {layer: [a.copy() for a in solver.params[layer]] for layer in ("conv1", "conv2", "ip1")}
    solver.step(60)
    assert mean_output(solver, "accuracy") > 0.9
    for layer, arrays in trunk.items():
        for old, new in zip(arrays, solver.params[layer], strict=True):
            np.testing.assert_array_equal(old, new)
