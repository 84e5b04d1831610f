"""MemoryData layers: arrays that the caller hands over, batch by batch, again and again."""

from __future__ import annotations

import numpy as np

from netc.runtime.data.source import DataLayer
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape

_PARAM = "memory_data_param"


class MemoryArrays:
    """Batches of the caller's arrays; none before :meth:`set_arrays`."""

    def __init__(self, layer: DataLayer) -> None:
        layer.check_tops(2, 2)
        param = layer.message.message(_PARAM)
        self._layer = layer
        extents = (param.integer(field) for field in ("channels", "height", "width"))
        shape = (layer.batch_size(_PARAM), *extents)
        if min(shape) < 1:
            raise layer.error("batch_size, channels, height and width must be at least 1", _PARAM)
        layer.check_batch(shape, f"{_PARAM}.batch_size")
        self.tops: dict[str, tuple[int, ...]] = dict(zip(layer.top_names, (shape, shape[:1]), strict=True))
        self.arrays: tuple[Array, Array] | None = None

    def set_arrays(self, data: Array, labels: Array) -> None:
        """The data set: images (count, channels, height, width), a multiple of a batch, a label for each."""
        shape = next(iter(self.tops.values()))
        labels = np.asarray(labels, np.float32).reshape(-1)
        if data.shape[1:] != shape[1:] or len(data) != len(labels) or not len(data) or len(data) % shape[0]:
            raise self._layer.error(
                f"the arrays are {show_shape(data.shape)} with {len(labels)} labels; expected a multiple of "
                f"{shape[0]} of {show_shape(shape[1:])} with a label each"
            )
        self.arrays = np.array(data, np.float32), labels.copy()

    def batch(self, index: int) -> dict[str, Array]:
        """The next images and labels of the arrays, which start over at their end."""
        if self.arrays is None:
            raise self._layer.error("a MemoryData layer gets its data from a program, and has none yet")
        size = next(iter(self.tops.values()))[0]
        start = index * size % len(self.arrays[0])
        parts = (array[start : start + size].copy() for array in self.arrays)
        return dict(zip(self._layer.top_names, parts, strict=True))
