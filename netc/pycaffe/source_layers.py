"""Layers that bring data in: DummyData draws it, MemoryData hands out what the caller gave it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.pycaffe.blob import Storage
from netc.pycaffe.mode import next_seed
from netc.runtime.fillers import fill
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape


class Source(Protocol):
    """Fills blobs at the beginning of a forward pass."""

    def fill(self) -> None:
        """Write the next data."""


def make_source(layer: Message, storages: Mapping[str, Storage]) -> Source | None:
    """What fills the tops of a layer; None where the caller does."""
    tops = [storages[name] for name in layer.texts("top") if name in storages]
    if layer.text("type") == "DummyData":
        return DummyData(layer, tops)
    if layer.text("type") == "MemoryData":
        return MemoryData(layer, tops)
    return None


class DummyData:
    """Constants are written once, so that the caller can replace them; other values are drawn each time."""

    def __init__(self, layer: Message, tops: list[Storage]) -> None:
        fillers = layer.message("dummy_data_param").messages("data_filler") or (Message("FillerParameter"),)
        self._name = layer.text("name")
        self._drawn: list[tuple[Message, Storage]] = []
        for index, top in enumerate(tops):
            filler = fillers[index if len(fillers) > 1 else 0]
            if filler.text("type") == "constant":
                top.data[...] = filler.number("value")
            else:
                self._drawn.append((filler, top))

    def fill(self) -> None:
        """Draw what is not constant."""
        for index, (filler, top) in enumerate(self._drawn):
            fill(top.data, filler, f"{self._name}.{index}", next_seed())


class MemoryData:
    """Hands out a data set batch by batch, again and again."""

    def __init__(self, layer: Message, tops: list[Storage]) -> None:
        self._layer = layer
        self._tops = tops
        self._arrays: tuple[Array, Array] | None = None
        self._next = 0

    def set_arrays(self, data: Array, labels: Array) -> None:
        """The data set: images (n, channels, height, width) and a label for each."""
        images, targets = self._tops
        labels = np.asarray(labels, np.float32).reshape(len(labels), -1)
        if data.ndim != 4 or data.shape[1:] != images.shape[1:] or labels.shape[1] != 1:
            raise self._error(
                f"the data are {show_shape(data.shape)} with labels {show_shape(labels.shape)}; expected any "
                f"number of {show_shape(images.shape[1:])} with a label each"
            )
        if len(data) != len(labels) or not len(data) or len(data) % images.shape[0]:
            raise self._error(
                f"there are {len(data)} images and {len(labels)} labels; expected equal multiples of the "
                f"batch size {images.shape[0]}"
            )
        self._arrays = np.asarray(data, np.float32), labels.reshape(-1, *[1] * (len(targets.shape) - 1))
        self._next = 0

    def fill(self) -> None:
        """Write the next batch; what the caller wrote into the blobs stays if no data set was given."""
        if self._arrays is None:
            return
        batch = self._tops[0].shape[0]
        for top, array in zip(self._tops, self._arrays, strict=True):
            top.data[...] = array[self._next : self._next + batch]
        self._next = (self._next + batch) % len(self._arrays[0])

    def _error(self, message: str) -> NetcError:
        return NetcError(message, location=self._layer.location, layer=self._layer.text("name"))
