"""The benchmark of GPUs, dry: netc's side runs in the emulator, in this process; a peer without a GPU is left out."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "backends" / "cuda"
for folder in (FOLDER.parents[1], FOLDER.parent / "llvm", FOLDER.parent / "llvm" / "lower", FOLDER):
    sys.path.append(str(folder))

from cuda_harness import needs_emulator  # noqa: E402
from fake_cupy import FakeCupy  # noqa: E402
from test_cupy_device import gpu  # noqa: E402

from netc.bench.engines.job import Job  # noqa: E402
from netc.bench.engines.table import ENGINES, SUBJECT, peers  # noqa: E402
from netc.bench.process import EngineError  # noqa: E402
from netc.bench.worker import build_call, time_calls  # noqa: E402

NET = """
name: "tiny"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 10 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


class InThisProcess:
    """Stands for the process of an engine."""

    def __init__(self, python: str, job: Job, log: Path, env: Mapping[str, str]) -> None:
        if job.engine != SUBJECT:
            raise EngineError("this PyTorch finds no GPU")
        self.call, self.ready = build_call(job)
        self.images = 2

    def round(self, seconds: float) -> dict[str, Any]:
        return time_calls(self.call, 0.0, self.images) | {"peak_bytes": None}

    def close(self) -> None:
        pass


@pytest.fixture
def cuda_peers() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "cuda_peers.py"
    spec = importlib.util.spec_from_file_location("cuda_peers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_emulator
def test_a_dry_run_times_netc_by_events_and_leaves_out_what_has_no_gpu(
    cuda_peers: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.prototxt").write_text(NET)
    monkeypatch.setattr(cuda_peers, "installed_packages", lambda _: frozenset({"torch"}))
    arguments = [
        str(tmp_path / "tiny.prototxt"),
        "--batch",
        "2",
        "--rounds",
        "2",
        "--json",
        str(tmp_path / "run.json"),
    ]
    with gpu(FakeCupy()):
        code = cuda_peers.main(arguments, say=lambda _: None, start=InThisProcess)
    shown = capsys.readouterr().out
    assert code == 0
    assert (
        shown.count("| tiny | 2 | 0.2500 |") == 2
    )  # half a millisecond for two images, forward and training
    assert (
        "torch-cuda: this PyTorch finds no GPU (tiny batch 2 threads 1; tiny batch 2 threads 1)" not in shown
    )
    assert "- torch-cuda: this PyTorch finds no GPU" in shown
    data = json.loads((tmp_path / "run.json").read_text())
    for kind in ("forward", "training"):
        (case,) = data[kind]
        assert case["timings"][SUBJECT]["rounds"] == [0.25, 0.25]
        assert case["timings"][SUBJECT]["agrees"]


def test_peers_that_are_not_installed_are_named_and_left_out(
    cuda_peers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(cuda_peers, "installed_packages", lambda _: frozenset())

    class Nothing:
        def __init__(self, settings: Any, *_: Any) -> None:
            assert settings.peers == ()
            self.notes: dict[str, Any] = {}

        def run(self, _: Any) -> list[Any]:
            return []

    monkeypatch.setattr(cuda_peers, "Measurement", Nothing)
    monkeypatch.setattr(cuda_peers, "ratios_table", lambda *_: "")
    assert cuda_peers.main(["--batch", "1"], say=said.append) == 0
    assert [line.split(":")[0] for line in said] == [
        f"without {ENGINES[p].title}" for p in peers(train=True, device="cuda")
    ]


def test_each_device_has_its_own_peers() -> None:
    assert set(peers(train=False)).isdisjoint(peers(train=False, device="cuda"))
    assert peers(train=True, device="cuda") == ("torch-cuda", "torch-graph", "compile-cuda")
    assert ENGINES[SUBJECT].module_on("cuda") == "netc_cuda"
    assert ENGINES["torch"].module_on("cpu") == "torch_engine"
