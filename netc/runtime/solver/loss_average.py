"""The loss as it is reported: the mean over the last iterations, in the original's arithmetic."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np


class LossAverage:
    """A sliding mean over ``size`` losses, kept up to date by differences, in 32-bit floats."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.value = np.float32(0)
        self._window: deque[np.float32] = deque()

    @property
    def window(self) -> tuple[float, ...]:
        """The losses that count, oldest first."""
        return tuple(map(float, self._window))

    def add(self, loss: float) -> float:
        """Take in the loss of an iteration; the mean."""
        new = np.float32(loss)
        with np.errstate(all="ignore"):  # losses of a run that diverges
            if len(self._window) < self.size:
                self._window.append(new)
                count = np.float32(len(self._window))
                self.value = (self.value * (count - np.float32(1)) + new) / count
            else:
                self.value = self.value + (new - self._window.popleft()) / np.float32(self.size)
                self._window.append(new)
        return float(self.value)

    def reset(self) -> None:
        """Forget all losses."""
        self.value = np.float32(0)
        self._window.clear()

    def restore(self, value: float, window: Sequence[float]) -> None:
        """Go on where another average was."""
        self.value = np.float32(value)
        self._window = deque(map(np.float32, window[-self.size :]))
