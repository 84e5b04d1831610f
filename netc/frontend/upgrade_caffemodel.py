"""Rewrites a caffemodel of any generation as one of the current generation, with all its settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from netc.frontend.atomic_file import atomic_file
from netc.frontend.binary_file import BinaryFile, open_binary
from netc.frontend.caffemodel import DATA, DOUBLE_DATA, BlobCut, LayerCut, NetCut, Payload, cut_net
from netc.frontend.message import Message
from netc.frontend.protobuf_messages import from_protobuf, to_protobuf
from netc.frontend.upgrade import upgrade_net
from netc.frontend.wire import length_prefix
from netc.ir.location import Location

_LAYER, _BLOBS = 100, 7
_CHUNK = 1 << 20  # bytes copied at once
_ARRAYS = (DATA, DOUBLE_DATA)  # gradients, which nobody reads, stay behind


def upgrade_caffemodel(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write the file ``source`` upgraded to ``target``, which may be the same.

    Numbers are copied from file to file; blobs keep the shapes that they state, legacy ones too.
    """
    with open_binary(source) as file:
        cut = cut_net(file)
        net = upgrade_net(_net_message(cut, Location(file.path, 1, 1)))
        blobs = _blobs_by_position(cut.layers, net.messages("layer"))
        head = net.copy()
        head.clear("layer")
        with atomic_file(target) as output:
            output.write(to_protobuf(head).SerializeToString())
            for position, layer in enumerate(net.messages("layer")):
                _write_layer(output, file, layer, blobs.get(position, ()))


def _net_message(cut: NetCut, location: Location) -> Message:
    net = from_protobuf(cut.message, location)
    for layer in cut.layers:
        name = "layer" if layer.message.DESCRIPTOR.name == "LayerParameter" else "layers"
        net.add(name, from_protobuf(layer.message, location), location)
    return net


def _blobs_by_position(
    cuts: Sequence[LayerCut], layers: Sequence[Message]
) -> Mapping[int, Sequence[BlobCut]]:
    """Which upgraded layer gets which blobs: the order stays, while layers without blobs come and go."""
    found: dict[int, Sequence[BlobCut]] = {}
    position = 0
    for cut in cuts:
        name = cut.message.name
        if cut.message.DESCRIPTOR.name == "V1LayerParameter" and cut.message.HasField("layer"):
            name = cut.message.layer.name
        match = next((i for i in range(position, len(layers)) if layers[i].text("name") == name), None)
        if match is not None:
            position = match + 1
            if cut.blobs:
                found[match] = cut.blobs
    return found


def _write_layer(output: BinaryIO, file: BinaryFile, layer: Message, blobs: Sequence[BlobCut]) -> None:
    head = to_protobuf(layer).SerializeToString()
    heads = [blob.message.SerializeToString() for blob in blobs]
    sizes = [
        len(blob_head) + sum(len(prefix) + _size(payload) for prefix, payload in _arrays(blob))
        for blob_head, blob in zip(heads, blobs, strict=True)
    ]
    prefixes = [length_prefix(_BLOBS, size) for size in sizes]
    output.write(length_prefix(_LAYER, len(head) + sum(sizes) + sum(map(len, prefixes))) + head)
    for prefix, blob_head, blob in zip(prefixes, heads, blobs, strict=True):
        output.write(prefix + blob_head)
        for array_prefix, payload in _arrays(blob):
            output.write(array_prefix)
            _copy(output, file, payload)


def _arrays(blob: BlobCut) -> Iterator[tuple[bytes, Payload]]:
    for number in _ARRAYS:
        for payload in blob.payloads.get(number, ()):
            yield length_prefix(number, _size(payload)), payload


def _size(payload: Payload) -> int:
    return payload.count * payload.item


def _copy(output: BinaryIO, file: BinaryFile, payload: Payload) -> None:
    """Copy numbers; unpacked ones lose the tags between them."""
    if payload.stride == payload.item:
        end = payload.start + _size(payload)
        for start in range(payload.start, end, _CHUNK):
            output.write(file.data[start : min(start + _CHUNK, end)])
        return
    for index in range(payload.count):
        start = payload.start + index * payload.stride
        output.write(file.data[start : start + payload.item])
