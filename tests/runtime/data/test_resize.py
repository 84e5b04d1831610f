"""Resizing of bytes: OpenCV's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from small_data_sets import pixels

from netc.runtime.data.resize import resize

SIZES = [
    (7, 9, 7, 9),
    (4, 6, 8, 3),
    (10, 14, 5, 7),
    (1, 5, 6, 2),
    (3, 1, 2, 9),
    (33, 50, 22, 31),
    (2, 2, 17, 17),
]


@pytest.mark.parametrize(("height", "width", "new_height", "new_width"), SIZES)
def test_pixels_lie_within_one_of_the_exact_interpolation(height, width, new_height, new_width):
    (image,) = pixels(1, (3, height, width))

    def taps(old, new):
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        return np.maximum(0, 1 - np.abs(at[:, np.newaxis] - np.arange(old)))

    exact = taps(height, new_height) @ image @ taps(width, new_width).T
    assert np.abs(resize(image, new_height, new_width) - exact).max() < 1


def test_numbers_are_those_of_opencv():
    # cv2.resize of OpenCV 4.14, INTER_LINEAR
    image = np.arange(0, 240, 20, dtype=np.uint8).reshape(1, 3, 4)
    expected = [[[3, 30, 57], [35, 62, 89], [83, 110, 137], [131, 158, 185], [163, 190, 217]]]
    assert resize(image, 5, 3).tolist() == expected


@pytest.mark.parametrize(("height", "width", "new_height", "new_width"), SIZES)
def test_every_pixel_equals_opencv_where_it_is_installed(height, width, new_height, new_width):
    cv2 = pytest.importorskip("cv2")
    (image,) = pixels(1, (3, height, width))
    expected = cv2.resize(image.transpose(1, 2, 0), (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize(image, new_height, new_width), expected.transpose(2, 0, 1))
