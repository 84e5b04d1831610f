"""Fillers follow Caffe's laws and are repeatable."""

from pathlib import Path

import numpy as np
import pytest

from netc.frontend.message import Message
from netc.frontend.text_format import parse_text
from netc.ir.diagnostics import NetcError
from netc.ir.location import Source
from netc.runtime.fillers import FILLERS, fill

GOLDENS = Path(__file__).parents[1] / "goldens"
SHAPE = (64, 32, 5, 5)
FAN_IN, FAN_OUT = 32 * 25, 64 * 25


def filler(text: str) -> Message:
    return parse_text(Source("<string>", text), "FillerParameter")


def filled(text: str, shape: tuple[int, ...] = SHAPE, name: str = "conv.weight", seed: int = 0):
    array = np.full(shape, np.nan, np.float32)
    fill(array, filler(text), name, seed)
    assert np.isfinite(array).all()
    return array


def test_no_filler_is_zeros():
    array = np.ones((2, 3), np.float32)
    fill(array, None, "w")
    np.testing.assert_array_equal(array, 0)


def test_the_default_filler_is_a_constant_zero():
    np.testing.assert_array_equal(filled(""), 0)


def test_constant_fills_with_its_value():
    np.testing.assert_array_equal(filled("value: 0.25", (3,)), 0.25)
    assert filled('type: "constant" value: 2', ()) == 2


def test_uniform_lies_between_its_bounds():
    array = filled('type: "uniform" min: -2 max: 4')
    assert array.min() >= -2
    assert array.max() < 4
    assert abs(array.mean() - 1) < 0.05
    assert abs(array.var() - 6**2 / 12) < 0.05


def test_gaussian_has_its_mean_and_deviation():
    array = filled('type: "gaussian" mean: 3 std: 2')
    assert abs(array.mean() - 3) < 0.05
    assert abs(array.std() - 2) < 0.05


def test_sparse_gaussian_keeps_so_many_inputs_of_every_output_on_average():
    array = filled('type: "gaussian" sparse: 16')
    assert abs(np.mean(array != 0) - 16 / 64) < 0.01


def test_positive_unitball_sums_to_one_for_every_output():
    array = filled('type: "positive_unitball"')
    assert array.min() >= 0
    np.testing.assert_allclose(array.reshape(64, -1).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("norm", "n"),
    [("", FAN_IN), ("FAN_IN", FAN_IN), ("FAN_OUT", FAN_OUT), ("AVERAGE", (FAN_IN + FAN_OUT) / 2)],
)
def test_xavier_and_msra_choose_their_variance_by_the_fan(norm, n):
    norm = f"variance_norm: {norm}" if norm else ""
    xavier = filled(f'type: "xavier" {norm}')
    assert np.abs(xavier).max() <= np.sqrt(3 / n)
    assert abs(xavier.var() * n - 1) < 0.05
    msra = filled(f'type: "msra" {norm}')
    assert abs(msra.var() * n / 2 - 1) < 0.05


def test_the_fans_of_an_inner_product_are_its_inputs_and_outputs():
    array = filled('type: "xavier" variance_norm: FAN_OUT', (10, 1000))
    assert np.sqrt(3 / 1000) < np.abs(array).max() <= np.sqrt(3 / 10)


def test_bilinear_is_the_originals():
    with np.load(GOLDENS / "deconvolution_group_bilinear.npz") as arrays:
        expected = arrays["param/deconvolution/0"]
    np.testing.assert_allclose(filled('type: "bilinear"', expected.shape), expected, rtol=1e-6)


def test_an_odd_bilinear_kernel_peaks_in_the_middle():
    np.testing.assert_allclose(filled('type: "bilinear"', (1, 1, 3, 3))[0, 0, 1], [0.5, 1, 0.5])


def test_random_values_depend_on_name_and_seed_only():
    text = 'type: "gaussian"'
    np.testing.assert_array_equal(filled(text), filled(text))
    assert not np.array_equal(filled(text), filled(text, name="other"))
    assert not np.array_equal(filled(text), filled(text, seed=1))


@pytest.mark.parametrize("kind", sorted(FILLERS))
def test_every_filler_takes_a_single_output(kind):
    filled(f'type: "{kind}"', (1, 1, 2, 2))


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ('type: "xaviar"', (2, 2), "<string>:1:7: error: unknown filler type 'xaviar'"),
        (
            'type: "bilinear"',
            (2, 2),
            "<string>:1:7: error: the bilinear filler needs a square kernel of 4 axes, got 2x2",
        ),
        ('type: "gaussian" sparse: 1', (), "<string>:1:26: error: sparse needs a parameter with axes"),
    ],
)
def test_a_bad_filler_is_a_located_error(text, shape, message):
    with pytest.raises(NetcError) as caught:
        filled(text, shape)
    assert caught.value.render().startswith(message)
