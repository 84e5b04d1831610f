"""``netc train``, ``test``, ``parse-log``, ``plot`` and ``netc caffe``."""

import json
import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from netc.cli.terminal_plot import draw
from netc.cli.train_commands import caffe
from netc.frontend.solver_state import load_solver_state
from netc.runtime.solver.curves import Curve

NET = """name: "small"
layer { name: "d" type: "HDF5Data" top: "data" top: "label"
        hdf5_data_param { source: "list.txt" batch_size: 4 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 12 display: 4 test_iter: 3
test_interval: 6 snapshot: 6 snapshot_prefix: "run" random_seed: 1
"""


@pytest.fixture
def problem(tmp_path):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["data"] = rng.normal(size=(12, 5)).astype("f4")
        file["label"] = (np.arange(12) % 3).astype("f4")
    (tmp_path / "list.txt").write_text("data.h5\n")
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path


def test_training_logs_as_the_original_and_leaves_snapshots(netc, problem):
    done = netc("train", "--solver", "solver.prototxt")
    assert (done.code, done.out) == (0, "")
    lines = done.err.splitlines()
    assert all("] " in line for line in lines)
    assert "note: a training step takes " in lines[0]
    assert lines[1].endswith("Solving small")
    assert lines[-1].endswith("Optimization Done.")
    assert sorted(p.name for p in problem.glob("run_*")) == [
        "run_iter_12.caffemodel", "run_iter_12.solverstate", "run_iter_6.caffemodel", "run_iter_6.solverstate"
    ]  # fmt: skip


def test_a_run_goes_on_from_its_snapshot_through_either_command(netc, problem):
    assert netc("train", "--solver", "solver.prototxt").code == 0
    weights = (problem / "run_iter_12.caffemodel").read_bytes()
    for command in (
        ("train", "--solver", "solver.prototxt", "--snapshot", "run_iter_6.solverstate"),
        ("caffe", "train", "-solver", "solver.prototxt", "-snapshot=run_iter_6.solverstate"),
    ):
        (problem / "run_iter_12.caffemodel").unlink()
        done = netc(*command)
        assert done.code == 0
        assert "Restored iteration 6" in done.err
        assert (problem / "run_iter_12.caffemodel").read_bytes() == weights


@pytest.mark.parametrize("dash", ["-", "--"])
def test_iterations_end_the_training_earlier(netc, problem, dash):
    done = netc("train", f"{dash}solver", "solver.prototxt", f"{dash}iterations=3")
    assert done.code == 0
    assert (problem / "run_iter_3.caffemodel").exists()


def test_events_are_json_on_stdout(netc, problem):
    done = netc("train", "--solver", "solver.prototxt", "--log-format", "json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, done.err) == (0, "")
    assert [e["iteration"] for e in events if e["event"] == "train"] == [0, 4, 8]


def test_the_bar_writes_plain_lines_where_there_is_no_terminal(netc, problem):
    done = netc("train", "--solver", "solver.prototxt", "--log-format", "rich")
    assert (done.code, done.out) == (0, "")
    assert "iteration 6: test net 0:  loss" in done.err
    assert done.err.rstrip().endswith("iteration 12: done")
    assert "\x1b" not in done.err


def test_the_loss_is_drawn_in_the_terminal_and_in_a_file(netc, problem):
    pytest.importorskip("matplotlib")
    done = netc("train", "--solver", "solver.prototxt", "--plot", "loss.png")
    assert done.code == 0
    assert (problem / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "┤" in done.out or "|" in done.out
    (problem / "train.log").write_text(done.err)
    done = netc("plot", "train.log", "train.log", "-o", "two.svg")
    assert (done.code, done.out) == (0, "two.svg\n")
    assert b"<svg" in (problem / "two.svg").read_bytes()
    done = netc("plot", "train.log")
    assert done.code == 0
    assert done.out.startswith("loss\n")
    assert "test loss" in done.out


def test_a_missing_library_is_named_before_the_training(netc, problem):
    (problem / "matplotlib").mkdir()
    (problem / "matplotlib" / "__init__.py").write_text("raise ImportError\n")
    netc.environment["PYTHONPATH"] += os.pathsep + str(problem)
    order = netc.environment["PYTHONPATH"].split(os.pathsep)
    netc.environment["PYTHONPATH"] = os.pathsep.join(reversed(order))
    done = netc("train", "--solver", "solver.prototxt", "--plot", "loss.png")
    assert done.code == 2
    assert "pip install 'netc[plot]'" in done.err
    assert not list(problem.glob("run_*"))
    done = netc("train", "--solver", "solver.prototxt", "--plot")
    assert done.code == 0
    assert [line for line in done.err.splitlines() if "matplotlib" in line] == [
        "note: no picture will be in a file: that needs matplotlib, pip install 'netc[plot]'"
    ]
    assert "┤" in done.out or "|" in done.out


def test_a_picture_without_a_name_lies_beside_the_snapshots(netc, problem):
    pytest.importorskip("matplotlib")
    done = netc("train", "--solver", "solver.prototxt", "--plot")
    assert done.code == 0
    assert done.err.splitlines()[-1] == "wrote run_loss.png"
    assert (problem / "run_loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_is_in_the_current_folder_where_snapshots_have_none(netc, problem):
    pytest.importorskip("matplotlib")
    text = SOLVER.replace("snapshot: 6", "snapshot_after_train: false").replace('"run"', '"gone/run"')
    (problem / "solver.prototxt").write_text(text)
    done = netc("train", "--solver", "solver.prototxt", "--plot")
    assert done.code == 0
    assert (problem / "run_loss.png").exists()


def test_events_stay_alone_on_stdout_when_the_loss_is_drawn_too(netc, problem):
    pytest.importorskip("matplotlib")
    done = netc("train", "--solver", "solver.prototxt", "--log-format", "json", "--plot")
    assert [json.loads(line)["event"] for line in done.out.splitlines()][-1] == "end"
    assert (done.code, done.err) == (0, "wrote run_loss.png\n")
    assert (problem / "run_loss.png").exists()


def test_a_picture_that_fails_after_the_training_is_a_warning(netc, problem):
    pytest.importorskip("matplotlib")
    (problem / "run_loss.png").mkdir()
    done = netc("train", "--solver", "solver.prototxt", "--plot")
    assert done.code == 0
    assert done.err.splitlines()[-1].startswith("warning: no picture: ")
    assert (problem / "run_iter_12.caffemodel").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal to write to")
@pytest.mark.parametrize("log_format", ["rich", "json"])
def test_a_terminal_shows_the_loss_while_it_is_trained(netc, problem, log_format):
    import pty

    text = SOLVER.replace("max_iter: 12", "max_iter: 60")
    (problem / "solver.prototxt").write_text(text)
    command = [sys.executable, "-m", "netc", "train", "--solver", "solver.prototxt", "--plot"]
    command += ["--log-format", log_format]
    environment = {**netc.environment, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    ours, theirs = pty.openpty()
    with open(problem / "out", "wb") as out:
        run = subprocess.Popen(command, cwd=problem, env=environment, stdout=out, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the end of a terminal whose other side is closed
        pass
    os.close(ours)
    assert run.wait() == 0
    screen = shown.decode()
    assert "60/60" in screen
    assert "┤" in screen
    lines = (problem / "out").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("{") for line in lines) == (log_format == "json")


@pytest.mark.parametrize(
    ("path", "part"),
    [("loss.bmp", ".png, .svg, .pdf"), ("gone/loss.png", "the folder 'gone'"), (".", "is a folder")],
)
def test_a_picture_that_cannot_be_written_is_refused_before_the_training(netc, problem, path, part):
    pytest.importorskip("matplotlib")
    done = netc("train", "--solver", "solver.prototxt", "--plot", path)
    assert done.code == 2
    assert part in done.err
    assert "Solving" not in done.err


@pytest.mark.parametrize("flags", [(), ("-o", "loss.png")])
def test_a_log_without_finite_values_has_nothing_to_draw(netc, tmp_path, flags):
    (tmp_path / "x.log").write_text("Iteration 0, loss = nan\nIteration 1, loss = inf\n")
    done = netc("plot", "x.log", *flags)
    assert (done.code, done.out) == (2, "")
    assert "x.log: nothing to draw" in done.err


def test_a_log_becomes_the_tables_of_the_original(netc, problem):
    (problem / "train.log").write_text(netc("train", "--solver", "solver.prototxt").err)
    done = netc("parse-log", "train.log")
    assert done.out.split() == [os.path.join(".", "train.log.train"), os.path.join(".", "train.log.test")]
    header, *rows = (problem / "train.log.train").read_text().splitlines()
    assert header == "NumIters,Seconds,LearningRate,loss"
    assert [row.split(",")[0] for row in rows] == ["0.0", "4.0", "8.0"]
    assert all(row.split(",")[2] == "0.1" for row in rows)
    header, *rows = (problem / "train.log.test").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["0.0", "6.0", "12.0"]
    found = json.loads(netc("parse-log", "train.log", "--json").out)
    assert len(found["train"]) == 3
    assert netc("parse-log", "train.log", ".", "--delimiter", ";").code == 0
    assert ";" in (problem / "train.log.test").read_text()


def test_a_net_is_tested_on_its_own_data(netc, problem):
    assert netc("train", "--solver", "solver.prototxt").code == 0
    found = netc(
        "test", "--model", "net.prototxt", "--weights", "run_iter_12.caffemodel", "--iterations", "3"
    )
    assert found.code == 0
    loss = found.out.splitlines()[0].removeprefix("Loss: ")
    assert found.out.splitlines()[1] == f"loss = {loss} (* 1 = {loss} loss)"
    as_json = netc(
        "test", "--model", "net.prototxt", "-w", "run_iter_12.caffemodel", "--iterations", "3", "--json"
    )
    assert json.loads(as_json.out)["loss"] == pytest.approx(float(loss), rel=1e-4)
    original = netc(
        "caffe", "test", "-model=net.prototxt", "-weights", "run_iter_12.caffemodel", "-iterations", "3"
    )
    assert original.code == 0
    assert f"] Loss: {loss}" in original.err
    assert original.err.count("] Batch ") == 3


def test_a_gpu_is_declined_with_a_warning(netc, problem):
    done = netc("caffe", "train", "--solver=solver.prototxt", "-gpu", "all")
    assert done.code == 0
    assert done.err.startswith("warning: -gpu is ignored")


@pytest.mark.parametrize(
    ("number", "flags", "left"),
    [
        (signal.SIGINT, (), "stopped"),
        (signal.SIGHUP, ("--sighup-effect", "stop"), "stopped"),
        (signal.SIGINT, ("--sigint-effect", "snapshot"), "snapshot"),
    ],
)
def test_signals_stop_the_training_or_save_it(netc, problem, number, flags, left):
    text = SOLVER.replace("max_iter: 12", "max_iter: 1000000").replace("snapshot: 6", "snapshot: 0")
    (problem / "solver.prototxt").write_text(text.replace("display: 4", "display: 1"))
    command = [sys.executable, "-m", "netc", "train", "--solver", "solver.prototxt", *flags]
    run = subprocess.Popen(command, cwd=problem, env=netc.environment, stderr=subprocess.PIPE, text=True)
    while "Iteration 1 " not in run.stderr.readline():
        assert run.poll() is None
    run.send_signal(number)
    if left == "snapshot":
        while not list(problem.glob("run_*.solverstate")):
            run.stderr.readline()
        run.kill()
        run.wait()
    else:
        assert run.stderr.read().rstrip().endswith("Optimization Done.")
        assert run.wait() == 0
    run.stderr.close()
    (state,) = problem.glob("run_*.solverstate")
    assert load_solver_state(state).iteration > 1


WRONG = {
    "unknown policy": ('lr_policy: "fixed"', 'lr_policy: "fix"', ["solver.prototxt:1:", "'fix'", "fixed"]),
    "no net": ('net: "net.prototxt" ', "", ["names the net to train"]),
    "missing net": ("net.prototxt", "gone.prototxt", ["solver.prototxt:1:6", "gone.prototxt"]),
    "syntax": ("max_iter: 12", "max_iter: {", ["solver.prototxt:"]),
    "wrong value": ("max_iter: 12", "max_iter: 1.5", ["solver.prototxt:1:", "max_iter"]),
    "no folder": ('"run"', '"gone/run"', ["solver.prototxt:2:", "the folder 'gone'"]),
    "unknown type": ("base_lr", 'type: "Adem" base_lr', ["solver.prototxt:1:", "Adam"]),
    "test_iter": ("test_iter: 3", "test_iter: -3", ["solver.prototxt:1:", "test_iter"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_solver_is_refused_where_it_is_wrong(netc, problem, case):
    old, new, parts = WRONG[case]
    (problem / "solver.prototxt").write_text(SOLVER.replace(old, new, 1))
    done = netc("train", "--solver", "solver.prototxt")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error: ") == 1
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    for part in parts:
        assert part in done.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("train",), "--solver"),
        (("train", "--solver", "gone.prototxt"), "gone.prototxt"),
        (("train", "--solver", "solver.prototxt", "--snapshot", "gone.solverstate"), "gone.solverstate"),
        (("train", "--solver", "solver.prototxt", "--snapshot", "x", "-w", "y"), "give one of them"),
        (("train", "--solver", "solver.prototxt", "-w", "net.prototxt"), "this is text"),
        (("train", "--solver", "net.prototxt"), "net.prototxt:2:1: error: this is the definition of a net"),
        (("train", "--solver", "solver.prototxt", "--threads", "0"), "threads"),
        (("train", "--solver", "solver.prototxt", "--pin", "--target", "numpy"), "has no threads to bind"),
        (("test", "--model", "net.prototxt", "-w", "x", "--pin", "--target", "cuda"), "no threads to bind"),
        (("test", "--model", "net.prototxt", "-w", "gone.caffemodel"), "gone.caffemodel"),
        (("test", "--model", "net.prototxt", "-w", ","), "--weights"),
        (("parse-log", "net.prototxt"), "no lines of training"),
        (("plot", "gone.log"), "gone.log"),
    ],
)
def test_wrong_arguments_are_refused(netc, problem, arguments, part):
    done = netc(*arguments)
    assert (done.code, done.out) == (2, "")
    assert part in done.err
    assert "Traceback" not in done.err
    assert "internal error" not in done.err


def test_the_originals_flags_have_one_dash_or_two():
    for flags in (["-solver", "x"], ["--solver=x"], ["-solver=x"]):
        command = caffe.commands["train"]
        context = command.make_context("train", [*flags, "-sigint_effect", "none"])
        assert (context.params["solver"], context.params["sigint_effect"]) == ("x", "none")
    assert CliRunner().invoke(caffe, ["train"]).exit_code == 2


def test_flags_of_the_originals_other_actions_are_ignored_with_a_note(netc, problem):
    plain = netc("caffe", "train", "-solver", "solver.prototxt")
    assert "ignored" not in plain.err
    done = netc("caffe", "train", "-solver", "solver.prototxt", "-iterations", "1", "--phase=TEST")
    assert done.code == 0
    assert "note: caffe train does not use -iterations: ignored" in done.err
    assert "note: caffe train does not use -phase: ignored" in done.err
    assert "Iteration 8" in done.err
    weights = ("-weights", "run_iter_12.caffemodel")
    done = netc("caffe", "test", "-model", "net.prototxt", *weights, "-sigint_effect", "none")
    assert done.code == 0
    assert "note: caffe test does not use -sigint_effect: ignored" in done.err


def test_a_curve_is_drawn_from_top_to_bottom():
    curve = Curve("x", [(0, 3.0), (1, 2.0), (2, 1.0), (3, 0.0)])
    assert draw(curve, 16, 5, unicode=False) == [
        "         3 |#",
        "           | #",
        "           |  #",
        "         0 |   #",
        "            0  3",
    ]
    lines = draw(curve, 40, 5)
    assert len(lines) == 5
    assert any(0x2800 < ord(ch) < 0x2900 for ch in "".join(lines))
    assert draw(Curve("x"), 40, 5) == []
    assert len(draw(Curve("x", [(0, float("nan")), (1, 2.0)]), 40, 5)) == 5
    assert len(draw(Curve("x", [(5, 1.0)]), 40, 5)) == 5


def test_events_for_tensorboard_name_the_library_that_they_need(netc, problem):
    done = netc("train", "--solver", "solver.prototxt", "--iterations", "1", "--tensorboard", "events")
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        assert done.code == 2
        assert "netc[tensorboard]" in done.err
    else:
        assert done.code == 0
        assert list((problem / "events").iterdir())
