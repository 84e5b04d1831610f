"""``caffe.io``: images, their preparation for a net, and arrays as Caffe's messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.pycaffe.image import load_image, oversample, resize_image
from netc.pycaffe.proto import caffe_pb2
from netc.pycaffe.transformer import Transformer
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize_image",
]

_LEGACY_EXTENTS = ("num", "channels", "height", "width")


def blobproto_to_array(blob: Any, return_diff: bool = False) -> Array:
    """The array in a ``BlobProto``: its data, or its diff. Float32; float64 where it holds doubles."""
    kind = "diff" if return_diff else "data"
    doubles = getattr(blob, f"double_{kind}")
    array = np.array(doubles, np.float64) if doubles else np.array(getattr(blob, kind), np.float32)
    if any(blob.HasField(name) for name in _LEGACY_EXTENTS):
        shape = tuple(getattr(blob, name) for name in _LEGACY_EXTENTS)
    else:
        shape = tuple(blob.shape.dim)
    return _shaped(array, shape)


def array_to_blobproto(arr: Any, diff: Any = None) -> Any:
    """A ``BlobProto`` with the array, and a diff of the same shape."""
    array = np.asarray(arr)
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(array.shape)
    blob.data.extend(array.astype(float).flat)
    if diff is not None:
        if np.shape(diff) != array.shape:
            raise NetcError(f"the diff is {show_shape(np.shape(diff))}, the array {show_shape(array.shape)}")
        blob.diff.extend(np.asarray(diff, float).flat)
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[Any]) -> bytes:
    """The bytes of a ``BlobProtoVector`` with the arrays."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend(array_to_blobproto(array) for array in arraylist)
    return bytes(vector.SerializeToString())


def blobprotovector_str_to_arraylist(data: bytes) -> list[Array]:
    """The arrays of a ``BlobProtoVector`` in bytes."""
    vector = caffe_pb2.BlobProtoVector()
    vector.ParseFromString(data)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr: Any, label: int | None = None) -> Any:
    """A ``Datum`` of an array (channels, height, width): bytes if it is uint8, else floats."""
    array = np.asarray(arr)
    if array.ndim != 3:
        raise NetcError(f"a datum has channels x height x width, got an array of {show_shape(array.shape)}")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = array.shape
    if array.dtype == np.uint8:
        datum.data = array.tobytes()
    else:
        datum.float_data.extend(array.astype(float).flat)
    if label is not None:
        datum.label = int(label)
    return datum


def datum_to_array(datum: Any) -> Array:
    """The array of a ``Datum``, uint8 or float64; its label is ``datum.label``."""
    if datum.encoded:
        raise NetcError("the datum holds a compressed image", remedy="open datum.data as an image file")
    shape = datum.channels, datum.height, datum.width
    if datum.data:
        return _shaped(np.frombuffer(datum.data, np.uint8).copy(), shape)
    return _shaped(np.array(datum.float_data, np.float64), shape)


def _shaped(array: Array, shape: tuple[int, ...]) -> Array:
    try:
        return array.reshape(shape)
    except ValueError:
        raise NetcError(f"there are {array.size} numbers for the shape {show_shape(shape)}") from None
