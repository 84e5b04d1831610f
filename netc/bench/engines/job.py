"""What an engine is to build, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Call = Callable[[], Array]
"""One forward pass, or one iteration of training: the output, or the loss before the update."""

Device = Literal["cpu", "cuda"]


class TimedCall(Protocol):
    """A :data:`Call` on a device, which times itself by the device's events."""

    def __call__(self) -> Array:
        """Run once; the result, on the host."""

    def milliseconds(self) -> float:
        """Run once; how long it took."""


CLASSES = 10
RATE, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 5e-4  # of training, by SGD


@dataclass(frozen=True)
class Job:
    """A net for one engine. Paths are texts, as they come from JSON.

    The weights lie in ``caffemodel`` and ``npz`` alike. ``onnx`` and ``onnx_lrn`` hold the net with LRN as a
    chain of primitives, and as one operator. ``x`` is the input's array, ``input`` its name; the first
    result is written to ``out``.
    """

    engine: str
    prototxt: str
    caffemodel: str
    npz: str
    onnx: str
    onnx_lrn: str
    input: str
    x: str
    out: str
    threads: int
    train: bool = False
    device: Device = "cpu"


def labels(x: Array) -> Array:
    """A class for each image, float32 as Caffe has labels."""
    found: Array = np.random.default_rng(2).integers(0, CLASSES, x.shape[0:1]).astype(np.float32)
    return found
