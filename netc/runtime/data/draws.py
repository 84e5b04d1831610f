"""Random numbers of the data layers: pure functions of the seed, the layer and the place in the data.

All come from the counter-based generator Philox 4x64, with the seed and a name as its key.
"""

from __future__ import annotations

import zlib

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


def _philox(seed: int, name: str, counter: int) -> np.random.Philox:
    return np.random.Philox(key=zlib.crc32(name.encode()) * _WORD + seed % _WORD, counter=counter)
