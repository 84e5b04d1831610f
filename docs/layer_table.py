"""Writes docs/layers.md: every layer type that netc imports, with what its rule says it computes.

usage: python docs/layer_table.py         (a test fails while the file is out of date)
"""

from __future__ import annotations

import inspect
from pathlib import Path

import netc.frontend.layers  # noqa: F401  fills the table
from netc.frontend.known_layers import why_unsupported
from netc.frontend.layers.registry import Count, layer_type, layer_type_names

TARGET = Path(__file__).resolve().parent / "layers.md"
HEAD = """# Layer types

Made by `python docs/layer_table.py` from the table of import rules (`netc/frontend/layers/`). Forward and
backward, on the CPU and on the NumPy reference; an op without a kernel of its own runs by its reference between
the compiled ones. Layers of boxes, indices and labels have no gradient. The rules' docstrings say more, with
Caffe's deviations.

| type | bottoms | tops | what it computes | rule |
|---|---|---|---|---|
"""


def layer_table() -> str:
    """The text of docs/layers.md."""
    rows = []
    for name in layer_type_names():
        entry = layer_type(name)
        if entry is None or not entry.rule.__module__.startswith("netc."):
            continue
        known = why_unsupported(name)
        text = inspect.getdoc(entry.rule) or ""
        purpose = text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|").replace("``", "`")
        if known is not None:
            purpose = f"{known[0]}. {purpose}"
        file = entry.rule.__module__.rpartition(".")[2] + ".py"
        rows.append(f"| {name} | {_count(entry.bottoms)} | {_count(entry.tops)} | {purpose} | `{file}` |")
    return HEAD + "\n".join(rows) + "\n"


def _count(count: Count) -> str:
    least, most = count
    if most is None:
        return f"{least} or more"
    return str(least) if least == most else f"{least} to {most}"


if __name__ == "__main__":
    TARGET.write_text(layer_table(), encoding="utf-8")
