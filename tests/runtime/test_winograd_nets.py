"""Winograd's convolution in whole nets with trained weights: the best classes stay, the numbers nearly so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from netc.runtime.module import Module

ROOT = Path(__file__).parents[2]
LENET = ROOT / "examples" / "lenet"
NSFW = ROOT.parent / "shared" / "zoo" / "open_nsfw"


def kernels(module: Module) -> set[str]:
    return {
        op.name for op in module.compiled.tensor.func("main").ops for op in (op.body.ops if op.body else [op])
    }


def both(net: Path, weights: Path, images: int) -> tuple[Module, Module]:
    """The net with Winograd's convolution and without."""
    shape = netc.compile(net).compiled.inputs[0].type.static_shape
    shapes = {"data": (images, *shape[1:])}
    modules = [netc.compile(net, weights, input_shapes=shapes, exact=exact) for exact in (False, True)]
    assert "nn.winograd_conv" in kernels(modules[0])
    assert "nn.winograd_conv" not in kernels(modules[1])
    return modules[0], modules[1]


def test_lenet_ranks_the_classes_of_the_digits_as_without():
    image = pytest.importorskip("PIL.Image")
    files = sorted((LENET / "digits").glob("*.png"))
    digits = np.stack([np.asarray(image.open(f).convert("L"), np.float32)[None] / 256 for f in files])
    quick, exact = both(LENET / "lenet.prototxt", LENET / "lenet_iter_10000.caffemodel", len(files))
    one, other = quick.run(data=digits)["prob"], exact.run(data=digits)["prob"]
    np.testing.assert_array_equal(np.argsort(-one)[:, :5], np.argsort(-other)[:, :5])
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.skipif(not NSFW.is_dir(), reason="the collection of models is not beside the project")
def test_a_resnet_with_trained_weights_gives_the_scores_that_it_gives_without():
    quick, exact = both(NSFW / "deploy.prototxt", NSFW / "resnet_50_1by2_nsfw.caffemodel", 1)
    pixels = np.random.default_rng(0).uniform(-120, 130, (1, 3, 224, 224)).astype(np.float32)
    (one,), (other,) = quick.run(data=pixels).values(), exact.run(data=pixels).values()
    np.testing.assert_allclose(one, other, atol=1e-4)
