"""The shipped LeNet folder and the MNIST subset."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
LENET = ROOT / "examples" / "lenet"


def test_ten_grey_digits():
    assert sorted(path.name for path in (LENET / "digits").glob("*.png")) == [f"{d}.png" for d in range(10)]
    for path in (LENET / "digits").glob("*.png"):
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (28, 28))


def test_labels_name_the_digits():
    assert (LENET / "labels.txt").read_text().split() == [str(d) for d in range(10)]


@pytest.mark.parametrize("digit", range(10))
def test_digit_is_the_first_of_its_kind_in_the_subset(digit):
    with np.load(ROOT / "tests" / "data" / "mnist_subset.npz") as subset:
        index = int(np.flatnonzero(subset["labels"] == digit)[0])
        with Image.open(LENET / "digits" / f"{digit}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), subset["images"][index])


def test_licences_are_beside():
    assert "Redistribution and use" in (LENET / "LICENSE").read_text()
    for path in (LENET / "digits" / "LICENSE.md", ROOT / "tests" / "data" / "mnist_subset.LICENSE.md"):
        assert "Attribution-ShareAlike 3.0" in path.read_text()
