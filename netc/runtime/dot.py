"""Writes graphs in the DOT language; a small model of what we need of it: nodes, edges, nested clusters."""

from __future__ import annotations

from dataclasses import dataclass, field

NAME_LIMIT = 60
_FRAME = 'style="filled,rounded" color="#9aa5b1" fillcolor="#f2f5f8"'
_FONT = 'fontname="Helvetica" fontsize=11'


@dataclass(frozen=True, slots=True)
class Node:
    """A box with lines of text."""

    key: str
    lines: tuple[str, ...]
    shape: str = "box"
    fill: str = "#ffffff"


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow between two nodes, by key."""

    source: str
    target: str
    label: str = ""


@dataclass(slots=True)
class Cluster:
    """Nodes in a frame with a title."""

    key: str
    title: str
    nodes: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Graph:
    """A directed graph, drawn from top to bottom (TB) or as ``direction`` says: LR, BT, RL."""

    name: str
    nodes: list[Node] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    direction: str = "TB"

    def text(self) -> str:
        """The graph in DOT."""
        lines = [
            f"digraph {quote(self.name)} {{",
            f"  graph [rankdir={self.direction} {_FONT}]",
            f'  node [style="filled,rounded" {_FONT}]',
            f'  edge [color="#606060" {_FONT}]',
            *(f"  {_node(node)}" for node in self.nodes),
        ]
        for index, cluster in enumerate(self.clusters):
            lines += [
                f"  subgraph cluster_{index} {{",
                f"    label={quote(cluster.title)} {_FRAME}",
                *(f"    {_node(node)}" for node in cluster.nodes),
                "  }",
            ]
        for edge in self.edges:
            label = f" [label={quote(edge.label)}]" if edge.label else ""
            lines.append(f"  {quote(edge.source)} -> {quote(edge.target)}{label}")
        return "\n".join([*lines, "}"]) + "\n"


def quote(text: str) -> str:
    """A DOT string: quotes, backslashes and control characters of the text do no harm."""
    safe = "".join(ch if ch.isprintable() or ch == "\n" else "?" for ch in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _node(node: Node) -> str:
    label = quote("\n".join(map(_shortened, node.lines)))
    return f'{quote(node.key)} [label={label} shape={node.shape} fillcolor="{node.fill}"]'


def _shortened(line: str) -> str:
    return line if len(line) <= NAME_LIMIT else line[: NAME_LIMIT - 1] + "…"
