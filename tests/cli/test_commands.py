"""What each command prints and writes when all is well."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netc as netc_package
from netc.cli import commands
from netc.ir.diagnostics import InternalError
from netc.runtime import draw, emit
from netc.runtime.api import load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def compiled(netc, net_file, weights_file, tmp_path):
    assert netc("compile", net_file, "-w", weights_file, "-o", "small.netc").code == 0
    return tmp_path / "small.netc"


@pytest.fixture
def image(tmp_path):
    pytest.importorskip("PIL.Image")
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_help_imports_nothing_heavy(netc):
    code = "import sys; from netc.cli import main; main(['--help']); print(sorted(sys.modules))"
    out = subprocess.run(
        [sys.executable, "-c", code], env=netc.environment, capture_output=True, text=True
    ).stdout
    for heavy in ("'numpy'", "'llvmlite'", "'lark'", "'google.protobuf'", "'rich'"):
        assert heavy not in out


def test_importing_the_package_imports_nothing_else(netc):
    code = "import sys, netc; print([m for m in sys.modules if m.split('.')[0] in ('numpy', 'llvmlite', 'lark')])"
    done = subprocess.run([sys.executable, "-c", code], env=netc.environment, capture_output=True, text=True)
    assert done.stdout == "[]\n"
    assert set(netc_package.__all__) <= set(dir(netc_package))
    with pytest.raises(AttributeError, match="no attribute 'compiler'"):
        _ = netc_package.compiler


def test_the_version_is_shown(netc):
    assert netc("--version").out == f"netc {netc_package.__version__}\n"


@pytest.mark.parametrize("command", ["compile", "run", "time", "inspect", "draw"])
def test_every_command_has_help(netc, command):
    outcome = netc(command, "--help")
    assert outcome.code == 0
    assert f"Usage: netc {command}" in outcome.out


def test_help_imports_nothing_that_takes_long():
    heavy = ("numpy", "llvmlite", "google.protobuf", "lark", "netc.runtime")
    program = (
        "import sys; from netc.cli import main; code = main(['run', '--help']); "
        f"sys.exit(code or ' '.join(name for name in {heavy} if name in sys.modules) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_choices_are_those_of_the_code_behind_them():
    assert commands.EMIT_STAGES == emit.STAGES
    assert commands.PICTURE_FORMATS == draw.FORMATS


def test_compile_reports_and_writes_one_file(netc, net_file, weights_file, tmp_path):
    outcome = netc("compile", net_file, "-w", weights_file)
    assert outcome.code == 0
    assert outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0] == "small for cpu"
    assert [line.split()[0] for line in lines[1:]] == [
        "ops",
        "kernels",
        "flops",
        "parameters",
        "activations",
        "written",
    ]
    assert (tmp_path / "small.netc").exists()


def test_compile_reports_in_json(netc, net_file):
    report = json.loads(netc("compile", net_file, "--json", "-o", "x.netc").out)
    assert report["file"] == "x.netc"
    assert report["ops_before"] == 5
    assert report["param_bytes"] == 4 * (4 * 27 + 4 + 5 * 64 + 5)
    assert report["memory"]["activations"] <= report["memory"]["unshared"]
    symbolic = json.loads(netc("compile", net_file, "--json", "--input-shape", "data=N,3,6,6").out)
    assert symbolic["memory"] is None
    assert "N" in symbolic["flops"]


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ("tensor", "func @prepare("),
        ("buffer", "buffer.launch"),
        ("loop", "loop.for"),
        ("llvm", "define "),
        ("asm", "\tret"),
    ],
)
def test_compile_shows_the_code_at_any_stage(netc, net_file, tmp_path, stage, text):
    outcome = netc("compile", net_file, "--emit", stage)
    assert outcome.code == 0
    assert text in outcome.out
    assert not list(tmp_path.glob("*.netc"))
    assert netc("compile", net_file, "--emit", stage, "-o", "code.txt").out == ""
    assert (tmp_path / "code.txt").read_text().rstrip("\n") == outcome.out.rstrip("\n")


def test_compile_writes_a_library(netc, net_file, weights_file, tmp_path):
    outcome = netc(
        "compile", net_file, "-w", weights_file, "--target", "cpu:aarch64-linux", "--emit-lib", "lib"
    )
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "small for cpu:aarch64-linux"
    assert [line.split()[0] for line in lines[1:]] == ["kernels", "weights", "memory", "build", "written"]
    assert "aarch64-linux-gnu-gcc -O2 main.c small.o small_weights.o" in outcome.out
    assert {p.name for p in (tmp_path / "lib").iterdir()} == {
        "small.o",
        "small_weights.o",
        "small.h",
        "main.c",
    }
    report = json.loads(netc("compile", net_file, "--target", "cpu:avx2", "--emit-lib", "lib", "--json").out)
    assert report["prefix"] == "small"
    assert report["outputs"] == [{"name": "prob", "shape": [1, 5]}]


def test_a_net_compiled_for_another_architecture_is_saved_but_not_run(netc, net_file, tmp_path):
    other = "cpu:avx2" if platform.machine() == "aarch64" else "cpu:aarch64-linux"
    assert netc("compile", net_file, "--target", other, "-o", "other.netc").code == 0
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 6, 6), "f4"))
    outcome = netc("run", "other.netc", "x.npy")
    assert outcome.code == 2
    assert f"target '{other}' does not run on this machine" in outcome.err


def test_print_after_shows_a_pass_on_stderr(netc, net_file):
    outcome = netc("compile", net_file, "--print-after", "canonicalize", "--json")
    assert outcome.err.startswith("# after canonicalize\nmodule small tensor {")
    json.loads(outcome.out)


def test_run_ranks_the_classes_of_an_image(netc, compiled, image, tmp_path, weights):
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\ndog\nelk\n")
    outcome = netc("run", compiled, image, "--labels", "labels.txt", "--top", 2, "--mean", "104,117,123")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == str(image)
    assert len(lines) == 3
    best = float(lines[1].split()[0])
    assert best >= float(lines[2].split()[0])
    assert lines[1].split()[2] in ("ant", "bee", "cat", "dog", "elk")
    data = json.loads(netc("run", compiled, image, image, "--mean", "104,117,123", "--json").out)
    assert [entry["file"] for entry in data] == [str(image)] * 2
    assert data[0]["top"][0][0]["score"] == pytest.approx(best, abs=1e-4)
    assert data[0]["top"] == data[1]["top"]


def test_run_gives_a_net_and_its_compiled_file_the_same_results(
    netc, compiled, net_file, weights_file, image, tmp_path
):
    assert netc("run", compiled, image, image, image, "-o", "a.npz").code == 0
    assert netc("run", net_file, "-w", weights_file, image, image, image, "-o", "b.npz").code == 0
    a, b = np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")
    assert a["prob"].shape == (3, 5)
    np.testing.assert_allclose(a["prob"], b["prob"], rtol=1e-5, atol=1e-6)


def test_oversampling_is_the_mean_of_the_crops(netc, compiled, image, tmp_path):
    arguments = ("--oversample", "--image-dims", "8,8", "-o", "out.npz")
    assert netc("run", compiled, image, *arguments).code == 0
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["prob"].sum(axis=1), 1, rtol=1e-5)


def test_run_takes_arrays_and_writes_all_outputs(netc, compiled, net_file, weights_file, tmp_path):
    data = np.random.default_rng(0).random((1, 3, 6, 6), np.float32)
    expected = load(compiled).run(data=data)["prob"]
    np.save(tmp_path / "x.npy", data)
    np.savez(tmp_path / "x.npz", data=data)
    for model, options in ((compiled, ()), (net_file, ("-w", weights_file))):
        for given in ("x.npy", "x.npz", "data=x.npy"):
            outcome = netc("run", model, *options, given, "-o", "out.npz")
            assert outcome.code == 0, outcome.err
            assert outcome.out == ""
            with np.load(tmp_path / "out.npz") as found:
                np.testing.assert_allclose(found["prob"], expected, rtol=1e-5, atol=1e-6)


def test_run_takes_the_shape_of_an_input_from_its_array(netc, variant, tmp_path):
    net = variant(" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 6 } }", "")
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 7, 7), "f4"))
    assert netc("run", net, "x.npy", "-o", "out.npz", "--keep", "conv").code == 0
    with np.load(tmp_path / "out.npz") as found:
        assert {name: found[name].shape for name in found} == {"prob": (2, 5), "conv": (2, 4, 5, 5)}


def test_run_shows_outputs_that_are_no_classes(netc, tmp_path, net_file, image):
    text = net_file.read_text().split('layer { name: "fc"')[0]
    (tmp_path / "filter.prototxt").write_text(text)
    outcome = netc("run", "filter.prototxt", image, "--input-shape", "data=1,3,H,W")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[1].startswith("  conv 1x4x7x5: ")


def test_time_lists_every_kernel(netc, compiled):
    outcome = netc("time", compiled, "--repeats", 3)
    assert outcome.code == 0
    assert "GFLOP/s" in outcome.out
    assert "conv relu" in outcome.out
    data = json.loads(netc("time", compiled, "--repeats", 2, "--json").out)
    assert data["seconds"] > 0
    assert {"layers", "value", "seconds", "flops", "bytes", "fraction_of_peak"} <= set(data["kernels"][0])


def test_time_needs_sizes_for_symbols(netc, net_file):
    shape = ("--input-shape", "data=N,3,6,6")
    assert "--size N=4" in netc("time", net_file, *shape).err
    assert netc("time", net_file, *shape, "--size", "N=2", "--repeats", 2).code == 0


def test_inspect_lists_the_layers(netc, net_file, compiled):
    outcome = netc("inspect", net_file)
    assert outcome.out == netc("inspect", compiled).out
    assert outcome.out.splitlines() == [
        "small: 5 layers, 437 parameters, 4.1 k flops",
        "input   data  1x3x6x6",
        "output  prob",
        "",
        "layer  type          output        params   flops",
        "data   Input         data 1x3x6x6",
        "conv   Convolution   conv 1x4x4x4     112  3.46 k",
        "relu   ReLU          conv 1x4x4x4",
        "fc     InnerProduct  fc 1x5           325     640",
        "prob   Softmax       prob 1x5",
    ]
    data = json.loads(netc("inspect", net_file, "--json").out)
    assert data["params"] == 437
    assert data["layers"][1]["shapes"] == [[1, 4, 4, 4]]


@pytest.mark.parametrize("stage", ["net", "import", "tensor", "buffer"])
def test_draw_writes_the_graph_of_any_stage(netc, net_file, compiled, tmp_path, stage):
    outcome = netc("draw", net_file, "--of", stage)
    assert outcome.code == 0
    assert outcome.out.startswith("digraph")
    assert ("subgraph" in outcome.out) == (stage in ("tensor", "buffer"))
    assert netc("draw", compiled, "--of", stage, "-o", "net.dot").code == 0
    assert (tmp_path / "net.dot").read_text().startswith("digraph")


def test_a_compiled_file_refuses_options_that_come_too_late(netc, compiled, tmp_path, weights_file):
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 6, 6)))
    assert "--weights has no effect" in netc("run", compiled, "x.npy", "-w", weights_file).err
    assert "-O has no effect" in netc("run", compiled, "x.npy", "-O1").err
    assert netc("run", compiled, "x.npy", "--threads", 1).code == 0
    assert netc("run", compiled, "x.npy", "--threads", 2, "--pin").code == 0
    assert "compiled already" in netc("compile", compiled).err


def test_warnings_go_to_stderr(netc, variant):
    outcome = netc("inspect", variant('type: "ReLU"', 'type: "ReLU" fancy_param { x: 1 }'))
    assert outcome.code in (0, 2)
    assert "fancy_param" in outcome.err
    assert "fancy_param" not in outcome.out


def test_a_reader_that_leaves_is_no_error(netc, net_file):
    command = [sys.executable, "-m", "netc", "compile", str(net_file), "--emit", "asm"]
    process = subprocess.Popen(
        command, env=netc.environment, cwd=netc.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_an_interrupt_ends_quietly(netc, monkeypatch, capsys):
    from netc.cli import app

    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(app.netc, "main", interrupted)
    assert app.main(["inspect", "x"]) == 130
    assert capsys.readouterr().err == ""


def test_generated_code_that_is_wrong_is_an_internal_error(monkeypatch, capsys):
    from netc.cli import app

    def broken(*_args, **_options):
        raise InternalError("the generated LLVM IR is not valid", detail="why")

    monkeypatch.setattr(app.netc, "main", broken)
    assert app.main(["inspect", "x"]) == 1
    message = capsys.readouterr().err
    assert message.splitlines()[:2] == ["internal error: the generated LLVM IR is not valid", "note: why"]
    assert "please report" in message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_stdout_is_no_bug_of_netc(net_file):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "netc", "inspect", net_file],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "error: stdout: No space left on device\n")


def test_an_internal_error_is_one_line_that_asks_for_a_report(monkeypatch, capsys):
    from netc.cli import app

    def broken(*_args, **_options):
        raise KeyError("lost")

    monkeypatch.setattr(app.netc, "main", broken)
    assert app.main(["inspect", "x"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("internal error: KeyError: 'lost' (test_commands.py:")
    assert "please report" in message
    assert message.count("\n") == 1
    assert app.main(["--traceback", "inspect", "x"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err
