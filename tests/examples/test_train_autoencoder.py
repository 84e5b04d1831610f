"""The comparison of solvers on the autoencoder, shortened: the shipped subset of MNIST, 1,000 iterations."""

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from netc.cli import main
from netc.runtime.solver.solver import Solver

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the example and databases of the subset."""
    pytest.importorskip("lmdb")
    folder = tmp_path_factory.mktemp("autoencoder")
    with np.load(ROOT / "tests" / "data" / "mnist_subset.npz") as subset:
        images, labels = subset["images"], subset["labels"]
    (folder / "raw").mkdir()
    for stem, part in (("train", slice(0, 700)), ("t10k", slice(700, 1000))):
        data = struct.pack(">4I", 2051, *images[part].shape) + images[part].astype(np.uint8).tobytes()
        (folder / "raw" / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(data))
        data = struct.pack(">2I", 2049, len(labels[part])) + labels[part].astype(np.uint8).tobytes()
        (folder / "raw" / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(data))
    shutil.copytree(ROOT / "examples" / "autoencoder", folder / "examples" / "autoencoder")
    (folder / "examples" / "zoo").mkdir()
    shutil.copy(ROOT / "examples" / "zoo" / "mnist_autoencoder.net", folder / "examples" / "zoo")
    data_folder = str(folder / "examples" / "mnist")
    assert main(["data", "mnist", data_folder, "--from", str(folder / "raw")]) == 0
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
