"""What callers do within an iteration: before it begins, and between gradients and update."""

import numpy as np
import pytest

import netc
from netc.ir.diagnostics import NetcError

MOMENTUM = {"SGD": "0.9", "Nesterov": "0.9", "AdaGrad": "0", "RMSProp": "0", "AdaDelta": "0.9", "Adam": "0.9"}
PLAIN = {"momentum": "0", "weight_decay": "0", "lr_policy": '"fixed"'}


def copies(solver):
    return {name: [array.copy() for array in arrays] for name, arrays in solver.params.items()}


@pytest.mark.parametrize("iter_size", [1, 2])
def test_the_gradients_that_are_seen_are_those_that_the_update_takes(solver_file, iter_size):
    solver = netc.Solver(solver_file(f"iter_size: {iter_size}", **PLAIN))
    seen = []
    solver.add_callbacks(
        on_gradients=lambda found: seen.append(
            {name: [a if a is None else a.copy() for a in arrays] for name, arrays in found.items()}
        )
    )
    before = copies(solver)
    solver.step(1)
    (gradients,) = seen
    assert gradients["fixed"] == [None, None]
    assert np.abs(gradients["ip1"][0]).max() > 1e-3
    for layer, rates in (("ip1", (0.05, 0.1)), ("ip2", (0.05, 0.05))):
        for index, rate in enumerate(rates):
            lost = before[layer][index] - solver.params[layer][index]
            np.testing.assert_allclose(lost, rate * gradients[layer][index] / iter_size, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("target", ["cpu", "numpy"])
def test_the_update_takes_edited_gradients(solver_file, target):
    solver = netc.Solver(solver_file(**PLAIN), target=target)

    def edit(gradients):
        for arrays in gradients.values():
            for array in arrays:
                if array is not None:
                    array[...] = 0
        gradients["ip2"][1][...] = [1, 2, 3]

    solver.add_callbacks(on_gradients=edit)
    before = copies(solver)
    solver.step(2)
    np.testing.assert_array_equal(solver.params["ip1"][0], before["ip1"][0])
    np.testing.assert_allclose(before["ip2"][1] - solver.params["ip2"][1], [0.1, 0.2, 0.3], rtol=1e-5)


@pytest.mark.parametrize("kind", MOMENTUM)
def test_who_only_looks_at_gradients_changes_nothing(solver_file, kind):
    path = solver_file(f'clip_gradients: 0.3 delta: 1e-6 type: "{kind}"', momentum=MOMENTUM[kind])
    plain, watched = netc.Solver(path), netc.Solver(path)
    norms = []
    watched.add_callbacks(on_gradients=lambda found: norms.append(float(np.linalg.norm(found["ip2"][0]))))
    plain.step(6)
    watched.step(6)
    assert len(norms) == 6
    assert min(norms) > 0
    for layer, arrays in plain.params.items():
        for a, b in zip(arrays, watched.params[layer], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_an_iteration_starts_behind_its_test_and_before_its_data(solver_file):
    solver = netc.Solver(solver_file("test_initialization: true", test_interval="2"))
    calls = []
    solver.add_callbacks(
        on_iteration_start=lambda: calls.append(("start", solver.iter, solver.net.feed.position)),
        on_gradients=lambda _: calls.append(("gradients", solver.iter, solver.net.feed.position)),
        on_iteration=lambda report: calls.append(("done", report.iteration, solver.net.feed.position)),
        on_test=lambda report: calls.append(("test", report.iteration)),
    )
    solver.step(2)
    assert calls == [
        ("test", 0), ("start", 0, 0), ("gradients", 0, 1), ("done", 0, 1),
        ("start", 1, 1), ("gradients", 1, 2), ("done", 1, 2),
    ]  # fmt: skip


def test_what_a_callback_raises_ends_the_training_before_the_update(solver_file):
    solver = netc.Solver(solver_file())
    before = copies(solver)

    def stop(_):
        raise RuntimeError("enough")

    solver.add_callbacks(on_gradients=stop)
    with pytest.raises(RuntimeError, match="enough"):
        solver.step(3)
    assert solver.iter == 0
    np.testing.assert_array_equal(solver.params["ip1"][0], before["ip1"][0])


def test_a_net_in_which_nothing_learns_has_no_gradients_to_show(solver_file, folder):
    net = (folder / "net.prototxt").read_text()
    frozen = net.replace(
        "inner_product_param { num_output: 3",
        "param { lr_mult: 0 } param { lr_mult: 0 } inner_product_param { num_output: 3",
    )
    frozen = frozen.replace(
        "param { lr_mult: 1 } param { lr_mult: 2 }", "param { lr_mult: 0 } param { lr_mult: 0 }"
    )
    (folder / "net.prototxt").write_text(frozen)
    solver = netc.Solver(solver_file())
    seen = []
    solver.add_callbacks(on_gradients=seen.append)
    solver.step(1)
    assert seen == [{"ip1": [None, None], "fixed": [None, None], "ip2": [None, None]}]


@pytest.mark.parametrize(
    "name", ["on_iteration", "on_iteration_start", "on_gradients", "on_test", "on_snapshot"]
)
def test_what_cannot_be_called_is_refused_at_once(solver_file, name):
    with pytest.raises(NetcError, match=f"{name} is a function, or None; got 5"):
        netc.Solver(solver_file()).add_callbacks(**{name: 5})


def test_a_limit_of_memory_too_small_for_gradients_is_told_before_the_training(solver_file):
    enough, too_few = 1 << 20, 0
    while enough - too_few > 16:
        middle = (enough + too_few) // 2
        try:
            netc.Solver(solver_file(), memory_limit=middle)
            enough = middle
        except NetcError:
            too_few = middle
    netc.Solver(solver_file(), memory_limit=enough).step(1)
    with pytest.raises(NetcError, match="more than the limit"):
        netc.Solver(solver_file("debug_info: true"), memory_limit=enough)
    with pytest.raises(NetcError, match="more than the limit"):
        netc.Solver(solver_file(), memory_limit=enough).add_callbacks(on_gradients=print)
