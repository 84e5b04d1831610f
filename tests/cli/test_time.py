"""``netc time``: kernels against the machine's limits, as tables, as JSON, as a picture."""

import json

import pytest

from netc.backends.llvm.machine_peak import Peaks
from netc.cli.roofline import ranked, roofline_data, roofline_table
from netc.runtime.profile import KernelTime

PEAKS = Peaks(2, gflops=100, gbytes_per_s=10)
CONV = KernelTime(
    "k0", ("conv1", "relu1"), "v0", ("nn.conv", "math.relu"), "1x8", 2e-3, 100_000_000, 1_000_000
)
COPY = KernelTime("k1", (), "v1", ("tensor.transpose",), "1x8", 6e-3, 0, 30_000_000)


def test_kernels_are_ranked_by_their_time():
    found = ranked([CONV, COPY])
    assert [(each.kernel.kernel, each.share, each.cumulated) for each in found] == [
        ("k1", 0.75, 0.75),
        ("k0", 0.25, 1.0),
    ]


def test_the_table_says_what_bounds_a_kernel_and_how_near_its_floor_it_is():
    lines = [line.split() for line in roofline_table([CONV, COPY], PEAKS).splitlines()]
    assert lines[0][:3] == ["layer", "ops", "shape"]
    copy = "v1 transpose 1x8 6.000 75.0 75.0 0.0 5.0 0 memory 3.000 50 %"
    conv = "conv1 conv relu 1x8 2.000 25.0 100.0 50.0 0.5 100.0 arithmetic 1.000 50 %"
    both = "all kernels 8.000 100.0 12.5 3.9 4.000 50 %"
    assert lines[1:] == [copy.split(), conv.split(), both.split()]


def test_the_data_keeps_the_order_of_the_run():
    first, second = roofline_data([CONV, COPY], PEAKS)
    assert (first["kernel"], first["bound"], first["floor_seconds"]) == (
        "k0",
        "arithmetic",
        pytest.approx(1e-3),
    )
    assert (first["share"], first["cumulated"]) == (0.25, 1.0)
    assert (second["bound"], second["fraction_of_peak"]) == ("memory", pytest.approx(0.5))
    assert second["flops_per_byte"] == 0


def test_the_roofline_lists_the_slowest_kernel_first(netc, net_file):
    outcome = netc("time", net_file, "--repeats", 2, "--roofline")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    (header,) = (i for i, line in enumerate(lines) if line.startswith("layer"))
    assert "floor ms  of floor" in lines[header]
    cumulated = [float(line.rpartition("x")[2].split()[3]) for line in lines[header + 1 : -1]]
    assert cumulated == sorted(cumulated)
    assert cumulated[-1] == 100.0


def test_a_module_for_training_is_timed_forward_and_backward(netc, net_file):
    data = json.loads(netc("time", net_file, "--backward", "--repeats", 2, "--json").out)
    passes = [kernel["backward"] for kernel in data["kernels"]]
    assert passes == sorted(passes)
    assert set(passes) == {False, True}
    work = {op for kernel in data["kernels"] if kernel["backward"] for op in kernel["ops"]}
    assert "nn.conv_weight_gradient" in work
    assert data["kernel_seconds"] == pytest.approx(sum(k["seconds"] for k in data["kernels"]))
    text = netc("time", net_file, "--backward", "--repeats", 2, "--roofline").out
    assert "a run forward and backward takes" in text
    assert " backward " in text


def test_training_needs_the_definition(netc, net_file):
    assert netc("compile", net_file, "-o", "small.netc").code == 0
    outcome = netc("time", "small.netc", "--backward")
    assert outcome.code == 2
    assert "compiled without a backward pass" in outcome.err


def test_the_roofline_is_drawn_in_a_file(netc, net_file, tmp_path):
    pytest.importorskip("matplotlib")
    outcome = netc("time", net_file, "--repeats", 2, "--plot")
    assert outcome.code == 0
    assert (tmp_path / "small.roofline.png").read_bytes().startswith(b"\x89PNG")
    assert netc("time", net_file, "--repeats", 1, "--backward", "--plot", "roof.svg").code == 0
    picture = (tmp_path / "roof.svg").read_text()
    assert picture.startswith("<?xml")


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(netc, net_file):
    pytest.importorskip("matplotlib")
    outcome = netc("time", net_file, "--plot", "nowhere/roof.png")
    assert outcome.code == 2
    assert "the folder 'nowhere' does not exist" in outcome.err


def test_without_matplotlib_the_picture_names_the_extra(netc, net_file, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError\n")
    netc.environment["PYTHONPATH"] = f"{tmp_path}:{netc.environment['PYTHONPATH']}"
    outcome = netc("time", net_file, "--plot")
    assert outcome.code == 2
    assert "pip install 'netc[plot]'" in outcome.err
