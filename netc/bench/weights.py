"""Random weights that keep a net's numbers alive, and the files that carry them to every engine."""

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from netc.bench.net_shapes import NetShapes, Shape
from netc.bench.prototext import Message

Array = npt.NDArray[np.float32]
Weights = dict[str, list[Array]]  # layer name -> its blobs


def random_weights(layers: list[Message], shapes: NetShapes, seed: int = 0) -> Weights:
    """Draw weights so that every convolution and inner product puts out values of variance near 1.

    This is He's scaling with one refinement: it divides by the second moment that is expected of the very
    blob the layer reads, instead of always assuming a ReLU before it. Sums of residual branches would
    otherwise grow from block to block until the softmax is a lone 1, and any two engines would agree on that.
    """
    rng = np.random.default_rng(seed)
    moment = dict.fromkeys(shapes.inputs, 1.0)  # E[x^2] of every blob
    weights: Weights = {}
    for layer in layers:
        kind, name, bottoms = layer.get("type"), layer.get("name"), layer.all("bottom")
        if kind == "Input":
            continue
        blobs = shapes.params.get(name, [])
        incoming = moment[bottoms[0]]
        if kind in ("Convolution", "InnerProduct"):
            weights[name] = _filters(rng, blobs, incoming)
        elif kind == "BatchNorm":
            mean, variance, _ = blobs
            weights[name] = [_normal(rng, mean, 0.1), _uniform(rng, variance), np.ones(1, np.float32)]
        elif kind == "Scale":
            weights[name] = [_uniform(rng, blobs[0]), *(_normal(rng, shape, 0.1) for shape in blobs[1:])]
        elif blobs:
            raise NotImplementedError(f"random weights of {kind}")
        for top in layer.all("top"):
            moment[top] = _outgoing(layer, [moment[b] for b in bottoms], weights.get(name, []))
    return weights


def _filters(rng: np.random.Generator, blobs: list[Shape], incoming: float) -> list[Array]:
    fan_in = math.prod(blobs[0][1:])
    return [_normal(rng, blobs[0], (fan_in * incoming) ** -0.5), *(_normal(rng, b, 0.1) for b in blobs[1:])]


def _outgoing(layer: Message, moments: list[float], blobs: list[Array]) -> float:
    kind = layer.get("type")
    if kind in ("Convolution", "InnerProduct"):
        return 1.0
    if kind == "BatchNorm":
        mean, variance, _ = blobs
        return float(np.mean((moments[0] + mean**2) / variance))
    if kind == "Scale":
        return moments[0] * float(np.mean(blobs[0] ** 2))
    if kind == "Pooling" and layer.sub("pooling_param").get("pool", "MAX") == "MAX":
        return 2 * moments[0]  # as measured on these nets
    if kind == "ReLU":
        return moments[0] / 2
    if kind == "Eltwise":
        return 2 * sum(moments)  # the shortcut is positive, so the ReLU to come keeps nearly all, not half
    return sum(moments) / len(moments)


def _normal(rng: np.random.Generator, shape: Shape, deviation: float) -> Array:
    return rng.standard_normal(shape, np.float32) * np.float32(deviation)


def _uniform(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.random(shape, np.float32) + np.float32(0.5)


def save_npz(path: Path, weights: Weights) -> None:
    """Write the weights for engines that are built by hand; `load_npz` is its inverse."""
    arrays = {f"{layer}#{i}": blob for layer, blobs in weights.items() for i, blob in enumerate(blobs)}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def load_npz(path: Path) -> Weights:
    """Read what `save_npz` wrote."""
    weights: Weights = {}
    with np.load(path) as arrays:
        for key in arrays.files:  # in the order of writing
            weights.setdefault(key.rpartition("#")[0], []).append(arrays[key])
    return weights


# Field numbers of caffe.proto, and protobuf's wire types.
_NET_NAME, _NET_LAYER = 1, 100
_LAYER_NAME, _LAYER_TYPE, _LAYER_BLOBS = 1, 2, 7
_BLOB_DATA, _BLOB_SHAPE, _SHAPE_DIM = 5, 7, 1
_LENGTH_DELIMITED = 2


def save_caffemodel(path: Path, name: str, layers: list[Message], weights: Weights) -> None:
    """Write a caffemodel: V2 layers, packed float data.

    By hand, not with netc's writer, so that netc reads a file that it did not write itself.
    """
    with path.open("wb") as file:
        file.write(_field(_NET_NAME, name.encode()))
        for layer in layers:
            if layer.get("name") in weights:
                _write_layer(file, layer, weights[layer.get("name")])


def _write_layer(file: BinaryIO, layer: Message, blobs: list[Array]) -> None:
    head = _field(_LAYER_NAME, layer.get("name").encode()) + _field(_LAYER_TYPE, layer.get("type").encode())
    encoded = [part for blob in blobs for part in _blob(blob)]
    file.write(_key(_NET_LAYER) + _varint(len(head) + sum(map(len, encoded))) + head)
    file.writelines(encoded)


def _blob(blob: Array) -> Iterator[bytes]:
    dims = b"".join(_varint(d) for d in blob.shape)
    shape = _field(_BLOB_SHAPE, _field(_SHAPE_DIM, dims))
    data = blob.astype("<f4").tobytes()
    data_head = _key(_BLOB_DATA) + _varint(len(data))
    yield _key(_LAYER_BLOBS) + _varint(len(shape) + len(data_head) + len(data)) + shape + data_head
    yield data


def _field(number: int, payload: bytes) -> bytes:
    return _key(number) + _varint(len(payload)) + payload


def _key(number: int) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED)


def _varint(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return struct.pack(f"{len(parts) + 1}B", *parts, value)
