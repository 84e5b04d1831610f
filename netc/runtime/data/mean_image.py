"""The mean of all images of a database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netc.frontend.atomic_file import atomic_file
from netc.frontend.wire import length_prefix, varint
from netc.ir.diagnostics import NetcError
from netc.runtime.data.database import parse_or_raise
from netc.runtime.data.datum import read_raw_batch
from netc.runtime.data.image_file import decode_image
from netc.runtime.data.stores import backend_of, open_store
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape

_AT_ONCE = 256  # records
_NUM, _CHANNELS, _HEIGHT, _WIDTH, _DATA = range(1, 6)  # fields of a blob

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class MeanImage:
    """``mean`` is (channels, height, width), float32; ``count`` the number of images."""

    mean: Array
    count: int


def mean_image(path: Path, backend: str | None = None, on_progress: OnProgress | None = None) -> MeanImage:
    """The mean over the records of a database, encoded ones decoded; all must have one shape."""
    kind = backend or backend_of(path)
    if kind is None:
        raise NetcError(f"{path}: there is no LMDB or LevelDB database")
    store = open_store(path, kind)
    total: Array | None = None
    count = 0
    records: list[bytes] = []
    for _, record in store.records(None):
        records.append(record)
        if len(records) == _AT_ONCE:
            total, count = _add(path, total, count, records), count + len(records)
            records = []
            if on_progress is not None and store.count:
                on_progress(count, store.count)
    if records:
        total, count = _add(path, total, count, records), count + len(records)
    if total is None:
        raise NetcError(f"{path}: the database is empty")
    # the original divides sums of float32, which are exact while they are below 2^24
    return MeanImage(total.astype(np.float32) / np.float32(count), count)


def write_binaryproto(path: Path, image: Array) -> None:
    """Write an image (channels, height, width) as a blob, with the extents that every reader knows."""
    extents = zip((_NUM, _CHANNELS, _HEIGHT, _WIDTH), (1, *image.shape), strict=True)
    head = b"".join(bytes([number << 3]) + varint(extent) for number, extent in extents)
    values = image.astype("<f4").tobytes()
    with atomic_file(path) as file:
        file.write(head + length_prefix(_DATA, len(values)) + values)


def _add(path: Path, total: Array | None, first: int, records: list[bytes]) -> Array:
    """The sum of the images so far and of some records, the first of them at ``first``."""
    raw = read_raw_batch(records)
    if raw is not None:
        made: list[Array] = [raw.pixels.sum(axis=0, dtype=np.float64)]
    else:
        made = [_image(path, record, first + i) for i, record in enumerate(records)]
    for image in made:
        if total is None:
            total = np.zeros(image.shape, np.float64)
        if image.shape != total.shape:
            raise NetcError(
                f"{path}: an image of {show_shape(image.shape)} among others of {show_shape(total.shape)}",
                remedy="images of one size have a mean: see netc convert-imageset --resize_height",
            )
        total += image
    assert total is not None
    return total


def _image(path: Path, record: bytes, position: int) -> Array:
    datum = parse_or_raise(record, path, position)
    if datum.encoded:
        return decode_image(datum.data, None, f"{path}: record {position} (counted from 0)")
    return datum.values()
