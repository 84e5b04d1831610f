"""Loss layers of forks against loops over the published formulas."""

import math

import numpy as np
import pytest

RNG = np.random.default_rng(7)
SHAPE = (3, 4, 2, 2)
A, B, INSIDE, OUTSIDE = (RNG.normal(size=SHAPE).astype("f4") for _ in range(4))


def loss(kind: str, bottoms: str, settings: str = "", tops: str = "l") -> str:
    names = " ".join([f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()])
    return f'layer {{ name: "l" type: "{kind}" {names} {settings} }}'


def smooth(d: float, sigma: float) -> float:
    """Girshick 2015, equation 3, with the sigma of Ren 2015."""
    return (sigma * d) ** 2 / 2 if abs(d) < 1 / sigma**2 else abs(d) - 0.5 / sigma**2


def total(sigma: float, inside=None, outside=None) -> float:
    """Element by element."""
    result = 0.0
    for at in np.ndindex(SHAPE):
        d = float(A[at] - B[at]) * (1 if inside is None else float(inside[at]))
        result += smooth(d, sigma) * (1 if outside is None else float(outside[at]))
    return result


@pytest.mark.parametrize("sigma", [1, 3, 0.5])
def test_the_smooth_loss_of_fast_rcnn_weighs_inside_and_outside(run_layer, sigma):
    text = loss("SmoothL1Loss", "a b i o", f"smooth_l1_loss_param {{ sigma: {sigma} }}")
    (found,) = run_layer(text, a=A, b=B, i=INSIDE, o=OUTSIDE)
    assert found.shape == ()
    np.testing.assert_allclose(found, total(sigma, INSIDE, OUTSIDE) / 3, rtol=1e-5)


def test_the_smooth_loss_of_ssd_weighs_inside_only(run_layer):
    np.testing.assert_allclose(run_layer(loss("SmoothL1Loss", "a b"), a=A, b=B)[0], total(1) / 3, rtol=1e-5)
    (found,) = run_layer(loss("SmoothL1Loss", "a b i"), a=A, b=B, i=INSIDE)
    np.testing.assert_allclose(found, total(1, INSIDE) / 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "divisor"),
    [
        ("", 12),
        ("loss_param { normalization: FULL }", 12),
        ("loss_param { normalize: false }", 3),
        ("loss_param { normalization: NONE }", 1),
        ("loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 128 }", 128),
    ],
)
def test_the_smooth_loss_of_regions_divides_as_its_mode_says_and_gives_each_position(
    run_layer, settings, divisor
):
    text = loss("SmoothL1LossOHEM", "a b i", settings, "l e")
    found, each = run_layer(text, a=A, b=B, i=INSIDE)
    np.testing.assert_allclose(found, total(1, INSIDE) / divisor, rtol=1e-5)
    assert each.shape == (3, 1, 2, 2)
    by_hand = sum(smooth(float(INSIDE[1, c, 0, 1] * (A[1, c, 0, 1] - B[1, c, 0, 1])), 1) for c in range(4))
    np.testing.assert_allclose(each[1, 0, 0, 1], by_hand, rtol=1e-5)


def test_the_softmax_loss_of_regions_gives_that_of_each(run_layer):
    label = np.array([0, 2, 3], "f4")
    x = A[:, :, 0, 0]
    text = loss("SoftmaxWithLossOHEM", "x label", "loss_param { ignore_label: 2 }", "l p e")
    found, p, each = run_layer(text, x=x, label=label)
    by_hand = [
        -math.log(math.exp(x[n, int(c)]) / sum(math.exp(v) for v in x[n])) for n, c in enumerate(label)
    ]
    by_hand[1] = 0
    np.testing.assert_allclose(each, by_hand, rtol=1e-5)
    np.testing.assert_allclose(found, sum(by_hand) / 2, rtol=1e-5)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (loss("SmoothL1Loss", "a b", "smooth_l1_loss_param { sigma: @0 }"), "sigma must be positive, got 0"),
        (
            loss("SmoothL1Loss", "a c").replace('bottom: "c"', 'bottom: @"c"'),
            "all inputs must have one size: got 3x4x2x2 and 3x4",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, a=SHAPE, b=SHAPE, c=(3, 4)) == message
