"""Graphs of a net and of its IR, and files with pictures of them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

from netc.frontend.imported_net import ImportedNet, LayerInfo
from netc.ir.core import Func, Op, Value
from netc.ir.diagnostics import NetcError
from netc.ir.ops.buffer import LaunchAttrs
from netc.ir.types import BufferType, TensorType
from netc.runtime.dot import Cluster, Edge, Graph, Node
from netc.runtime.graphviz import draw
from netc.runtime.shapes import show_shape

FORMATS = ("dot", "svg", "png")
DATA, KERNEL, PARAM = "#dbe9f6", "#ffffff", "#eeeeee"
_PALETTE = ("#fde2e2", "#fdebd0", "#fcf3cf", "#d5f5e3", "#d1f2eb", "#d6eaf8", "#e8daef", "#f5e6da")


def net_graph(net: ImportedNet) -> Graph:
    """The layers of a net and the blobs between them; a layer that works in place is in its blob's box."""
    graph = Graph(net.module.name)
    boxes: dict[str, list[LayerInfo]] = {}  # key of a box -> its layers
    source: dict[str, str] = {}  # blob -> key of the box that made it last
    shapes: dict[str, str] = {}
    for index, layer in enumerate(net.layers):
        in_place = layer.bottoms and layer.tops == layer.bottoms[:1] and len(layer.bottoms) == 1
        if in_place and layer.bottoms[0] in source:
            boxes[source[layer.bottoms[0]]].append(layer)
            continue
        key = f"{index} {layer.name}"
        boxes[key] = [layer]
        for bottom in layer.bottoms:
            if bottom in source:
                graph.edges.append(Edge(source[bottom], key, shapes.get(bottom, "")))
        for top, shape in zip(layer.tops, layer.top_shapes, strict=True):
            source[top], shapes[top] = key, show_shape(shape)
    for key, layers in boxes.items():
        lines = tuple(f"{layer.name}: {layer.type}" for layer in layers)
        kind = layers[0].type
        data = not layers[0].bottoms
        graph.nodes.append(Node(key, lines, "ellipse" if data else "box", DATA if data else _color(kind)))
    return graph


def ir_graph(func: Func) -> Graph:
    """The ops of a function; the body of a fused op or of a kernel is a cluster."""
    graph = Graph(func.name)
    maker: dict[str, str] = {}  # value name -> key of the node that made it last
    for arg in func.inputs:
        maker[arg.name] = f"%{arg.name}"
        graph.nodes.append(Node(f"%{arg.name}", (arg.name, str(arg.type)), "ellipse", DATA))
    skipped = {a.name for a in func.params}
    for index, op in enumerate(func.ops):
        if op.name in ("buffer.alloc", "buffer.view", "buffer.reinterpret"):
            _follow_memory(op, maker)
        elif op.body is None:
            node = _op_node(f"{index}", op)
            graph.nodes.append(node)
            _connect(graph, op.operands, node.key, maker, skipped)
            maker.update({r.name: node.key for r in op.results})
        else:
            _add_body(graph, index, op, maker, skipped)
    for name, value in zip(func.result_names, func.results, strict=True):
        graph.nodes.append(Node(f"result {name}", (name,), "ellipse", DATA))
        _connect(graph, (value,), f"result {name}", maker, skipped)
    return graph


def write_picture(graph: Graph, path: str | os.PathLike[str], kind: str) -> None:
    """Write the graph as DOT, or as a picture by Graphviz."""
    name = os.fspath(path)
    if kind not in FORMATS:
        raise NetcError(f"'{kind}' is no format of pictures; the formats are {', '.join(FORMATS)}")
    data = graph.text().encode() if kind == "dot" else draw(graph.text(), kind)
    try:
        with open(name, "wb") as file:
            file.write(data)
    except OSError as error:
        raise NetcError(f"{name}: {error.strerror or error}") from None


def _follow_memory(op: Op, maker: dict[str, str]) -> None:
    """A view shows what its buffer does; writes into views are seen through the buffer."""
    if op.operands and op.operands[0].name in maker:
        maker[op.result.name] = maker[op.operands[0].name]


def _add_body(graph: Graph, index: int, op: Op, maker: dict[str, str], skipped: set[str]) -> None:
    assert op.body is not None
    writes = op.attrs.writes if isinstance(op.attrs, LaunchAttrs) else 0
    reads = op.operands[: len(op.operands) - writes]
    written = op.operands[len(op.operands) - writes :] if writes else op.results
    names = ", ".join(v.name for v in written)
    kernel = op.attrs.kernel if isinstance(op.attrs, LaunchAttrs) and op.attrs.kernel else op.name
    cluster = Cluster(str(index), f"{names}: {kernel}")
    inner = {a.name: maker[v.name] for a, v in zip(op.body.args, reads, strict=True) if v.name in maker}
    params = skipped | {a.name for a, v in zip(op.body.args, reads, strict=True) if v.name in skipped}
    for at, each in enumerate(op.body.ops):
        node = _op_node(f"{index}.{at}", each)
        cluster.nodes.append(node)
        _connect(graph, each.operands, node.key, inner, params)
        inner.update({r.name: node.key for r in each.results})
    if not op.body.ops:  # a copy
        node = Node(f"{index}.copy", ("copy",))
        cluster.nodes.append(node)
        _connect(graph, reads, node.key, maker, skipped)
        inner.update({v.name: node.key for v in op.body.results})
    graph.clusters.append(cluster)
    maker.update(
        {w.name: inner[v.name] for w, v in zip(written, op.body.results, strict=True) if v.name in inner}
    )


def _op_node(key: str, op: Op) -> Node:
    type_ = op.results[0].type if op.results else None
    shown = str(type_) if isinstance(type_, TensorType | BufferType) else ""
    return Node(f"op {key}", (op.name, *(r.name for r in op.results), shown), "box", _color(op.name))


def _connect(
    graph: Graph, operands: Sequence[Value], target: str, maker: dict[str, str], skipped: set[str]
) -> None:
    for value in operands:
        if value.name in maker and value.name not in skipped:
            graph.edges.append(Edge(maker[value.name], target))


def _color(kind: str) -> str:
    """One color a kind, the same in every picture."""
    return _PALETTE[zlib.crc32(kind.encode()) % len(_PALETTE)]
