"""Files of nets compiled for GPUs: written without one, read back, run where a device is."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_harness import needs_emulator
from cuda_nets import NETS
from emulated_device import emulated_gpu

import netc
from netc.backends.cuda.nvrtc import has_nvrtc
from netc.ir.diagnostics import NetcError
from netc.runtime.cuda_device import choose_image

needs_nvrtc = pytest.mark.skipif(not has_nvrtc(), reason="NVRTC is not installed")
DATA = {
    "data": np.random.default_rng(0).standard_normal((2, 3, 12, 14)).astype(np.float32),
    "label": np.zeros((2, 1, 1, 2), np.float32),
    "box": np.ones((2, 4, 1, 2), np.float32),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "det1.netc"
    netc.compile(NETS["det1"], target="cuda:sm_90,sm_70").save(path)
    return path


@needs_nvrtc
def test_a_file_holds_every_kernel_for_every_architecture(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        names = archive.namelist()
    for image in ("sm_70", "sm_90", "compute_90"):
        assert sum(name.startswith(f"cuda/{image}/") for name in names) >= 5


@needs_nvrtc
@needs_emulator
def test_a_saved_net_runs_as_before(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netc.runtime.cuda_build.compile_kernels", None)
    with emulated_gpu() as devices:
        loaded = netc.load(saved)
        assert loaded.compiled.cuda is not None
        assert loaded.compiled.cuda.images["sm_90"].keys() == loaded.compiled.cuda.main_code.kernels.keys()
        found = loaded.run(**DATA)
    reference = netc.compile(NETS["det1"], loaded.params, target="numpy").run(**DATA)
    for name, want in reference.items():
        assert np.max(np.abs(found[name] - want)) <= 5e-3 * np.max(np.abs(want))
    assert devices[0].calls


def edited(path: Path, target: Path, change: Any) -> Path:
    """A copy of a file with another manifest."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "manifest.json":
                manifest = json.loads(data)
                change(manifest)
                data = json.dumps(manifest).encode()
            copy.writestr(name, data)
    return target


@needs_nvrtc
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(images=["sm_80"]), "code for sm_80, which is not in its target"),
        (lambda m: m.pop("images"), "images is missing"),
        (lambda m: m["options"].update(precision="fp8"), "precision"),
        (lambda m: m["options"].update(target="cuda:sm_1"), "unknown CUDA target"),
        (lambda m: [m["members"].pop(k) for k in list(m["members"]) if "sm_70" in k], "missing"),
    ],
)
def test_a_damaged_file_is_refused(saved: Path, tmp_path: Path, change: Any, message: str) -> None:
    path = edited(saved, tmp_path / "damaged.netc", change)
    with pytest.raises(NetcError, match=message):
        netc.load(path)


@pytest.mark.parametrize(
    ("capability", "images", "chosen"),
    [
        ("90", ["sm_80", "sm_90", "compute_90"], "sm_90"),
        ("86", ["sm_80", "sm_90", "compute_90"], "sm_80"),
        ("100", ["sm_80", "sm_90", "compute_90"], "compute_90"),
        ("120", ["sm_100", "compute_100", "sm_120", "compute_120"], "sm_120"),
        ("89", ["sm_90", "sm_86", "compute_80"], "sm_86"),
    ],
)
def test_a_gpu_takes_its_own_code_then_its_generation_s_then_ptx(
    capability: str, images: list[str], chosen: str
) -> None:
    assert choose_image(capability, images) == chosen


def test_a_gpu_older_than_all_code_is_an_error_that_says_what_to_compile_for() -> None:
    with pytest.raises(NetcError, match="this GPU is an sm_75") as error:
        choose_image("75", ["sm_80", "compute_80"])
    assert "cuda:sm_75" in str(error.value.remedy)
