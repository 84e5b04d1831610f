import numpy as np
import pytest

import netc
from netc.frontend.weights import load_weights
from netc.ir.diagnostics import NetcError
from netc.runtime.solver.action import Action
from netc.runtime.solver.reports import Reporter
from netc.runtime.solver.solver import Solver


class Everything(Reporter):
    def __init__(self):
        self.calls = []
        self.messages = []

    def on_iteration(self, report):
        self.calls.append(("iteration", report.iteration))

    def on_test(self, report):
        self.calls.append(("test", report.iteration, report.net))

    def on_snapshot(self, report):
        self.calls.append(("snapshot", report.iteration))

    def on_message(self, text):
        self.messages.append(text)


def test_training_lowers_the_loss_and_the_test_net_sees_it(solver_file):
    solver = netc.Solver(solver_file(max_iter="60"))
    (test_net,) = solver.test_nets
    before, _ = test_net.test(3)
    solver.solve()
    after, outputs = test_net.test(3)
    assert after < 0.5 * before
    assert outputs.arrays["accuracy"] > 0.8


def test_a_net_stands_still_where_its_rates_are_zero(solver_file):
    solver = Solver(solver_file())
    fixed = [array.copy() for array in solver.params["fixed"]]
    solver.step(5)
    for a, b in zip(fixed, solver.params["fixed"], strict=True):
        np.testing.assert_array_equal(a, b)


def test_reporters_hear_everything_in_order(solver_file):
    heard = Everything()
    Solver(solver_file("snapshot: 2", max_iter="4", test_interval="2"), reporters=[heard]).solve()
    assert heard.calls == [
        ("test", 0, 0), ("iteration", 0), ("iteration", 1), ("snapshot", 2),
        ("test", 2, 0), ("iteration", 2), ("iteration", 3), ("snapshot", 4), ("test", 4, 0),
    ]  # fmt: skip


def test_callbacks_get_what_was_measured(solver_file):
    losses, tests, files = [], [], []
    solver = Solver(solver_file("snapshot: 3", max_iter="4", test_interval="4"))
    solver.add_callbacks(
        on_iteration=lambda report: losses.append(report.loss),
        on_test=lambda report: tests.append(float(report.outputs.arrays["accuracy"])),
        on_snapshot=lambda report: files.append(report.state),
    )
    solver.solve()
    assert len(losses) == 4
    assert solver.loss == pytest.approx(np.mean(losses[1:]))
    assert len(tests) == 2
    assert files == ["run_iter_3.solverstate"]


def test_without_test_initialization_the_first_test_waits(solver_file):
    heard = Everything()
    path = solver_file("test_initialization: false", max_iter="4", test_interval="2")
    Solver(path, reporters=[heard]).solve()
    assert [call for call in heard.calls if call[0] == "test"] == [("test", 2, 0), ("test", 4, 0)]


def test_an_edited_parameter_is_what_the_next_iteration_starts_from(solver_file):
    solver = Solver(solver_file(momentum="0"))
    solver.step(2)
    bias = solver.params["ip2"][1]
    bias[...] = 100.0
    solver.step(1)
    assert abs(bias - 100.0).max() < 1.0
    bias[0] = -1000.0
    # the test nets have the same parameter
    assert solver.test_nets[0].params["ip2"][1][0] == -1000.0


def test_equal_seeds_give_equal_runs_and_a_drawn_seed_is_said(solver_file):
    first, second = Solver(solver_file()), Solver(solver_file())
    first.step(3)
    second.step(3)
    np.testing.assert_array_equal(first.params["ip1"][0], second.params["ip1"][0])
    heard = Everything()
    drawn = Solver(solver_file(random_seed="-1"), reporters=[heard])
    assert f"note: random_seed: {drawn.seed} was drawn, as the solver states none" in heard.messages
    given = Solver(solver_file(random_seed="-1"), seed=drawn.seed)
    np.testing.assert_array_equal(drawn.params["ip1"][0], given.params["ip1"][0])


def test_weights_to_start_from_come_from_the_solver_or_its_caller(solver_file):
    first = Solver(solver_file())
    first.step(2)
    first.save("a.caffemodel")
    wanted = load_weights("a.caffemodel")["ip1"][0]
    for solver in (
        Solver(solver_file('weights: "a.caffemodel"', random_seed="8")),
        Solver(solver_file(random_seed="8"), weights="a.caffemodel"),
        Solver(solver_file('weights: "gone.caffemodel"'), weights=["a.caffemodel"]),
    ):
        np.testing.assert_array_equal(solver.params["ip1"][0], wanted)
        np.testing.assert_array_equal(solver.test_nets[0].params["ip1"][0], wanted)


def test_an_input_without_a_data_layer_is_given_by_the_caller(folder):
    (folder / "fed.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 4 dim: 2 } '
        "shape { dim: 4 dim: 1 } } }\n"
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 1 } }\n'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }\n'
    )
    text = 'net: "fed.prototxt" base_lr: 0.5 lr_policy: "fixed" max_iter: 200\n'
    with pytest.raises(NetcError, match="nothing makes data for the input 'x'"):
        Solver(text).step(1)
    rng = np.random.default_rng(0)

    def give():
        x = rng.normal(size=(4, 2)).astype("f4")
        return {"x": x, "t": x @ np.array([[2.0], [-1.0]], "f4") + 3}

    solver = Solver(text, inputs=give)
    solver.step(200)
    np.testing.assert_allclose(solver.params["ip"][0], [[2, -1]], atol=1e-3)
    np.testing.assert_allclose(solver.params["ip"][1], [3], atol=1e-3)


def test_a_loss_that_another_layer_reads_or_that_has_no_name_counts(folder):
    (folder / "odd.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 1 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 1 } }\n'
        'layer { name: "l1" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "l1" loss_weight: 3 }\n'
        'layer { name: "twice" type: "Power" bottom: "l1" top: "out" power_param { scale: 2 } }\n'
        'layer { name: "l2" type: "EuclideanLoss" bottom: "ip" bottom: "t" loss_weight: 5 }\n'
    )
    one = np.ones((2, 1), "f4")
    solver = Solver(
        'net: "odd.prototxt" base_lr: 0.0 lr_policy: "fixed"\n', inputs=lambda: {"x": one, "t": one}
    )
    solver.step(1)
    assert solver.loss == pytest.approx(8 * 0.5)  # ip is 0: a loss of 1/2
    assert set(solver.net.objective.outputs(solver.net.results).arrays) == {"out"}


def test_the_place_for_snapshots_is_checked_before_the_training(solver_file):
    path = solver_file("snapshot: 5", snapshot_prefix='"gone/run"')
    with pytest.raises(NetcError, match="the folder 'gone' for snapshots does not exist"):
        Solver(path)
    quiet = Solver(solver_file(snapshot_prefix='"gone/run"'))
    quiet.step(1)
    with pytest.raises(NetcError, match="does not exist"):
        quiet.snapshot()


def test_the_details_of_the_last_iteration_are_those_of_that_iteration(solver_file):
    plain, detailed = Solver(solver_file()), Solver(solver_file())
    plain.remember = True
    before = plain.params["ip2"][0].copy()
    plain.step(1)
    after = plain.params["ip2"][0].copy()
    details = plain.net.look_closer()
    np.testing.assert_array_equal(plain.params["ip2"][0], after)
    value = next(i.value.name for i in plain.net.net.params if (i.layer, i.index) == ("ip2", 0))
    np.testing.assert_allclose(before - details.steps[value], after, atol=1e-7)
    assert details.blobs["data"].shape == (4, 6)
    assert details.gradients["ip1"].shape == (4, 8)
    assert "data" not in details.gradients
    detailed.detailed = True
    detailed.step(1)
    for name, array in detailed.net.details.blobs.items():
        np.testing.assert_allclose(array, details.blobs[name], atol=1e-6)
    plain.step(1)
    detailed.step(1)
    np.testing.assert_allclose(plain.params["ip1"][0], detailed.params["ip1"][0], atol=1e-6)


def test_after_a_stop_during_a_test_training_and_testing_go_on(solver_file):
    tests = []
    solver = Solver(solver_file())
    solver.add_callbacks(on_test=lambda report: tests.append(report.iteration))
    solver.action = lambda: Action.STOP
    solver.step(2)
    assert (solver.iter, tests) == (0, [])  # stopped in the test before the first iteration
    solver.action = lambda: Action.NONE
    solver.test_all()
    assert tests == [0]
    solver.action = lambda: Action.STOP
    solver.step(2)
    solver.action = lambda: Action.NONE
    solver.step(2)
    assert (solver.iter, tests) == (2, [0, 0])


def test_without_max_iter_a_warning_says_that_nothing_is_trained(solver_file):
    path = solver_file()
    path.write_text(path.read_text().replace("max_iter: 20", ""))
    heard = []

    class Messages(Reporter):
        def on_message(self, text):
            heard.append(text)

    solver = Solver(path, reporters=[Messages()])
    solver.solve(iterations=1)
    assert not any("max_iter" in text for text in heard)
    solver = Solver(path, reporters=[Messages()])
    solver.solve()
    assert solver.iter == 0
    assert "warning: the solver has no max_iter: it trains 0 iterations" in heard


@pytest.mark.parametrize("iterations", [1.5, "3", None])
def test_a_number_of_iterations_that_is_none_is_refused(solver_file, iterations):
    with pytest.raises(NetcError, match="the number of iterations is an integer"):
        Solver(solver_file()).step(iterations)


def test_inputs_that_no_function_gives_are_refused(solver_file):
    with pytest.raises(NetcError, match="inputs is a function"):
        Solver(solver_file(), inputs={"data": [1]})
    with pytest.raises(NetcError, match="gave 5; expected arrays by name"):
        Solver(solver_file(), inputs=lambda: 5).step(1)


def test_a_limit_of_memory_may_have_a_unit(solver_file):
    with pytest.raises(NetcError, match="more than the limit of 1 kB"):
        Solver(solver_file(), memory_limit="1kB")
    assert Solver(solver_file(), memory_limit="1MB").net.step.recomputation.segments == 1
