"""Small data sets for the tests of the data layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from netc.frontend.binary import message_class
from netc.runtime.data.datum import Datum, write_datum


def pixels(count: int, shape: Sequence[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def datums(images: np.ndarray, labels: Sequence[int]) -> list[bytes]:
    return [
        write_datum(Datum(*image.shape, image.tobytes(), int(label)))
        for image, label in zip(images, labels, strict=True)
    ]


def make_lmdb(path: Path, records: Sequence[bytes]) -> None:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for index, record in enumerate(records):
            transaction.put(b"%08d" % index, record)


def make_leveldb(path: Path, records: Sequence[bytes]) -> None:
    plyvel = pytest.importorskip("plyvel")
    with plyvel.DB(str(path), create_if_missing=True) as database:
        for index, record in enumerate(records):
            database.put(b"%08d" % index, record)


def write_mean(path: Path, mean: np.ndarray) -> None:
    """A binaryproto of an image (channels, height, width), with the extents of Caffe's first blobs."""
    blob = message_class("BlobProto")()
    blob.num = 1
    blob.channels, blob.height, blob.width = mean.shape
    blob.data.extend(mean.ravel().tolist())
    path.write_bytes(blob.SerializeToString())
