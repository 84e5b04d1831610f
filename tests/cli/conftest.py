"""Runs ``netc`` in a process of its own, as a user does, and watches what it takes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from netc.frontend.write_caffemodel import write_caffemodel

ROOT = Path(__file__).parents[2]
MEASURED = Path(__file__).with_name("measured.py")

NET = """name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


@dataclass(frozen=True)
class Outcome:
    """``cpu_s`` and ``megabytes`` are what the process took at most."""

    code: int
    out: str
    err: str
    cpu_s: float
    megabytes: float


class Runner:
    """Calls ``netc`` in a folder."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}

    def __call__(self, *arguments: str) -> Outcome:
        report = self.folder / ".report"
        finished = subprocess.run(
            [sys.executable, MEASURED, report, sys.executable, "-m", "netc", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        took = json.loads(report.read_text())
        return Outcome(out=finished.stdout.decode(), err=finished.stderr.decode(), **took)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture
def netc(tmp_path: Path, cache: Path) -> Runner:
    return Runner(tmp_path, cache)


@pytest.fixture
def net_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.prototxt"
    path.write_text(NET)
    return path


@pytest.fixture
def weights() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return {
        "conv": [rng.normal(0, 0.3, (4, 3, 3, 3)).astype("f4"), np.zeros(4, "f4")],
        "fc": [rng.normal(0, 0.3, (5, 64)).astype("f4"), np.zeros(5, "f4")],
    }


@pytest.fixture
def weights_file(tmp_path: Path, weights: dict[str, list[np.ndarray]]) -> Path:
    path = tmp_path / "small.caffemodel"
    types = {"conv": "Convolution", "fc": "InnerProduct"}
    write_caffemodel(path, "small", [(name, types[name], arrays) for name, arrays in weights.items()])
    return path


@pytest.fixture
def variant(tmp_path: Path) -> Callable[[str, str], Path]:
    """The net with one text replaced by another."""

    def write(old: str, new: str) -> Path:
        assert old in NET
        path = tmp_path / "variant.prototxt"
        path.write_text(NET.replace(old, new))
        return path

    return write
