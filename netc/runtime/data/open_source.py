"""Opens the sources of a net's data layers, before the net is imported: their shapes are its inputs'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from netc.frontend.message import Message
from netc.runtime.data.database import Database
from netc.runtime.data.hdf5_files import Hdf5Files
from netc.runtime.data.image_list import ImageList
from netc.runtime.data.memory import MemoryArrays
from netc.runtime.data.source import DataLayer, DataSource
from netc.runtime.data.windows import WindowList

SOURCES: dict[str, Callable[[DataLayer], DataSource]] = {
    "Data": Database,
    "HDF5Data": Hdf5Files,
    "ImageData": ImageList,
    "MemoryData": MemoryArrays,
    "WindowData": WindowList,
}
# layers of forks whose tops the importer makes inputs, and that have no reader here
_WITHOUT_READER = ("AnnotatedData", "ImageLabelmapData", "VideoData")


def open_source(layer: Message, *, phase: str, seed: int, root: Path) -> DataSource:
    """The source of a data layer. Relative paths start at ``root``; random numbers follow from ``seed``."""
    context = DataLayer(layer, phase=phase, seed=seed, root=root)
    kind = layer.text("type")
    if kind not in SOURCES:
        raise context.error(f"there is no reader for the data of layers of type {kind}", "type")
    return SOURCES[kind](context)


def data_shapes(
    net: Message, *, phase: str, seed: int, root: Path
) -> tuple[tuple[DataSource, ...], dict[str, tuple[int, ...]]]:
    """The sources of a net's data layers, and the shapes of all their tops: the net's input shapes."""
    layers = (each for each in net.messages("layer") if each.text("type") in (*SOURCES, *_WITHOUT_READER))
    sources = tuple(open_source(each, phase=phase, seed=seed, root=root) for each in layers)
    shapes: dict[str, tuple[int, ...]] = {}
    for source in sources:
        shapes.update(source.tops)
    return sources, shapes
