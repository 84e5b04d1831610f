"""Loss layers and Accuracy, against formulas in NumPy."""

import numpy as np
import pytest

from netc.backends.numpy_reference import run_func
from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.dim import symbol
from netc.ir.rewrite import bind_symbols

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 4, 3)).astype("f4")
LABEL = np.array([[0, 1, 3], [1, 1, 2]], "f4")
MODES = {"FULL": 6, "VALID": 3, "BATCH_SIZE": 2, "NONE": 1}


def loss(kind: str, settings: str = "", bottoms: str = "x label", tops: str = "l") -> str:
    names = " ".join([f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()])
    return f'layer {{ name: "l" type: "{kind}" {names} {settings} }}'


def softmax(x):
    raised = np.exp(x - x.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def picked(x):
    """x at the labels, (N, S)."""
    return np.take_along_axis(x, LABEL[:, np.newaxis].astype(int), 1)[:, 0]


@pytest.mark.parametrize("mode", MODES)
def test_the_softmax_loss_divides_as_its_mode_says(run_layer, mode):
    text = loss("SoftmaxWithLoss", f"loss_param {{ ignore_label: 1 normalization: {mode} }}", tops="l p")
    total, p = run_layer(text, x=X, label=LABEL)
    expected = np.where(LABEL == 1, 0, -np.log(picked(softmax(X)))).sum() / MODES[mode]
    assert total.shape == ()
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    np.testing.assert_allclose(p, softmax(X), rtol=1e-5)


@pytest.mark.parametrize(("normalize", "divisor"), [("true", 3), ("false", 2)])
def test_the_old_normalize_means_valid_or_batch_size(run_layer, normalize, divisor):
    text = loss("SoftmaxWithLoss", f"loss_param {{ ignore_label: 1 normalize: {normalize} }}")
    expected = np.where(LABEL == 1, 0, -np.log(picked(softmax(X)))).sum() / divisor
    np.testing.assert_allclose(run_layer(text, x=X, label=LABEL)[0], expected, rtol=1e-5)


def test_a_loss_of_ignored_labels_only_is_0(run_layer):
    text = loss("SoftmaxWithLoss", "loss_param { ignore_label: 1 }")
    assert run_layer(text, x=X, label=np.ones((2, 3)))[0] == 0


def test_the_sigmoid_loss_is_the_cross_entropy_of_the_sigmoid(run_layer):
    target = RNG.uniform(size=X.shape).astype("f4")
    s = 1 / (1 + np.exp(-X))
    terms = -(target * np.log(s) + (1 - target) * np.log(1 - s))
    for settings, divisor in (("", 2), ("normalization: FULL", 24), ("normalization: VALID", 24)):
        total, p = run_layer(
            loss("SigmoidCrossEntropyLoss", f"loss_param {{ {settings} }}", tops="l p"), x=X, label=target
        )
        np.testing.assert_allclose(total, terms.sum() / divisor, rtol=1e-5)
        np.testing.assert_allclose(p, s, rtol=1e-5)


def test_the_sigmoid_loss_ignores_a_target(run_layer):
    target = np.where(RNG.uniform(size=X.shape) < 0.3, -1, RNG.integers(0, 2, X.shape)).astype("f4")
    s = 1 / (1 + np.exp(-X))
    terms = np.where(target == -1, 0, -(target * np.log(s) + (1 - target) * np.log(1 - s)))
    text = loss("SigmoidCrossEntropyLoss", "loss_param { ignore_label: -1 normalization: VALID }")
    np.testing.assert_allclose(
        run_layer(text, x=X, label=target)[0], terms.sum() / (target != -1).sum(), rtol=1e-5
    )


def test_the_sigmoid_loss_of_large_inputs_is_finite(run_layer):
    (total,) = run_layer(loss("SigmoidCrossEntropyLoss"), x=[[1000.0, -1000.0]], label=[[1.0, 0.0]])
    assert total == 0


def test_the_legacy_contrastive_loss_takes_the_margin_from_the_square(run_layer):
    a, b, s = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3)), np.array([1, 0, 0, 1, 0])
    square = ((a - b) ** 2).sum(1)
    for legacy in (False, True):
        apart = np.maximum(4 - square, 0) if legacy else np.maximum(4 - np.sqrt(square), 0) ** 2
        text = loss(
            "ContrastiveLoss",
            f"contrastive_loss_param {{ margin: 4 legacy_version: {legacy} }}".lower(),
            "a b s",
        )
        expected = np.where(s == 1, square, apart).sum() / 10
        np.testing.assert_allclose(run_layer(text, a=a, b=b, s=s)[0], expected, rtol=1e-5)


def test_the_infogain_loss_weighs_the_logs_of_all_classes(run_layer):
    gain = RNG.uniform(size=(4, 4)).astype("f4")
    text = loss("InfogainLoss", "", "x label H", "l p")
    total, p = run_layer(text, x=X, label=LABEL, H=gain.reshape(1, 1, 4, 4))
    logs = np.log(softmax(X))
    expected = -sum(gain[int(LABEL[n, s])] @ logs[n, :, s] for n in range(2) for s in range(3)) / 6
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    np.testing.assert_allclose(p, softmax(X), rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "bottoms"),
    [("SoftmaxWithLoss", {"x": ("N", 4), "label": ("N",)}), ("EuclideanLoss", {"x": ("N", 4), "label": ("N", 4)}),
     ("SigmoidCrossEntropyLoss", {"x": ("N", 4), "label": ("N", 4)}), ("HingeLoss", {"x": ("N", 4), "label": ("N",)}),
     ("MultinomialLogisticLoss", {"x": ("N", 4), "label": ("N",)})],
)  # fmt: skip
def test_a_loss_of_a_batch_of_any_size_is_that_of_each_size(run_layer, kind, bottoms):
    heads = " ".join(f'layer {{ type: "Input" top: "{name}" }}' for name in bottoms)
    shapes = {name: tuple(symbol(d) if d == "N" else d for d in shape) for name, shape in bottoms.items()}
    net = import_net(load_net(heads + loss(kind)), input_shapes=shapes)
    for size in (1, 5):
        arrays = {n: RNG.integers(1, 3, [size, *s[1:]]).astype("f4") for n, s in bottoms.items()}
        (any_size,) = run_func(bind_symbols(net.module, {"N": size}).func("main"), arrays).values()
        np.testing.assert_allclose(any_size, run_layer(loss(kind), **arrays)[0], rtol=1e-6)


def test_losses_are_objectives_with_their_weights(imported):
    text = loss("SoftmaxWithLoss", "loss_weight: 0.5 loss_weight: 2", tops="l p")
    net = imported(text, x=(2, 3), label=(2,))
    assert [(term.value.name, term.weight) for term in net.losses] == [("l", 0.5), ("p", 2.0)]
    assert [term.weight for term in imported(loss("EuclideanLoss", "", "x x"), x=(2, 3)).losses] == [1.0]
    assert imported(loss("Accuracy"), x=(2, 3), label=(2,)).losses == ()


def test_a_loss_without_a_top_is_an_objective_still(imported):
    net = imported(loss("EuclideanLoss", "", "x x", ""), x=(2, 3))
    assert net.module.func("main").results == ()
    assert len(net.losses) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (loss("EuclideanLoss", "@loss_weight: 1 loss_weight: 1", "x x"), "expected one loss_weight for each top, 1, got 2"),
        (loss("SoftmaxWithLoss", "softmax_param { axis: @5 }"), "axis 5 is not an axis of an input with 3 axes"),
        (
            loss("SoftmaxWithLoss").replace('bottom: "label"', 'bottom: @"label"'),
            "needs one label a position: 6 for 2x4x3 with classes on axis 1, got 2x4",
        ),
        (loss("EuclideanLoss").replace('bottom: "label"', 'bottom: @"label"'), "both inputs must have one size: got 2x4x3 and 2x4"),
        (loss("HingeLoss").replace('bottom: "label"', 'bottom: @"label"'), "needs one label a row, 2, got 2x4"),
        (loss("Accuracy", "accuracy_param { axis: 2 top_k: @4 }"), "top_k must be at most the number of classes, 3, got 4"),
        (loss("InfogainLoss", "@infogain_loss_param { }"), "the matrix is missing: give source, or a third bottom"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    text = text.replace("@loss_weight: 1 loss", "loss_weight: @1 loss").replace(
        '@source: "h"', 'source: @"h"'
    )
    assert error_of(text, x=(2, 4, 3), label=(2, 4)) == message
