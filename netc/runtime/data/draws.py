"""Random numbers of the data layers: pure functions of the seed, the layer and the place in the data.

All come from the counter-based generator Philox 4x64, with the seed and a name as its key.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

DRAWS = 4  # numbers for each item
_WORD = 2**64


def item_draws(seed: int, name: str, first: int, count: int) -> NDArray[np.uint64]:
    """Four numbers of 64 bits for each of the items ``first``, ``first + 1``, …: (count, 4).

    An item's place is counted through the whole run, so that it gets other numbers in every epoch.
    """
    numbers = _philox(seed, name, first).random_raw(DRAWS * count)
    return np.asarray(numbers, np.uint64).reshape(count, DRAWS)


def permutation(seed: int, name: str, epoch: int, count: int) -> NDArray[np.intp]:
    """The order of ``count`` items in an epoch."""
    # the counter's highest word keeps the epochs' streams apart, however many numbers each takes
    generator = np.random.Generator(_philox(seed, name, (epoch + 1) << 192))
    return generator.permutation(count)


def rand_skip(seed: int, name: str, most: int) -> int:
    """How many items are left out in the beginning: anything below ``most``."""
    return int(item_draws(seed, f"{name}.rand_skip", 0, 1)[0, 0]) % most if most else 0


class EpochOrder:
    """Where each item of a run lies in the data, which are gone through over and over, shuffled or not."""

    def __init__(self, seed: int, name: str, count: int, *, shuffle: bool) -> None:
        self._count = count
        self._shuffle = shuffle
        # two, as a batch may hold the end of one epoch and the beginning of the next
        self._order = lru_cache(maxsize=2)(lambda epoch: permutation(seed, f"{name}.order", epoch, count))

    def places(self, first: int, count: int) -> list[int]:
        """The places of the items ``first``, ``first + 1``, … of the run."""
        items = (divmod(item, self._count) for item in range(first, first + count))
        return [int(self._order(epoch)[at]) if self._shuffle else at for epoch, at in items]


def _philox(seed: int, name: str, counter: int) -> np.random.Philox:
    return np.random.Philox(key=zlib.crc32(name.encode()) * _WORD + seed % _WORD, counter=counter)
