"""DummyData whose filler draws: new values in every run, by the filler's law, the same for the same seed."""

from statistics import NormalDist

import h5py
import numpy as np
import pytest

import netc
from netc.ir.diagnostics import NetcError
from netc.runtime.solver.solver import Solver

FILLERS = [
    'type: "uniform" min: -1 max: 3',
    'type: "gaussian" mean: 1 std: 2',
    'type: "gaussian" std: 1 sparse: 3',
    'type: "xavier"',
    'type: "msra" variance_norm: FAN_OUT',
    'type: "positive_unitball"',
]


def dummy(filler, *shape):
    extents = " ".join(f"dim: {extent}" for extent in shape)
    return (
        'layer { name: "d" type: "DummyData" top: "x" dummy_data_param { '
        f"shape {{ {extents} }} data_filler {{ {filler} }} }} }}\n"
    )


def drawn(filler, *shape, **options):
    return netc.compile(dummy(filler, *shape), **options).run()["x"]


@pytest.mark.parametrize("filler", FILLERS)
def test_every_run_draws_anew_and_equal_seeds_draw_equal_values(filler):
    first, second = (netc.compile(dummy(filler, 6, 5)) for _ in range(2))
    runs = [first.run()["x"].copy() for _ in range(3)]
    assert not np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[1], runs[2])
    for run in runs:
        np.testing.assert_array_equal(second.run()["x"], run)
    first.seed(5)
    assert not np.array_equal(first.run()["x"], runs[0])


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("opt_level", [0, 3])
def test_compiled_draws_are_those_of_the_reference(filler, opt_level):
    shape = (13, 7, 5)
    expected = drawn(filler, *shape, target="numpy")
    np.testing.assert_allclose(drawn(filler, *shape, opt_level=opt_level), expected, rtol=1e-5, atol=1e-6)


def test_uniform_values_fill_their_range_evenly():
    values = drawn('type: "uniform" min: -1 max: 3', 40000)
    assert values.min() >= -1
    assert values.max() <= 3
    np.testing.assert_allclose(np.histogram(values, 8)[0] / values.size, 1 / 8, atol=0.01)


def test_normal_values_have_the_quantiles_of_the_law():
    values = np.sort(drawn('type: "gaussian" mean: 1 std: 2', 200000))
    law = NormalDist(1, 2)
    for share in (0.001, 0.02, 0.16, 0.5, 0.84, 0.98, 0.999):
        found = law.cdf(float(values[int(share * values.size)]))
        assert found == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / values.size))
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("filler", "variance"),
    [
        ('type: "xavier"', 1 / 100),
        ('type: "xavier" variance_norm: AVERAGE', 1 / 300),
        ('type: "msra" variance_norm: FAN_OUT', 2 / 500),
    ],
)
def test_the_variance_follows_from_the_shape(filler, variance):
    assert drawn(filler, 100, 20, 5).var() == pytest.approx(variance, rel=0.05)


def test_sparse_values_are_mostly_zero():
    values = drawn('type: "gaussian" std: 1 sparse: 10', 100, 300)
    assert np.mean(values != 0) == pytest.approx(0.1, abs=0.01)
    assert values[values != 0].std() == pytest.approx(1, abs=0.05)


def test_values_of_the_positive_unitball_sum_to_one_for_every_output():
    values = drawn('type: "positive_unitball"', 5, 3, 4)
    assert values.min() >= 0
    np.testing.assert_allclose(values.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_sizes_may_be_symbols_where_the_law_does_not_depend_on_them():
    text = dummy('type: "gaussian" std: 1', 2, 3)
    text += 'layer { name: "in" type: "Input" top: "y" input_param { shape { dim: 2 dim: 3 } } }\n'
    text += 'layer { name: "sum" type: "Eltwise" bottom: "x" bottom: "y" top: "s" }\n'
    shapes = {"x": ("N", 3), "y": ("N", 3)}
    module = netc.compile(text, input_shapes=shapes, keep=["x"])
    for size in (2, 7):
        y = np.ones((size, 3), np.float32)
        found = module.run(y=y)["s"]
        np.testing.assert_allclose(found, module.blob("x") + 1, rtol=1e-6)
        assert len(np.unique(found)) == found.size
    with pytest.raises(NetcError, match="the filler 'xavier' needs a shape of numbers"):
        netc.compile(text.replace('"gaussian" std: 1', '"xavier"'), input_shapes=shapes)


NET = (
    'name: "line"\n'
    + dummy('type: "gaussian" std: 1', 8, 4)
    + """
layer { name: "teacher" type: "InnerProduct" bottom: "x" top: "t" param { lr_mult: 0 } param { lr_mult: 0 }
        inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }
layer { name: "pupil" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""
)
SOLVER = (
    'net: "net.prototxt" base_lr: 0.2 lr_policy: "fixed" random_seed: 4 max_iter: 60 snapshot_prefix: "run"\n'
)


def test_training_sees_new_data_in_every_iteration_and_a_resumed_run_sees_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    whole = Solver(SOLVER)
    whole.step(20)
    whole.snapshot()
    whole.step(40)
    # only with new data does the pupil learn what the teacher does
    np.testing.assert_allclose(whole.params["pupil"][0], whole.params["teacher"][0], atol=1e-3)
    resumed = Solver(SOLVER.replace("random_seed: 4", ""))
    resumed.restore("run_iter_20.solverstate")
    resumed.step(40)
    for layer, arrays in whole.params.items():
        for a, b in zip(arrays, resumed.params[layer], strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_snapshot_without_the_state_of_random_numbers_goes_on_with_those_of_the_iteration(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    text = SOLVER + "snapshot_format: HDF5 iter_size: 2 momentum: 0.5\n"
    whole = Solver(text)
    whole.step(5)
    whole.snapshot()
    whole.step(3)
    with h5py.File("run_iter_5.solverstate.h5", "r+") as file:
        del file["netc_resume"]
    resumed = Solver(text)
    resumed.restore("run_iter_5.solverstate.h5")
    resumed.step(3)
    np.testing.assert_array_equal(resumed.params["pupil"][0], whole.params["pupil"][0])
