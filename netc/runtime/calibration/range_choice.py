"""Chooses the range of a tensor from what it was on samples.

``max``: all that was seen. ``percentile``: without the rarest values at both ends, which then are cut.
``mse``: the cut whose codes differ least from the values, in the mean of the squares.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.ir.ops.int8 import LARGEST_INPUT
from netc.runtime.memory import Array

Method = Literal["max", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT_METHOD: Method = "mse"
DEFAULT_PERCENTILE = 99.99
BINS = 4096
CUTS = np.linspace(0.3, 1.0, 71)  # of the whole range, that are tried


def check_method(method: str, percentile: float) -> None:
    """NetcError for what is no method or no percentile."""
    if method not in METHODS:
        raise NetcError(f"the method is one of {', '.join(METHODS)}, got '{method}'")
    if not 50 < percentile <= 100:
        raise NetcError(f"the percentile lies above 50 and up to 100, got {percentile}")


class Observed:
    """What was seen of one tensor: its bounds, then how often each of ``BINS`` equal parts between them."""

    def __init__(self) -> None:
        self.low = np.inf
        self.high = -np.inf
        self.counts = np.zeros(BINS, np.int64)

    def widen(self, array: Array) -> None:
        """See the bounds of a batch."""
        self.low = min(self.low, float(array.min()))
        self.high = max(self.high, float(array.max()))

    def count(self, array: Array) -> None:
        """See the values of a batch, after the bounds of all batches were seen."""
        if self.high > self.low:
            self.counts += np.histogram(array, BINS, (self.low, self.high))[0]

    def chosen(self, method: Method, percentile: float) -> tuple[float, float]:
        """The least and the largest value that codes are to reach."""
        if method == "max" or not self.counts.any():
            return self.low, self.high
        return self._cut_at(percentile) if method == "percentile" else self._least_error()

    def _cut_at(self, percentile: float) -> tuple[float, float]:
        edges = np.linspace(self.low, self.high, BINS + 1)
        shares = np.cumsum(self.counts) / self.counts.sum()
        rare = 1 - percentile / 100
        first = int(np.searchsorted(shares, rare, side="right"))
        last = int(np.searchsorted(shares, 1 - rare))
        low = self.low if self.low >= 0 else float(edges[min(first, BINS - 1)])
        high = self.high if self.high <= 0 else float(edges[min(last, BINS - 1) + 1])
        return min(low, 0.0), max(high, 0.0)

    def _least_error(self) -> tuple[float, float]:
        edges = np.linspace(self.low, self.high, BINS + 1)
        centres = (edges[1:] + edges[:-1]) / 2
        best: tuple[float, float, float] | None = None
        for cut in CUTS[::-1]:
            low, high = min(self.low, 0.0) * cut, max(self.high, 0.0) * cut
            step = (high - low) / LARGEST_INPUT
            # beyond the ends what is cut off, between them what rounding to a step leaves on average
            beyond = np.maximum(centres - high, 0) + np.maximum(low - centres, 0)
            errors = np.where(beyond > 0, beyond**2, step**2 / 12)
            total = float(np.dot(self.counts, errors))
            if best is None or total < best[0]:
                best = total, low, high
        assert best is not None
        return best[1], best[2]
