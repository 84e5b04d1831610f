"""What a net of Caffe's Python interface consists of: its layers, blobs and parameters, by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.pycaffe.blob import Blob, ParamBlob
from netc.pycaffe.layer import Layer
from netc.pycaffe.segment import is_source
from netc.pycaffe.source_layers import DummyData, Source
from netc.runtime.shapes import show_shape


class NetParts:
    """The parts of a net, to be looked at; whoever derives from it makes them."""

    layers: list[Layer]
    _message: Message
    _layer_messages: tuple[Message, ...]
    _layer_names: list[str]
    _outputs: list[str]
    _blobs: OrderedDict[str, Blob]
    _params: OrderedDict[str, list[ParamBlob]]
    _sources: dict[int, Source]

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name} {show_shape(self._blobs[name].shape)}" for name in self.inputs)
        return f"<Net {self.name}({inputs}) with {len(self.layers)} layers>"

    @property
    def name(self) -> str:
        """The net's name."""
        return self._message.text("name")

    @property
    def blobs(self) -> OrderedDict[str, Blob]:
        """The blobs by name, in the order they are made; they show what the last layer in place wrote."""
        return self._blobs

    @property
    def params(self) -> OrderedDict[str, list[ParamBlob]]:
        """The parameters of each layer that has some, by the layer's name."""
        return self._params

    @property
    def layer_dict(self) -> OrderedDict[str, Layer]:
        """The layers by name."""
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @property
    def inputs(self) -> list[str]:
        """The tops of Input layers."""
        inputs = (layer for layer in self._layer_messages if layer.text("type") == "Input")
        return [top for layer in inputs for top in layer.texts("top") if top in self._blobs]

    @property
    def fed_blobs(self) -> list[str]:
        """The blobs that only the caller can fill: inputs, and tops of layers that would read files."""
        layers = enumerate(self._layer_messages)
        feeders = (m for i, m in layers if is_source(m) and not isinstance(self._sources.get(i), DummyData))
        return [top for layer in feeders for top in layer.texts("top") if top in self._blobs]

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads, sorted by name."""
        return list(self._outputs)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The tops of each layer, by the layer's name."""
        return self._names("top")

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The bottoms of each layer, by the layer's name."""
        return self._names("bottom")

    def _position(self, layer: str) -> int:
        if layer not in self._layer_names:
            raise NetcError(f"the net has no layer '{layer}'; its layers are {', '.join(self._layer_names)}")
        return self._layer_names.index(layer)

    def _check_blobs(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._blobs:
                raise NetcError(f"the net has no blob '{name}'; its blobs are {', '.join(self._blobs)}")

    def _names(self, field: str) -> OrderedDict[str, list[str]]:
        return OrderedDict((m.text("name"), list(m.texts(field))) for m in self._layer_messages)
