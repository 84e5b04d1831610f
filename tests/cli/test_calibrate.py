"""``netc calibrate``: the file it writes, the report it prints, and the mistakes it tells of."""

import json
from pathlib import Path

import numpy as np
import pytest

LENET = Path(__file__).parents[2] / "examples" / "lenet"
DIGITS = sorted(str(p) for p in (LENET / "digits").glob("*.png"))
NET, WEIGHTS = LENET / "lenet.prototxt", LENET / "lenet_iter_10000.caffemodel"


def test_images_give_ranges_with_which_the_net_runs_in_int8(netc):
    pytest.importorskip("PIL.Image")
    scaling = ("--raw-scale", "255", "--input-scale", "0.00390625")
    outcome = netc("calibrate", NET, "-w", WEIGHTS, *DIGITS, *scaling, "-o", "r.json")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == f"LeNet: ranges of 3 tensors, from {len(DIGITS)} samples"
    assert [line.split()[:2] for line in lines[3:]] == [["bf16", "prob"], ["int8", "prob"]]
    assert "the same best class for 100.00% of the rows" in lines[4]
    int8 = ("--precision", "int8", "--ranges", "r.json")
    ran = netc("run", NET, "-w", WEIGHTS, *int8, *scaling, "--top", "1", *DIGITS)
    exact = netc("run", NET, "-w", WEIGHTS, *scaling, "--top", "1", *DIGITS)
    classes = [
        [line.split()[1] for line in o.out.splitlines() if line.startswith("  ")] for o in (ran, exact)
    ]
    assert classes[0] == classes[1]
    compiled = netc("compile", NET, "-w", WEIGHTS, *int8, "-o", "lenet.netc")
    assert "int8         3 of 4 convolutions and inner products; weights in memory" in compiled.out
    assert netc("run", "lenet.netc", *scaling, "--top", "1", *DIGITS).out == ran.out


def test_arrays_give_ranges_and_the_report_can_be_json(netc, tmp_path):
    np.savez(tmp_path / "x.npz", data=np.random.default_rng(0).uniform(0, 1, (20, 1, 28, 28)).astype("f4"))
    outcome = netc("calibrate", NET, "-w", WEIGHTS, "x.npz", "--method", "max", "--json")
    report = json.loads(outcome.out)
    assert report["file"] == "lenet.ranges.json"
    assert report["tensors"] == 3
    assert {change["output"] for change in report["changes"]["int8"]} == {"prob"}
    written = json.loads((tmp_path / "lenet.ranges.json").read_text())
    assert written["method"] == "max"
    assert len(written["ranges"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NET, "-w", WEIGHTS), "there is nothing to calibrate on"),
        ((NET, "-w", WEIGHTS, "none.npy"), "none.npy"),
        ((NET, "-w", WEIGHTS, "x.npy", "--precision", "bf16"), "calibration runs the net in float32"),
    ],
)
def test_what_cannot_be_calibrated_is_told(netc, tmp_path, arguments, message):
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 28, 28), "f4"))
    outcome = netc("calibrate", *arguments)
    assert outcome.code != 0
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_int8_without_ranges_names_the_command_that_makes_them(netc):
    outcome = netc("compile", NET, "-w", WEIGHTS, "--precision", "int8")
    assert outcome.code != 0
    assert "netc calibrate" in outcome.err
