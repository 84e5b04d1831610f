"""The matrices of Winograd's convolution are exact."""

from __future__ import annotations

from fractions import Fraction

import pytest

from netc.ir.winograd_matrices import SIZES, Matrix, winograd


def times(matrix: Matrix, vector: list[Fraction]) -> list[Fraction]:
    return [sum((m * v for m, v in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


@pytest.mark.parametrize(("tile", "taps"), SIZES)
def test_they_compute_every_product_of_a_tap_and_an_input_exactly(tile: int, taps: int) -> None:
    matrices = winograd(tile, taps)
    for tap in range(taps):
        weight = times(matrices.weight, [Fraction(int(i == tap)) for i in range(taps)])
        for at in range(matrices.extent):
            inputs = times(matrices.input, [Fraction(int(i == at)) for i in range(matrices.extent)])
            found = times(matrices.output, [w * x for w, x in zip(weight, inputs, strict=True)])
            assert found == [int(out + tap == at) for out in range(tile)]


@pytest.mark.parametrize(("tile", "taps"), SIZES)
def test_opposite_points_differ_in_signs_only(tile: int, taps: int) -> None:
    matrices = winograd(tile, taps)
    columns = list(zip(*matrices.output, strict=True))
    for first in range(1, matrices.extent - 1, 2):
        for power, (plus, minus) in enumerate(zip(columns[first], columns[first + 1], strict=True)):
            assert minus == plus * (-1) ** power
        for one, other in zip(matrices.input[first], matrices.input[first + 1], strict=True):
            assert abs(one) == abs(other)
