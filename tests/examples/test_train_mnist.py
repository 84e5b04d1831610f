"""The MNIST example, trained for a little on the shipped subset."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from netc.cli import main
from netc.runtime.data.datum import Datum, write_datum
from netc.runtime.data.lmdb_writer import LmdbWriter
from netc.runtime.solver.solver import Solver

ROOT = Path(__file__).parents[2]
MNIST = ROOT.parent / "shared" / "data" / "mnist"
SOLVER = "examples/mnist/lenet_solver.prototxt"


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """The example's folder, with databases of 700 images to train on and 300 to test."""
    pytest.importorskip("lmdb")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "examples" / "mnist"
    folder.mkdir(parents=True)
    for name in ("lenet_train_test.prototxt", "lenet_solver.prototxt"):
        text = (ROOT / "examples" / "mnist" / name).read_text()
        (folder / name).write_text(text.replace("test_iter: 100", "test_iter: 3"))
    with np.load(ROOT / "tests" / "data" / "mnist_subset.npz") as subset:
        images, labels = subset["images"], subset["labels"]
    for kind, part in (("train", slice(0, 700)), ("test", slice(700, 1000))):
        write_records(folder / f"mnist_{kind}_lmdb", images[part], labels[part])
    return folder


def write_records(path, images, labels):
    with LmdbWriter(path) as database:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            datum = Datum(1, *image.shape, image.tobytes(), int(label))
            database.put(b"%08d" % index, write_datum(datum))


def test_the_example_learns_the_digits(mnist):
    solver = Solver(SOLVER)
    solver.step(60)
    _, outputs = solver.test_nets[0].test(3)
    assert outputs.arrays["accuracy"] > 0.8


def test_training_goes_on_from_the_weights_of_the_original(mnist):
    solver = Solver(SOLVER, weights=ROOT / "examples" / "lenet" / "lenet_iter_10000.caffemodel")
    _, outputs = solver.test_nets[0].test(3)
    assert outputs.arrays["accuracy"] > 0.97
    solver.step(3)
    assert solver.loss < 0.2


def test_the_command_of_the_readme_works(mnist, capsys):
    assert main(["train", "--solver", SOLVER, "--iterations", "2"]) == 0
    assert "Iteration 0, Testing net (#0)" in capsys.readouterr().err
    assert (mnist / "lenet_iter_2.caffemodel").exists()


def test_a_frozen_trunk_learns_new_classes_from_its_weights(mnist):
    path = mnist / "lenet_train_test.prototxt"
    trunk, head = path.read_text().split('  name: "ip2"\n')
    frozen = trunk.replace("lr_mult: 1", "lr_mult: 0").replace("lr_mult: 2", "lr_mult: 0")
    path.write_text(frozen + '  name: "new"\n' + head)
    solver = Solver(SOLVER, weights=ROOT / "examples" / "lenet" / "lenet_iter_10000.caffemodel")
    before = {name: [a.copy() for a in arrays] for name, arrays in solver.params.items()}
    solver.step(30)
    _, outputs = solver.test_nets[0].test(3)
    assert outputs.arrays["accuracy"] > 0.9
    for name in ("conv1", "conv2", "ip1"):
        for old, new in zip(before[name], solver.params[name], strict=True):
            np.testing.assert_array_equal(old, new)
    assert {
        layer for e in solver.net.store.entries if e.value in solver.net.step.history for layer, _ in e.uses
    } == {"new"}


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason="the archives of MNIST are not at hand")
def test_the_whole_run_recognises_ninety_nine_of_a_hundred_digits(tmp_path, monkeypatch):
    pytest.importorskip("lmdb")
    folder = tmp_path / "examples" / "mnist"
    shutil.copytree(ROOT / "examples" / "mnist", folder)
    monkeypatch.chdir(tmp_path)
    assert main(["data", "mnist", str(folder), "--from", str(MNIST)]) == 0
    solver = Solver(SOLVER)
    accuracies = []
    solver.add_callbacks(on_test=lambda report: accuracies.append(float(report.outputs.arrays["accuracy"])))
    solver.solve()
    assert solver.iter == 10_000
    assert accuracies[-1] >= 0.99
