"""Weights in the safetensors format: a JSON header, then the arrays; ``<layer>.<index>`` names a blob.

The format is small enough to need no library: eight bytes with the header's length, the header, the data.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.frontend.atomic_file import atomic_file
from netc.frontend.binary_file import BinaryFile
from netc.frontend.hdf5_weights import Layer
from netc.ir.diagnostics import NetcError

MAX_HEADER_BYTES = 100_000_000  # as the format's own library
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_NET_NAME, _TYPES = "net", "layer_types"
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
}  # fmt: skip


def write_safetensors(path: str | os.PathLike[str], net_name: str, layers: Iterable[Layer]) -> None:
    """Write the blobs of the layers; the file appears under its name when it is whole."""
    header: dict[str, Any] = {}
    arrays: list[NDArray[np.float32]] = []
    types: dict[str, str] = {}
    offset = 0
    for name, kind, blobs in layers:
        types[name] = kind
        for index, blob in enumerate(blobs):
            key = f"{name}.{index}"
            if key in header:
                raise NetcError(f"two blobs would be called '{key}', and safetensors holds one of each name")
            array = np.asarray(blob, "<f4", order="C")
            end = offset + array.nbytes
            header[key] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, end]}
            arrays.append(array)
            offset = end
    metadata = {"format": "caffe", _NET_NAME: net_name, _TYPES: json.dumps(types, ensure_ascii=False)}
    text = json.dumps({_METADATA: metadata, **header}, ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % _LENGTH_BYTES)  # so that the arrays lie aligned
    with atomic_file(path) as file:
        file.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
        for array in arrays:
            file.write(array.reshape(-1).view(np.uint8).data)


def read_safetensors(file: BinaryFile) -> tuple[str, dict[str, list[NDArray[np.float32]]], dict[str, str]]:
    """The net's name, the blobs by layer, and the types of the layers where they are stated."""
    header, start = _header(file)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict):
        raise file.error("the header's metadata are no object")
    found: dict[str, dict[int, NDArray[np.float32]]] = {}
    for key, entry in header.items():
        layer, _, index = key.rpartition(".")
        if not layer or not (index.isascii() and index.isdigit() and len(index) < 6):
            raise file.error(
                f"'{key}' is no blob of a layer", remedy="blobs are called by layer and number: conv1.0"
            )
        found.setdefault(layer, {})[int(index)] = _array(file, key, entry, start)
    for layer, blobs in found.items():
        if sorted(blobs) != list(range(len(blobs))):
            raise file.error(f"layer '{layer}' has the blobs {sorted(blobs)}: some are missing")
    ordered = {layer: [blobs[index] for index in range(len(blobs))] for layer, blobs in found.items()}
    return str(metadata.get(_NET_NAME, "")), ordered, _types(metadata)


def is_safetensors(file: BinaryFile) -> bool:
    """Whether a file begins as safetensors do: a length that fits, and a brace."""
    length = int.from_bytes(file.data[:_LENGTH_BYTES], "little")
    fits = 2 <= length <= len(file.data) - _LENGTH_BYTES
    return fits and file.data[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{"


def _header(file: BinaryFile) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(file.data[:_LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES or not is_safetensors(file):
        raise file.error("not a safetensors file: its header does not fit")
    try:
        header = json.loads(file.data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    except (ValueError, RecursionError) as error:
        raise file.error(f"the header is no JSON: {error}", _LENGTH_BYTES) from None
    if not isinstance(header, dict):
        raise file.error("the header is no object", _LENGTH_BYTES)
    return header, _LENGTH_BYTES + length


def _array(file: BinaryFile, key: str, entry: Any, start: int) -> NDArray[np.float32]:
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        dtype = np.dtype(_DTYPES[kind])
        whole = all(type(each) is int and each >= 0 for each in (*shape, begin, end)) and len(shape) <= 32
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise file.error(f"'{key}' has an entry in the header that netc does not read")
    if end - begin != math.prod(shape) * dtype.itemsize or not 0 <= begin <= end <= len(file.data) - start:
        raise file.error(f"'{key}' lies outside of the file, or has another size than its shape")
    array: NDArray[Any] = np.frombuffer(file.data, dtype, math.prod(shape), start + begin)
    if kind == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    result = array.astype(np.float32, copy=False).reshape(shape)
    result.flags.writeable = False
    return result


def _types(metadata: Mapping[str, Any]) -> dict[str, str]:
    try:
        types = json.loads(metadata.get(_TYPES, "{}"))
    except (ValueError, TypeError, RecursionError):
        return {}
    return {str(name): str(kind) for name, kind in types.items()} if isinstance(types, dict) else {}
