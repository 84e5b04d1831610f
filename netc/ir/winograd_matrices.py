"""The matrices of Winograd's convolution, in exact fractions.

``m`` outputs of a filter with ``r`` taps need ``a = m + r - 1`` products instead of ``m * r``::

    y = A^T ((G g) * (B^T d))        y: m, g: r, d: a

and in two dimensions ``Y = A^T ((G g G^T) * (B^T d B)) A``. It is the transpose of Toom and Cook's product of
polynomials, which multiplies their values at ``a - 1`` points and at infinity (S. Winograd, Arithmetic
Complexity of Computations, 1980; A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks,
2015).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction

Matrix = tuple[tuple[Fraction, ...], ...]

# zero, then pairs of opposite numbers: transforms share the work of a pair. Small ones keep the error small.
_POINTS = tuple(Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2"))
# (outputs of a tile, taps): those whose transforms need no more points
SIZES = ((2, 3), (4, 3), (6, 3), (2, 5), (4, 5))


@dataclass(frozen=True, slots=True)
class Winograd:
    """The matrices for ``tile`` outputs of ``taps``: ``output`` A^T [m,a], ``weight`` G [a,r], ``input`` B^T
    [a,a].

    ``extent`` is a. Rows of ``input`` and columns of ``output`` 2k+1 and 2k+2 belong to opposite points.
    """

    tile: int
    taps: int
    output: Matrix
    weight: Matrix
    input: Matrix

    @property
    def extent(self) -> int:
        """How many inputs, and products, ``tile`` outputs take."""
        return self.tile + self.taps - 1


@functools.cache
def winograd(tile: int, taps: int) -> Winograd:
    """The matrices for one of :data:`SIZES`."""
    extent = tile + taps - 1
    points = _POINTS[: extent - 1]
    zero, one = Fraction(0), Fraction(1)
    output = tuple((*(p**power for p in points), one if power == tile - 1 else zero) for power in range(tile))
    # the scale of each polynomial below goes to the weights, which are transformed once
    scales = [_product([p - q for q in points if q != p]) for p in points]
    weight = (
        *(tuple(p**power / scale for power in range(taps)) for p, scale in zip(points, scales, strict=True)),
        (zero,) * (taps - 1) + (one,),
    )
    input_ = (
        *((*_polynomial([q for q in points if q != p]), zero) for p in points),
        tuple(_polynomial(list(points))),
    )
    return Winograd(tile, taps, output, weight, input_)


def _product(factors: list[Fraction]) -> Fraction:
    total = Fraction(1)
    for factor in factors:
        total *= factor
    return total


def _polynomial(roots: list[Fraction]) -> list[Fraction]:
    """The coefficients of the product of all (x - root), lowest power first."""
    found = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *found]
        found = [high - root * low for high, low in zip(shifted, [*found, Fraction(0)], strict=True)]
    return found
