"""A small problem to train: noisy data in shuffled HDF5, dropout, a test net; solvers are texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

NET = """name: "small"
layer { name: "train" type: "HDF5Data" top: "data" top: "label" include { phase: TRAIN }
        hdf5_data_param { source: "list.txt" batch_size: 4 shuffle: true } }
layer { name: "test" type: "HDF5Data" top: "data" top: "label" include { phase: TEST }
        hdf5_data_param { source: "list.txt" batch_size: 5 } }
layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1" param { lr_mult: 1 } param { lr_mult: 2 }
        inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" }
layer { name: "fixed" type: "InnerProduct" bottom: "ip1" top: "fixed" param { lr_mult: 0 } param { lr_mult: 0 }
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "ip2" type: "InnerProduct" bottom: "fixed" top: "ip2"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
"""

SOLVER = """net: "net.prototxt"
base_lr: 0.05 lr_policy: "inv" gamma: 0.01 power: 0.75 momentum: 0.9 weight_decay: 0.001
max_iter: 20 display: 5 average_loss: 3 test_iter: 2 test_interval: 10 snapshot_prefix: "run"
snapshot_after_train: false random_seed: 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with data, ``net.prototxt`` and ``solver.prototxt``."""
    monkeypatch.chdir(tmp_path)
    write_problem(tmp_path)
    return tmp_path


@pytest.fixture
def solver_file(folder: Path) -> Callable[..., Path]:
    """Writes the solver with further lines, or with others in their place."""

    def write(more: str = "", **replaced: str) -> Path:
        text = SOLVER
        for old, new in replaced.items():
            assert f"{old}: " in text
            before, _, after = text.partition(f"{old}: ")
            text = before + f"{old}: {new}" + after[len(after.split()[0]) :]
        path = folder / "solver.prototxt"
        path.write_text(text + more)
        return path

    return write


def write_problem(folder: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.arange(15) % 3
    data = np.eye(3, 6)[label] * 2 + rng.normal(0, 0.3, (15, 6))
    with h5py.File(folder / "data.h5", "w") as file:
        file["data"], file["label"] = data.astype("f4"), label.astype("f4")
    (folder / "list.txt").write_text("data.h5\n")
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER)
