"""Loads trained weights from files of every format, and single arrays from binaryproto files."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netc.frontend.binary_file import BinaryFile, is_hdf5, open_binary
from netc.frontend.caffemodel import DATA, DOUBLE_DATA, BlobCut, LayerCut, Payload, cut_blob, cut_net
from netc.frontend.hdf5_weights import read_hdf5
from netc.frontend.protobuf_messages import as_text
from netc.frontend.safetensors_weights import is_safetensors, read_safetensors
from netc.frontend.schema import message_type
from netc.frontend.upgrade_v0 import V1_TYPES
from netc.frontend.upgrade_v1 import V2_TYPES

Array: TypeAlias = NDArray[np.float32]

_FLOAT32 = np.dtype("<f4")
_LEGACY_EXTENTS = ("num", "channels", "height", "width")


class Weights(Mapping[str, list[Array]]):
    """The blobs of each layer of a file that has some, by the layer's name.

    The arrays are read-only; those whose bytes lie aligned in the file are views of the mapped file.
    """

    def __init__(
        self, path: str, net_name: str, blobs: Mapping[str, list[Array]], layer_types: Mapping[str, str]
    ) -> None:
        self.path = path
        self.net_name = net_name
        self.layer_types = dict(layer_types)
        """The type of each layer with blobs, as V2 names it."""
        self._blobs = dict(blobs)

    def __getitem__(self, name: str) -> list[Array]:
        return self._blobs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._blobs)

    def __len__(self) -> int:
        return len(self._blobs)

    def __repr__(self) -> str:
        return f"Weights({self.path!r}, {len(self)} layers, {self.nbytes} bytes)"

    @property
    def nbytes(self) -> int:
        """The size of all arrays."""
        return sum(array.nbytes for arrays in self._blobs.values() for array in arrays)


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """The weights in a caffemodel of any generation, an HDF5 file of Caffe's, or a safetensors file.

    Of layers with the same name the last one with blobs counts, as when the original copies them one
    after the other.
    """
    if is_hdf5(path):
        name = os.fspath(path)
        return Weights(name, "", *read_hdf5(name))
    blobs: dict[str, list[Array]] = {}
    types: dict[str, str] = {}
    with open_binary(path) as file:
        if is_safetensors(file):
            return Weights(file.path, *read_safetensors(file))
        net = cut_net(file)
        if not net.layers:
            raise file.error("no layers in it: not a caffemodel, or one of nothing")
        for layer in net.layers:
            if layer.blobs:
                name, kind = _name_and_type(layer)
                blobs[name] = [blob_array(file, blob, f"layer '{name}': ") for blob in layer.blobs]
                types[name] = kind
        return Weights(file.path, as_text(net.message.name), blobs, types)


def load_blob(path: str | os.PathLike[str]) -> Array:
    """The array in a ``.binaryproto`` file, for example the mean of a data set."""
    with open_binary(path) as file:
        blob = cut_blob(file)
        if not blob.payloads:
            raise file.error("no array in it: not a binaryproto of a blob")
        return blob_array(file, blob, "")


def _name_and_type(layer: LayerCut) -> tuple[str, str]:
    message = layer.message
    if layer.message.DESCRIPTOR.name == "LayerParameter":
        return as_text(message.name), as_text(message.type)
    if message.HasField("layer"):
        v1_name = V1_TYPES.get(as_text(message.layer.type), "NONE")
        return as_text(message.layer.name), V2_TYPES[v1_name]
    type_names = message_type("V1LayerParameter").enums["LayerType"]
    return as_text(message.name), V2_TYPES[type_names.name_of(message.type) or "NONE"]


def blob_array(file: BinaryFile, blob: BlobCut, owner: str) -> Array:
    """The values of a blob in its shape; nothing is allocated before the shape agrees with the file."""
    doubles = blob.payloads.get(DOUBLE_DATA, [])
    payloads = doubles or blob.payloads.get(DATA, [])
    count = sum(payload.count for payload in payloads)
    shape = _shape(file, blob, owner)
    if math.prod(shape) != count:
        shown = " x ".join(map(str, shape)) or "one number"
        raise file.error(f"{owner}a blob of shape {shown} has {count} numbers in the file", blob.offset)
    parts = [_read(file, payload) for payload in payloads]
    array = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, _FLOAT32), *parts])
    array.flags.writeable = False
    return array.reshape(shape)


def _shape(file: BinaryFile, blob: BlobCut, owner: str) -> tuple[int, ...]:
    message = blob.message
    if message.HasField("shape"):
        shape = tuple(message.shape.dim)
    elif any(message.HasField(name) for name in _LEGACY_EXTENTS):
        shape = tuple(getattr(message, name) for name in _LEGACY_EXTENTS)
    else:
        shape = ()
    most = sys.maxsize // _FLOAT32.itemsize  # along all axes, even where there are no elements
    if any(extent < 0 for extent in shape) or len(shape) > 32 or math.prod(d or 1 for d in shape) > most:
        raise file.error(f"{owner}a blob has the shape {list(shape)[:33]}", blob.offset)
    return shape


def _read(file: BinaryFile, payload: Payload) -> Array:
    """The numbers of one payload: a view where they lie aligned, or else read into an array."""
    if payload.stride != payload.item:
        return _read_unpacked(file, payload)
    if payload.item == 8:
        return _narrowed(np.frombuffer(file.data, "<f8", payload.count, payload.start))
    if payload.start % _FLOAT32.itemsize == 0:
        return np.frombuffer(file.data, _FLOAT32, payload.count, payload.start)
    array = np.empty(payload.count, _FLOAT32)
    _read_into(file, array.view(np.uint8).data, payload.start)
    return array


def _read_into(file: BinaryFile, target: memoryview, offset: int) -> None:
    """Fill memory from the file itself: its mapping would keep a second copy of these bytes in use."""
    done = 0
    while done < len(target):
        if hasattr(os, "preadv"):
            got = os.preadv(file.descriptor, [target[done:]], offset + done)
        else:
            got = len(target) - done
            target[done:] = file.data[offset + done : offset + len(target)]
        if got == 0:
            raise file.error("the file became shorter while it was read", offset + done)
        done += got


def _read_unpacked(file: BinaryFile, payload: Payload) -> Array:
    """Numbers with a tag before each: one strided copy."""
    size = (payload.count - 1) * payload.stride + payload.item
    raw = np.frombuffer(file.data, np.uint8, size, payload.start)
    items = np.lib.stride_tricks.as_strided(raw, (payload.count, payload.item), (payload.stride, 1))
    return _narrowed(np.ascontiguousarray(items).view(f"<f{payload.item}").reshape(-1))


def _narrowed(array: NDArray[np.floating[Any]]) -> Array:
    """As float32; what is too large for it becomes infinite, as in the original, without a warning."""
    with np.errstate(over="ignore"):
        return array.astype(_FLOAT32, copy=False)
