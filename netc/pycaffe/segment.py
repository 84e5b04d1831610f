"""Cuts a run of layers out of a net: what it reads from outside become its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netc.frontend.layers.input import import_data, import_dummy_data, import_input, import_memory_data
from netc.frontend.layers.registry import layer_type
from netc.frontend.message import Message

_SOURCE_RULES = (import_data, import_dummy_data, import_input, import_memory_data)


@dataclass(frozen=True)
class Segment:
    """The layers ``first`` to ``last`` as a net of their own.

    ``message`` has an Input layer for each of ``inputs``, which the layers read and no layer among them
    makes before; then the layers without those that bring data in. ``positions`` says for each layer of
    ``message`` where it stands in the whole net; None for the Input layers.
    """

    first: int
    last: int
    message: Message
    inputs: tuple[str, ...]
    positions: tuple[int | None, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is computed."""
        return len(self.positions) == len(self.inputs)


def is_source(layer: Message) -> bool:
    """Whether a layer brings data in rather than computes it."""
    entry = layer_type(layer.text("type"))
    return entry is not None and entry.rule in _SOURCE_RULES


def cut_segment(net: Message, first: int, last: int, shapes: Mapping[str, tuple[int, ...]]) -> Segment:
    """The layers ``first`` to ``last`` of a net; ``shapes`` are those of the blobs now."""
    layers = net.messages("layer")
    inputs: list[str] = []
    made: set[str] = set()
    positions = [i for i in range(first, last + 1) if not is_source(layers[i])]
    for position in positions:
        layer = layers[position]
        inputs += [b for b in dict.fromkeys(layer.texts("bottom")) if b not in made and b not in inputs]
        made.update(layer.texts("top"))
    message = net.copy()
    message.clear("layer")
    for name in inputs:
        message.add("layer", _input_layer(name, shapes.get(name)))
    for position in positions:
        message.add("layer", layers[position].copy(), layers[position].location)
    return Segment(first, last, message, tuple(inputs), (*[None] * len(inputs), *positions))


def _input_layer(name: str, shape: tuple[int, ...] | None) -> Message:
    layer = Message("LayerParameter")
    layer.set("name", name)
    layer.set("type", "Input")
    layer.add("top", name)
    if shape is not None:
        blob_shape = Message("BlobShape")
        for extent in shape:
            blob_shape.add("dim", extent)
        param = Message("InputParameter")
        param.add("shape", blob_shape)
        layer.set("input_param", param)
    return layer
