"""Data layers: the records of an LMDB or LevelDB database, one after the other, again and again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from netc.frontend.wire import WireError
from netc.ir.diagnostics import NetcError
from netc.runtime.data.datum import Datum, parse_datum, read_raw_batch
from netc.runtime.data.draws import rand_skip
from netc.runtime.data.image_file import decode_image
from netc.runtime.data.records import Records, Store
from netc.runtime.data.source import DataLayer
from netc.runtime.data.stores import backend_of, open_store
from netc.runtime.data.transform import Image, Transform
from netc.runtime.memory import Array

_SOURCE = "data_param.source"
_DATA_SETS = ("mnist", "cifar10")  # what `netc data` makes


class Database:
    """Item i of batch b is record ``(skipped + b * batch_size + i) mod count``, as Caffe's cursor has it."""

    def __init__(self, layer: DataLayer) -> None:
        layer.check_tops(1, 2)
        param = layer.message.message("data_param")
        self._layer = layer
        self._batch_size = layer.batch_size("data_param")
        self._transform = Transform(layer)
        self._force_color = self._transform.force_color or param.flag("force_encoded_color")
        self._path = layer.path(_SOURCE)
        with layer.located(_SOURCE):
            self._records = Records(_open(layer, self._path))
            self._first = rand_skip(layer.seed, layer.name, param.integer("rand_skip"))
            (record,) = self._records.read(self._first, 1)
            image = self._image(parse_or_raise(record, self._path, self._first), self._first)
        self._shape = self._transform.shape(image.shape)
        shape = (self._batch_size, *self._shape)
        layer.check_batch(shape, "data_param.batch_size")
        shapes = (shape, shape[:1])
        self.tops: dict[str, tuple[int, ...]] = dict(zip(layer.top_names, shapes, strict=False))

    def batch(self, index: int) -> dict[str, Array]:
        """Images (batch, channels, height, width), and their labels (batch) where the layer has that top."""
        first = self._first + index * self._batch_size
        with self._layer.located(_SOURCE):
            data, labels = self._read(first)
        return dict(zip(self._layer.top_names, (data, labels), strict=False))

    def _read(self, first: int) -> tuple[Array, Array]:
        records = self._records.read(first, self._batch_size)
        raw = read_raw_batch(records)
        if raw is not None:
            return self._transform(raw.pixels, first, self._shape), raw.labels.astype(np.float32)
        datums = [parse_or_raise(record, self._path, first + i) for i, record in enumerate(records)]
        images = [self._image(datum, first + i) for i, datum in enumerate(datums)]
        return self._transform(images, first, self._shape), np.array(
            [datum.label for datum in datums], np.float32
        )

    def _image(self, datum: Datum, position: int) -> Image:
        """The elements (channels, height, width) of a record; encoded images are decoded."""
        if not datum.encoded:
            return datum.values()
        color = True if self._force_color else False if self._transform.force_gray else None
        return decode_image(datum.data, color, f"{self._path}: record {position} (counted from 0)")


def parse_or_raise(record: bytes, path: Path, position: int) -> Datum:
    """The record at a position of a database, checked; ``NetcError`` says which one is damaged."""
    try:
        datum = parse_datum(record)
        if not datum.encoded:
            datum.values()
    except WireError as error:
        raise NetcError(f"{path}: record {position} (counted from 0) is no Datum: {error.message}") from None
    return datum


def _open(layer: DataLayer, path: Path) -> Store:
    if not os.path.exists(path):
        given = layer.message.message("data_param").text("source")
        known = next((name for name in _DATA_SETS if name in given.lower()), None)
        remedy = f"netc data {known} DIR makes it in the folder DIR" if known else None
        raise layer.not_found(path, "the database", _SOURCE, remedy)
    backend = layer.message.message("data_param").text("backend")
    found = backend_of(path)
    if found is None and path.is_dir():
        raise layer.error(f"there is no database in the folder '{path}'", _SOURCE)
    if found not in (None, backend):
        message = f"the database '{path}' is not of the kind {backend}"
        raise layer.error(message, "data_param.backend", remedy=f"write backend: {found}")
    return open_store(path, backend)
