"""HDF5Data layers: arrays in the HDF5 files that a text file lists. Needs h5py."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.diagnostics import NetcError
from netc.runtime.data.draws import permutation
from netc.runtime.data.source import DataLayer
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape

_PARAM = "hdf5_data_param"
_SOURCE = f"{_PARAM}.source"
_KEPT_FILES = 2  # in memory, where rows are shuffled; else rows are read as they are needed
_NUMBERS = "iuf"


class Hdf5Files:
    """The rows of all files, one file after the other; each top is the dataset of its name.

    With ``shuffle`` the files of each epoch are in another order, and so are the rows of each file.
    """

    def __init__(self, layer: DataLayer) -> None:
        layer.check_tops(1, None)
        if layer.message.has("transform_param"):
            raise layer.error("HDF5Data layers do not transform their data", "transform_param")
        self._layer = layer
        self._library = _library(layer)
        self._batch_size = layer.batch_size(_PARAM)
        self._shuffle = layer.message.message(_PARAM).flag("shuffle")
        source = layer.path(_SOURCE)
        if not os.path.exists(source):
            raise layer.not_found(source, "the list of HDF5 files", _SOURCE)
        with layer.located(_SOURCE):
            self._files = [layer.root / name for name in _read_names(source)]
            shapes = [self._shapes(path) for path in self._files]
        self._rows = [next(iter(each.values()))[0] for each in shapes]
        for path, each in zip(self._files, shapes, strict=True):
            for name, shape in each.items():
                if shape[1:] != shapes[0][name][1:]:
                    raise layer.error(
                        f"{path}: the rows of '{name}' are {show_shape(shape[1:])}; those of the first "
                        f"file are {show_shape(shapes[0][name][1:])}",
                        _SOURCE,
                    )
        self.tops: dict[str, tuple[int, ...]] = {
            name: (self._batch_size, *shapes[0][name][1:]) for name in layer.top_names
        }
        for shape in self.tops.values():
            layer.check_batch(shape, f"{_PARAM}.batch_size")
        self._loaded = lru_cache(maxsize=_KEPT_FILES)(self._load)
        self._order_of_files = lru_cache(maxsize=2)(self._ordered_files)
        self._order_of_rows = lru_cache(maxsize=2)(self._ordered_rows)

    def batch(self, index: int) -> dict[str, Array]:
        """An array (batch, …) for each top."""
        made = {name: np.empty(shape, np.float32) for name, shape in self.tops.items()}
        first, done = index * self._batch_size, 0
        with self._layer.located(_SOURCE):
            while done < self._batch_size:
                epoch, at = divmod(first + done, sum(self._rows))
                order, ends = self._order_of_files(epoch)
                turn = bisect_right(ends, at)
                file = order[turn]
                start = at - (ends[turn] - self._rows[file])
                count = min(self._batch_size - done, self._rows[file] - start)
                for name, rows in self._read(file, epoch, start, count).items():
                    made[name][done : done + count] = rows
                done += count
        return made

    def _ordered_files(self, epoch: int) -> tuple[list[int], list[int]]:
        """The files of an epoch, and for each the number of rows up to its end."""
        count = len(self._files)
        name = f"{self._layer.name}.files"
        order = (
            permutation(self._layer.seed, name, epoch, count).tolist()
            if self._shuffle
            else list(range(count))
        )
        return order, list(accumulate(self._rows[file] for file in order))

    def _ordered_rows(self, file: int, epoch: int) -> NDArray[np.intp]:
        return permutation(self._layer.seed, f"{self._layer.name}.rows.{file}", epoch, self._rows[file])

    def _read(self, file: int, epoch: int, start: int, count: int) -> dict[str, Array]:
        if not self._shuffle:
            return self._slices(self._files[file], slice(start, start + count))
        rows = self._order_of_rows(file, epoch)[start : start + count]
        return {name: array[rows] for name, array in self._loaded(file).items()}

    def _load(self, file: int) -> dict[str, Array]:
        return self._slices(self._files[file], slice(None))

    def _slices(self, path: Path, rows: slice) -> dict[str, Array]:
        try:
            with self._library.File(path, "r") as file:
                return {name: np.asarray(file[name][rows], np.float32) for name in self._layer.top_names}
        except (OSError, RuntimeError, KeyError, ValueError) as error:  # what h5py raises for damaged files
            raise NetcError(f"{path}: damaged HDF5 file: {error}") from None

    def _shapes(self, path: Path) -> dict[str, tuple[int, ...]]:
        """The shape of each top's dataset in a file, checked to have equally many rows."""
        try:
            with self._library.File(path, "r") as file:
                shapes = {name: _shape(path, file, name) for name in self._layer.top_names}
        except FileNotFoundError:
            raise NetcError(f"{path}: does not exist") from None
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise NetcError(f"{path}: cannot be read as an HDF5 file: {error}") from None
        rows = {shape[0] for shape in shapes.values()}
        if len(rows) > 1:
            shown = ", ".join(f"'{name}' {show_shape(shape)}" for name, shape in shapes.items())
            raise NetcError(f"{path}: the datasets have different numbers of rows: {shown}")
        if rows == {0}:
            raise NetcError(f"{path}: no rows in it")
        return shapes


def _shape(path: Path, file: Any, name: str) -> tuple[int, ...]:
    found = file.get(name)
    shape = getattr(found, "shape", None)
    if shape is None:
        members = ", ".join(sorted(file)[:10]) or "nothing"
        raise NetcError(
            f"{path}: no dataset '{name}' in it", remedy=f"name the top after a dataset: {members}"
        )
    if not shape or found.dtype.kind not in _NUMBERS:
        raise NetcError(f"{path}: '{name}' holds no rows of numbers")
    return tuple(shape)


def _read_names(source: Path) -> Sequence[str]:
    try:
        names = [os.fsdecode(line) for line in source.read_bytes().split()]
    except OSError as error:
        raise NetcError(f"{source}: {error.strerror or error}") from None
    if not names:
        raise NetcError(f"{source}: the list is empty")
    if any("\0" in name for name in names):
        raise NetcError(
            f"{source}: is no list of files", remedy="the source is a text file with a path a line"
        )
    return names


def _library(layer: DataLayer) -> Any:
    try:
        import h5py
    except ImportError:
        message = "an HDF5Data layer needs h5py, which is not installed"
        raise layer.error(message, "type", remedy="pip install 'netc[hdf5]'") from None
    return h5py
