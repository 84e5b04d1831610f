"""Logs: the original's tools find in them what they look for."""

import json
import re
from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest

from netc.ir.diagnostics import NetcError
from netc.runtime.solver import reports
from netc.runtime.solver.caffe_log import CaffeLog
from netc.runtime.solver.curves import MOST_POINTS, Curves
from netc.runtime.solver.json_log import JsonLog
from netc.runtime.solver.read_log import column_names, read_log
from netc.runtime.solver.solver import Solver

# what parse_log.py and its kin search for
ITERATION = re.compile(r"Iteration (\d+)")
TRAIN_OUTPUT = re.compile(r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)")
TEST_OUTPUT = re.compile(r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)")
RATE = re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)")


@pytest.fixture
def logged(solver_file):
    """The lines of a run of 20 iterations in both formats, and what was reported."""
    caffe, js, curves = [], [], Curves()
    path = solver_file("snapshot: 15 test_compute_loss: true")
    reporters = [CaffeLog(caffe.append), JsonLog(js.append), curves]
    Solver(path, reporters=reporters).solve()
    return caffe, js, curves


def test_every_line_has_the_prefix_of_glog(logged):
    caffe, _, _ = logged
    for line in caffe:
        date, clock, process, place = line.split()[:4]
        assert re.fullmatch(r"I\d{4}", date)
        datetime.strptime(clock, "%H:%M:%S.%f")
        assert process.isdigit()
        assert re.fullmatch(r"\w+\.cpp:\d+\]", place)


def test_the_lines_are_those_of_the_original_in_its_order(logged):
    texts = [line.split("] ", 1)[1] for line in logged[0]]
    shape = [re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "N", text) for text in texts]
    memory = "N B for activations at their peak, N B for inputs and outputs"
    assert (
        shape[0]
        == f"note: a training step takes N kB: N kB for parameters, their history and other states, {memory}"
    )
    assert shape[1:3] == ["Solving small", "Learning Rate Policy: inv"]
    tested = [
        "Iteration N, Testing net (#N)",
        "Test loss: N",
        "    Test net output #N: accuracy = N",
        "    Test net output #N: loss = N (* N = N loss)",
    ]
    shown = [
        "Iteration N (N iter/s, Ns/N iters), loss = N",
        "    Train net output #N: loss = N (* N = N loss)",
        "Iteration N, lr = N",
    ]
    saved = ["Snapshotting to binary proto file run_iter_N.caffemodel"]
    saved += ["Snapshotting solver state to binary proto file run_iter_N.solverstate"]
    last = ["Iteration N, loss = N", *tested, "Optimization Done.", "Optimization Done."]
    assert shape[3:] == [*tested, *shown, *shown, *tested, *shown, *saved, *shown, *last]
    assert texts[7].startswith("Iteration 0 (0 iter/s, ")


def test_the_expressions_of_the_originals_tools_match(logged):
    text = "\n".join(logged[0])
    curves = logged[2]
    assert {int(n) for n in ITERATION.findall(text)} == {0, 5, 10, 15, 20}
    assert len(TRAIN_OUTPUT.findall(text)) == 4
    rates = [float(found[0]) for found in RATE.findall(text)]
    assert rates == [float(f"{0.05 * (1 + 0.01 * i) ** -0.75:g}") for i in (0, 5, 10, 15)]
    accuracies = [float(value) for _, name, value in TEST_OUTPUT.findall(text) if name == "accuracy"]
    assert accuracies == pytest.approx(curves.found["test accuracy"].values, rel=1e-5)


def test_gradients_that_were_clipped_are_logged_in_every_such_iteration(solver_file, tmp_path):
    lines, reported = [], []
    solver = Solver(solver_file("clip_gradients: 0.05", max_iter="7"), reporters=[CaffeLog(lines.append)])
    solver.add_callbacks(on_iteration=lambda report: reported.append(report.clipping))
    solver.solve()
    assert len(reported) == 7
    texts = [line.split("] ", 1)[1] for line in lines]
    place = next(i for i, text in enumerate(texts) if text.startswith("Gradient clipping"))
    assert texts[place - 1] == "Iteration 0, lr = 0.05"
    found = [text for text in texts if text.startswith("Gradient clipping")]
    assert found == [
        f"Gradient clipping: scaling down gradients (L2 norm {c.norm:g} > 0.05) by scale factor {0.05 / c.norm:g}"
        for c in reported
        if c is not None
    ]
    assert len(found) > 3
    # the tools that read logs pass over them
    (tmp_path / "clipped.log").write_text("\n".join(lines))
    assert [row["NumIters"] for row in read_log(tmp_path / "clipped.log").train] == [0, 5]


def test_gradients_below_the_limit_are_not_logged_as_clipped(solver_file):
    lines = []
    Solver(solver_file("clip_gradients: 1e6", max_iter="3"), reporters=[CaffeLog(lines.append)]).solve()
    assert not [line for line in lines if "clipping" in line]


def test_a_log_is_read_back_in_either_format(logged, tmp_path):
    caffe, js, curves = logged
    (tmp_path / "caffe.log").write_text("some shell output\n" + "\n".join(caffe))
    (tmp_path / "json.log").write_text("\n".join(js))
    logs = read_log(tmp_path / "caffe.log"), read_log(tmp_path / "json.log")
    for log in logs:
        assert column_names(log.train) == ["NumIters", "Seconds", "LearningRate", "loss"]
        assert column_names(log.test) == ["NumIters", "Seconds", "LearningRate", "accuracy", "loss"]
        assert [row["NumIters"] for row in log.train] == [0, 5, 10, 15]
        assert [row["NumIters"] for row in log.test] == [0, 10, 20]
        accuracies = [row["accuracy"] for row in log.test]
        assert accuracies == pytest.approx(curves.found["test accuracy"].values, rel=1e-5)
    # the last loss is that of the pass after the last update
    assert logs[0].loss.iterations == [0, 5, 10, 15, 20]
    assert logs[0].loss.values[:4] == pytest.approx(logs[1].loss.values, rel=1e-5)


def test_the_events_of_the_json_log_are_objects_with_a_time(logged):
    events = [json.loads(line) for line in logged[1]]
    note, *events = events
    assert note["event"] == "message"
    assert [e["event"] for e in events] == [
        "start", "test", "train", "train", "test", "train", "snapshot", "train", "final_loss", "test", "end"
    ]  # fmt: skip
    assert all(a["time"] <= b["time"] for a, b in pairwise(events))
    assert events[6]["state"] == "run_iter_15.solverstate"
    assert set(events[1]["outputs"]) == {"accuracy", "loss"}


def test_a_loss_that_is_no_number_is_null_in_json_and_nan_in_the_log():
    lines, texts = [], []
    outputs = reports.Outputs(
        {"loss": np.float32(np.nan).reshape(()), "v": np.array([1, np.inf], "f4")}, {"loss": 1}
    )
    report = reports.IterationReport(3, np.nan, np.nan, 0.1, outputs, True, 1.0, 1, 1)
    JsonLog(lines.append).on_iteration(report)
    CaffeLog(texts.append).on_iteration(report)
    found = json.loads(lines[0])
    assert (found["loss"], found["outputs"]) == (None, {"loss": None, "v": [1.0, None]})
    assert texts[0].endswith("loss = nan")


def test_several_test_nets_have_columns_of_their_own(tmp_path):
    lines = []
    log = CaffeLog(lines.append)
    for net in (0, 1):
        log.on_test_start(5, net)
        log.on_test(
            reports.TestReport(5, net, None, reports.Outputs({"acc": np.float32(net).reshape(())}, {}))
        )
    (tmp_path / "two.log").write_text("\n".join(lines))
    (row,) = read_log(tmp_path / "two.log").test
    assert (row["acc"], row["#1 acc"]) == (0, 1)


def test_seconds_count_from_the_start_also_over_new_year(tmp_path):
    path = tmp_path / "x.log"
    path.write_text(
        "I1231 23:59:00.000000 1 solver.cpp:1] loading\n"
        "I1231 23:59:50.000000 1 solver.cpp:1] Solving net\n"
        "I0101 00:00:10.500000 1 solver.cpp:1] Iteration 100, loss = 1.5e-3\n"
        "I0101 00:00:10.500000 1 solver.cpp:1]     Train net output #0: loss = 2 (* 1 = 2 loss)\n"
        "I0101 00:00:10.500000 1 sgd_solver.cpp:1] Iteration 100, lr = 0.01\n"
    )
    log = read_log(path)
    assert log.train[0]["Seconds"] == pytest.approx(20.5)
    assert log.loss.values == [0.0015]


def test_a_file_that_is_no_log_is_refused(tmp_path):
    path = tmp_path / "x.log"
    path.write_bytes(b"\x00\xff hello\n")
    with pytest.raises(NetcError, match="no lines of training"):
        read_log(path)
    with pytest.raises(NetcError, match="No such file"):
        read_log(tmp_path / "gone.log")


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "train", "time": 1, "iteration": 1e400, "loss": 1, "outputs": {}}',
        '{"event": "train", "time": 1, "iteration": 1%s, "loss": 1, "outputs": {}}' % ("0" * 400),
        "Iteration 1%s, loss = 1" % ("0" * 5000),
        "Iteration 1, loss = 1.2.3",
        "Iteration 1, lr = 1..",
    ],
)
def test_a_number_that_cannot_be_read_is_refused_where_it_is(tmp_path, line):
    path = tmp_path / "x.log"
    path.write_text(f"Iteration 0, loss = 1\n{line}\n")
    with pytest.raises(NetcError, match=r"x\.log:2: a number in this line cannot be read"):
        read_log(path)


def test_debug_info_tells_the_mean_size_of_blobs_gradients_and_updates(solver_file):
    lines = []
    solver = Solver(
        solver_file("debug_info: true", max_iter="1", test_interval="99"), reporters=[CaffeLog(lines.append)]
    )
    before = {name: a.copy() for name, a in solver.net.store.arrays.items()}
    solver.solve()
    found = dict(line.split("]     [", 1)[1].rsplit(": ", 1) for line in lines if "]     [" in line)
    assert "Forward] Layer train, top blob data data" in found
    assert "Backward] Layer loss, bottom blob ip2 diff" in found
    start = np.mean(np.abs(before["ip1.weight"]))
    assert float(found["Forward] Layer ip1, param blob 0 data"]) == pytest.approx(start, rel=1e-4)
    gradients = solver.net.gradients
    for layer in ("ip1", "ip2"):
        for index, gradient in enumerate(gradients[layer]):
            mean = float(found[f"Backward] Layer {layer}, param blob {index} diff"])
            assert mean == pytest.approx(np.mean(np.abs(gradient)), rel=1e-4)
    assert not any("Layer fixed, param blob" in name and "diff" in name for name in found)
    flat = np.concatenate([a.reshape(-1) for arrays in gradients.values() for a in arrays if a is not None])
    data = np.concatenate([a.reshape(-1) for a in before.values()])
    data, flat = data.astype(np.float64), flat.astype(np.float64)
    norms = next(line for line in lines if "All net params" in line).split("L1 norm = ")[1]
    assert norms == (
        f"({np.abs(data).sum():g}, {np.abs(flat).sum():g}); "
        f"L2 norm = ({np.linalg.norm(data):g}, {np.linalg.norm(flat):g})"
    )
    assert not any("Update] Layer fixed" in name for name in found)
    value = next(info.value.name for info in solver.net.net.params if info.layer == "ip1")
    lost = np.mean(np.abs(before[value] - solver.net.store.arrays[value]))
    line = next(line for line in lines if "[Update] Layer ip1, param 0" in line)
    assert float(line.rsplit("diff: ", 1)[1]) == pytest.approx(lost, rel=1e-3)


def test_a_long_run_keeps_a_bounded_number_of_points():
    curves = Curves()
    outputs = reports.Outputs({}, {})
    for i in range(10 * MOST_POINTS):
        curves.on_iteration(reports.IterationReport(i, 1.0, float(i), 0.1, outputs, False, 0.0, 0, 0))
    points = curves.found["loss"].points
    assert MOST_POINTS // 4 < len(points) < MOST_POINTS
    assert points[0] == (0, 0.0)
    assert points[-1][0] > 9.9 * MOST_POINTS
    assert all(iteration == value for iteration, value in points)
