"""Saves a net with its parameters as the original does: a caffemodel has the settings of all layers too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from netc.frontend.message import Message
from netc.frontend.protobuf_messages import to_protobuf
from netc.frontend.weights import Weights
from netc.frontend.write_caffemodel import write_layers
from netc.frontend.write_weights import WEIGHT_SUFFIXES, write_weights

CAFFEMODEL = ".caffemodel"


def save_net(
    path: str | os.PathLike[str], net: Message, phase: str, blobs: Sequence[Sequence[NDArray[Any]]]
) -> None:
    """Write ``net``, filtered for ``phase``; ``blobs`` are the parameters of each of its layers.

    The suffix says the format, one of ``WEIGHT_SUFFIXES``. A file of another name is a caffemodel, as the
    original asks for no suffix. The other formats hold the names and types of layers beside the blobs.
    """
    name, layers = os.fspath(path), net.messages("layer")
    suffixes = [suffix for suffix in WEIGHT_SUFFIXES if name.lower().endswith(suffix)]
    if not suffixes or suffixes == [CAFFEMODEL]:
        heads = [_encoded(layer, phase) for layer in layers]
        write_layers(path, net.text("name"), zip(heads, blobs, strict=True))
        return
    found = {layer.text("name"): list(own) for layer, own in zip(layers, blobs, strict=True) if own}
    types = {layer.text("name"): layer.text("type") for layer in layers if layer.text("name") in found}
    write_weights(path, Weights(name, net.text("name"), found, types))


def _encoded(layer: Message, phase: str) -> bytes:
    """The settings of a layer, with the phase that the net was made for and without blobs."""
    settings = layer.copy()
    settings.clear("blobs")
    if not settings.has("phase"):
        settings.set("phase", phase)
    return bytes(to_protobuf(settings).SerializeToString())
