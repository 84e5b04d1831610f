"""The comparison of solvers on the autoencoder, shortened: the shipped subset of MNIST, 1,000 iterations."""

import shutil
from pathlib import Path

import pytest

from netc.cli import main
from netc.runtime.solver.solver import Solver

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(mnist_archives, tmp_path_factory):
    """A folder with the example and databases of the subset."""
    pytest.importorskip("lmdb")
    folder = tmp_path_factory.mktemp("autoencoder")
    shutil.copytree(ROOT / "examples" / "autoencoder", folder / "examples" / "autoencoder")
    (folder / "examples" / "zoo").mkdir()
    shutil.copy(ROOT / "examples" / "zoo" / "mnist_autoencoder.net", folder / "examples" / "zoo")
    data_folder = str(folder / "examples" / "mnist")
    assert main(["data", "mnist", data_folder, "--from", str(mnist_archives)]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["sgd", "adagrad", "nesterov"])
def test_a_thousand_iterations_lower_the_cross_entropy_to_an_eighth(folder, monkeypatch, solver):
    monkeypatch.chdir(folder)
    trained = Solver(f"examples/autoencoder/{solver}_solver.prototxt")
    before, _ = trained.test_nets[0].test(7)
    trained.step(1000)
    after, outputs = trained.test_nets[0].test(7)
    assert 900 < before < 1100
    assert after < before / 8
    assert float(outputs.arrays["l2_error"]) < 20
