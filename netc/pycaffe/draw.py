"""``caffe.draw``: pictures of nets, from their definitions alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from netc.frontend.message import Message
from netc.frontend.phases import NetState, filter_net
from netc.frontend.protobuf_messages import from_protobuf
from netc.frontend.upgrade import upgrade_net
from netc.ir.diagnostics import NetcError
from netc.pycaffe.net import PHASES
from netc.runtime.dot import Edge, Graph, Node
from netc.runtime.draw import write_picture
from netc.runtime.graphviz import draw

DIRECTIONS = ("LR", "TB", "BT", "RL")
LAYER, CONVOLUTION, POOLING, PRODUCT, BLOB = "#6495ed", "#ff5050", "#ff9900", "#cc33ff", "#e0e0e0"
_FILLS = {
    "Convolution": CONVOLUTION,
    "Deconvolution": CONVOLUTION,
    "Pooling": POOLING,
    "InnerProduct": PRODUCT,
}
_WINDOWED = {
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "Pooling": "pooling_param",
}


def draw_net_to_file(
    caffe_net: Any, filename: str | os.PathLike[str], rankdir: str = "LR", phase: int | None = None
) -> None:
    """Write a picture of a net (a ``NetParameter``); the suffix of the name says the format.

    ``phase`` leaves out layers of the other one. See netc.runtime.graphviz for what draws it.
    """
    kind = Path(filename).suffix.lstrip(".").lower() or "png"
    write_picture(net_graph(caffe_net, rankdir, phase), filename, kind)


def draw_net(caffe_net: Any, rankdir: str = "LR", ext: str = "png", phase: int | None = None) -> bytes:
    """The picture as bytes."""
    graph = net_graph(caffe_net, rankdir, phase)
    return graph.text().encode() if ext == "dot" else draw(graph.text(), ext)


def net_graph(caffe_net: Any, rankdir: str = "LR", phase: int | None = None) -> Graph:
    """Layers and the blobs between them; a layer that works in place stands beside its blob."""
    if rankdir not in DIRECTIONS:
        raise NetcError(f"rankdir is one of {', '.join(DIRECTIONS)}, got '{rankdir}'")
    net = upgrade_net(caffe_net if isinstance(caffe_net, Message) else from_protobuf(caffe_net))
    if phase is not None:
        net = filter_net(net, NetState(PHASES[phase]))
    graph = Graph(net.text("name"), direction=rankdir)
    blobs: dict[str, None] = {}
    for index, layer in enumerate(net.messages("layer")):
        key = f"layer {index}"
        kind = layer.text("type")
        graph.nodes.append(Node(key, _lines(layer), "box", _FILLS.get(kind, LAYER)))
        bottoms, tops = layer.texts("bottom"), layer.texts("top")
        for name in (*bottoms, *tops):
            blobs.setdefault(name)
        width = _width(layer)
        for name in dict.fromkeys(bottoms):
            graph.edges.append(Edge(f"blob {name}", key))
        for name in dict.fromkeys(tops):
            graph.edges.append(Edge(key, f"blob {name}", width))
    graph.nodes += [Node(f"blob {name}", (name,), "octagon", BLOB) for name in blobs]
    return graph


def _lines(layer: Message) -> tuple[str, ...]:
    kind = layer.text("type")
    lines = [layer.text("name"), f"({kind})"]
    if kind in _WINDOWED:
        param = layer.message(_WINDOWED[kind])
        for name, what in (("kernel_size", "kernel"), ("stride", "stride"), ("pad", "pad")):
            values = param.integers(name)
            if values:
                lines.append(f"{what} {'x'.join(map(str, values))}")
    return tuple(lines)


def _width(layer: Message) -> str:
    """How many channels a layer makes, where its definition says so."""
    kind = layer.text("type")
    name = {"InnerProduct": "inner_product_param"}.get(kind) or _WINDOWED.get(kind)
    if name is None or kind == "Pooling":
        return ""
    return str(layer.message(name).integer("num_output"))
