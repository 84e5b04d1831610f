"""Writes trained weights as a caffemodel."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from netc.frontend.atomic_file import atomic_file
from netc.frontend.wire import length_prefix, varint

Layer = tuple[str, str, Sequence[NDArray[Any]]]
"""A layer's name, its type as V2 names it, and its blobs."""

# the numbers of the fields that are written
_NET_NAME, _NET_LAYER = 1, 100
_LAYER_NAME, _LAYER_TYPE, _LAYER_BLOBS = 1, 2, 7
_BLOB_DATA, _BLOB_SHAPE, _SHAPE_DIM = 5, 7, 1


def write_caffemodel(path: str | os.PathLike[str], net_name: str, layers: Iterable[Layer]) -> None:
    """Write a V2 binary net with the blobs of the layers, and nothing else of their settings.

    The file appears under its name when it is whole. Arrays are written from where they are.
    """
    heads = (
        (text_field(_LAYER_NAME, name) + text_field(_LAYER_TYPE, kind), arrays)
        for name, kind, arrays in layers
    )
    write_layers(path, net_name, heads)


def write_layers(
    path: str | os.PathLike[str], net_name: str, layers: Iterable[tuple[bytes, Sequence[NDArray[Any]]]]
) -> None:
    """Write a V2 binary net; of each layer the encoded ``LayerParameter`` without blobs, then its blobs."""
    with atomic_file(path) as file:
        file.write(text_field(_NET_NAME, net_name))
        for head, arrays in layers:
            _write_layer(file, head, arrays)


def _write_layer(file: BinaryIO, head: bytes, given: Sequence[NDArray[Any]]) -> None:
    arrays = [np.asarray(array, "<f4", order="C") for array in given]
    heads = [blob_head(array) for array in arrays]
    sizes = [len(head) + array.nbytes for head, array in zip(heads, arrays, strict=True)]
    prefixes = [length_prefix(_LAYER_BLOBS, size) for size in sizes]
    file.write(length_prefix(_NET_LAYER, len(head) + sum(sizes) + sum(map(len, prefixes))) + head)
    for prefix, blob, array in zip(prefixes, heads, arrays, strict=True):
        file.write(prefix + blob)
        file.write(array.reshape(-1).view(np.uint8).data)


def blob_head(array: NDArray[np.float32]) -> bytes:
    """A blob up to its numbers: its shape, and the length of its numbers."""
    dims = b"".join(varint(extent) for extent in array.shape)
    packed = length_prefix(_SHAPE_DIM, len(dims)) + dims if dims else b""
    return length_prefix(_BLOB_SHAPE, len(packed)) + packed + length_prefix(_BLOB_DATA, array.nbytes)


def text_field(number: int, text: str) -> bytes:
    """A field that holds a string."""
    encoded = text.encode("utf-8")
    return length_prefix(number, len(encoded)) + encoded
