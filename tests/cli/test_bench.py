"""``netc bench`` as a user calls it. A stand-in for OpenCV makes a peer on machines without any."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

PEER = """
import time
from pathlib import Path

import numpy as np


def setNumThreads(count):
    assert count == 1


class Net:
    def __init__(self, prototxt, caffemodel):
        self.path = Path(caffemodel).parent / "netc.out.npy"
        assert "InnerProduct" in Path(prototxt).read_text()

    def setInput(self, x):
        assert x.shape == (2, 3, 6, 6)

    def forward(self):
        time.sleep(0.001)
        return np.load(self.path) + OFFSET


class dnn:
    readNetFromCaffe = Net
"""
QUICK = ("--batch", 2, "--threads", 1, "--seconds", 0.01, "--rounds", 1)


@pytest.fixture
def peer(netc, tmp_path):
    """Writes the stand-in, whose results are off by so much."""
    folder = tmp_path / "peer"
    folder.mkdir()
    netc.environment["PYTHONPATH"] = f"{folder}:{netc.environment['PYTHONPATH']}"

    def write(offset: float = 0.0) -> None:
        (folder / "cv2.py").write_text(PEER.replace("OFFSET", str(offset)))

    return write


def changed(path: Path, factor: float) -> None:
    """Multiply the ratios of a run in a file."""
    data = json.loads(path.read_text())
    for result in data["results"]:
        result["ratios"] = {name: factor * ratio for name, ratio in result["ratios"].items()}
    path.write_text(json.dumps(data))


def test_a_net_is_timed_in_every_engine(netc, net_file, peer):
    peer()
    outcome = netc("bench", net_file, *QUICK, "--peers", "opencv")
    assert outcome.code == 0, outcome.err
    assert "1 thread: " in outcome.out
    assert "| net | batch | netc | opencv | floor | netc / floor | best / floor |" in outcome.out
    assert "| small | 2 | netc | " in outcome.out
    assert "Versions: netc " in outcome.out


def test_a_check_fails_when_a_ratio_got_worse(netc, net_file, peer, tmp_path):
    peer()
    bench = ("bench", net_file, *QUICK, "--peers", "opencv")
    assert netc(*bench, "--json", "run.json").code == 0
    baseline = tmp_path / "run.json"
    assert json.loads(baseline.read_text())["results"][0]["ratios"].keys() == {"opencv", "best peer"}
    changed(baseline, 1e6)
    outcome = netc(*bench, "--check", baseline)
    assert outcome.code == 3
    assert "ratios got worse by more than 10 %" in outcome.out
    assert "| small | 2 | 1 | opencv | " in outcome.out
    assert "error: slower than" in outcome.err


def test_a_check_passes_within_the_margin(netc, net_file, tmp_path):
    bench = ("bench", net_file, *QUICK, "--peers", "")
    folder = tmp_path / "history"
    folder.mkdir()
    first = netc(*bench, "--check", "history", "--json", "history/1.json")
    assert first.code == 0
    assert "nothing to check" in first.err
    data = json.loads((folder / "1.json").read_text())
    data["results"][0]["fma_fraction"] /= 1e3
    (folder / "1.json").write_text(json.dumps(data))
    outcome = netc(*bench, "--check", "history", "--margin", "50%")
    assert outcome.code == 0, outcome.err
    assert "None of 1 ratios got worse by more than 50 %" in outcome.out


def test_results_that_differ_fail(netc, net_file, peer):
    peer(0.5)
    outcome = netc("bench", net_file, *QUICK, "--peers", "opencv", "--json")
    assert outcome.code == 3
    assert "the outputs of opencv differ by more than 0.001" in outcome.err
    engines = json.loads(outcome.out)["results"][0]["engines"]
    assert (engines["opencv"]["agrees"], engines["opencv"]["ms"]) == (False, None)


def test_an_engine_that_fails_is_named_with_its_error(netc, net_file, tmp_path, peer):
    peer()
    (tmp_path / "peer" / "cv2.py").write_text("raise RuntimeError('out of order')\n")
    outcome = netc("bench", net_file, *QUICK, "--peers", "opencv")
    assert outcome.code == 0
    assert "opencv: RuntimeError: out of order" in outcome.out


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux")
def test_no_engine_outlives_a_benchmark_that_is_killed(netc, net_file):
    call = [
        sys.executable,
        "-m",
        "netc",
        "bench",
        net_file,
        "--batch",
        "1",
        "--seconds",
        "600",
        "--peers",
        "",
    ]
    env = netc.environment | {"TMPDIR": str(netc.folder)}  # nobody tidies up after it
    bench = subprocess.Popen(call, cwd=netc.folder, env=env, stderr=subprocess.PIPE)
    try:
        assert bench.stderr is not None
        assert b"building in netc" in bench.stderr.readline()
        children = Path(f"/proc/{bench.pid}/task/{bench.pid}/children")
        engine = int(wait_for(lambda: children.read_text().split())[0])
        wait_for(lambda: b"start_worker" in Path(f"/proc/{engine}/cmdline").read_bytes())
        wait_for(lambda: "netc.out.npy" in {path.name for path in folder_of(engine).iterdir()})
    finally:
        bench.kill()
        bench.communicate()
    wait_for(lambda: not is_alive(engine))


def folder_of(engine: int) -> Path:
    """Where the files of an engine's benchmark lie."""
    job = Path(f"/proc/{engine}/cmdline").read_bytes().split(b"\0")[3]
    return Path(json.loads(job)["out"]).parent


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition):
    """The first true value of a condition; a minute is more than any busy machine needs."""
    for _ in range(6000):
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in a minute")


def test_training_is_timed(netc, net_file, variant):
    wide = variant("num_output: 5", "num_output: 10")
    outcome = netc("bench", wide, "--train", *QUICK, "--peers", "", "--json")
    assert outcome.code == 0, outcome.err
    data = json.loads(outcome.out)
    assert data["settings"]["train"] is True
    assert data["results"][0]["engines"]["netc"]["ms"] > 0
    assert data["results"][0]["macs"] == 3 * (4 * 16 * 27 + 10 * 64)


def test_the_history_is_printed_and_drawn(netc, net_file, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "history").mkdir()
    assert netc("bench", net_file, *QUICK, "--peers", "", "--json", "history/1.json").code == 0
    outcome = netc("bench", "--history", "history")
    assert outcome.out.startswith("forward, batch 2, 1 thread\n")
    assert len(outcome.out.splitlines()) == 3
    assert netc("bench", "--history", "history", "-o", "history.png").code == 0
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_is_drawn_with_every_number_of_threads(netc, tmp_path):
    pytest.importorskip("matplotlib")
    ratios = {"torch": 3.126, "ort": 0.84, "best peer": 0.84}
    engines = {"netc": {"ms": 3.0}, "torch": {"ms": 9.378}, "ort": {"ms": 2.52}}
    result = {"net": "small", "batch": 2, "ratios": ratios, "fma_fraction": 0.5, "floor_ms": 2.0}
    results = [{**result, "threads": threads, "engines": engines} for threads in (1, 4)]
    results.append({**result, "net": "failed", "threads": 1, "ratios": {}, "engines": {"netc": {"ms": None}}})
    run = {"date": "2026-01-31T00:00:00Z", "machine": {"cpu": "a <fast> cpu"}, "versions": {"netc": "1"}}
    write = (tmp_path / "run.json").write_text
    write(json.dumps({**run, "settings": {"train": False}, "results": results}))
    for name in ("run.svg", "again.svg", "run.png"):
        assert netc("bench", "--draw", "run.json", "-o", name).out == f"{name}\n"
    picture = (tmp_path / "run.svg").read_text()
    assert picture == (tmp_path / "again.svg").read_text()
    for text in ("small, batch 2", "0.84", "1.50", "torch", "onnxruntime", "4 threads, a &lt;fast&gt; cpu"):
        assert text in picture
    assert "failed" not in picture
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    write(json.dumps({**run, "settings": {"train": False}, "results": results[2:]}))
    outcome = netc("bench", "--draw", "run.json", "-o", "run.svg")
    assert outcome.code == 2
    assert "no net has a ratio to a peer" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lenett",), "there is no net 'lenett'"),
        (("--batch", "1,x"), "--batch: 'x' is no number"),
        (("--threads", "0"), "--threads: '0' is no number"),
        (("--peers", "tensorflow"), "--peers: 'tensorflow' is no engine"),
        (("--train", "--peers", "ort"), "--peers: 'ort' trains nothing"),
        (("--peers", "torch", "--peer-python", "/nowhere/python"), "/nowhere/python does not run"),
        (("--margin", "ten"), "--margin: 'ten' is no part"),
        (("--check", "nothing.json"), "nothing.json: No such file"),
        (("--json", "nowhere/run.json"), "the folder 'nowhere' cannot be written to"),
        (("-o", "x.png"), "-o names the picture of --history or --draw"),
        (("--draw", "run.json"), "name it with -o run.svg"),
        (("lenet", "--draw", "run.json", "-o", "x.svg"), "--draw shows a run that was made"),
        (("--history", "."), "there is no run of netc bench"),
        (("lenet", "--history", "."), "--history shows runs that were made"),
    ],
)
def test_bad_arguments_are_refused_before_the_work(netc, arguments, message):
    outcome = netc("bench", *(() if "--peers" in arguments else ("--peers", "")), *arguments)
    assert outcome.code == 2
    assert message in outcome.err


def test_a_peer_that_is_asked_for_must_be_there(netc, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\necho '[]'\n")
    (tmp_path / "python").chmod(0o755)
    outcome = netc("bench", "lenet", "--peers", "ort", "--peer-python", tmp_path / "python")
    assert outcome.code == 2
    assert "the peer ort needs onnxruntime, torch, onnx, onnxscript" in outcome.err
    assert "pip install 'netc[bench]'" in outcome.err
