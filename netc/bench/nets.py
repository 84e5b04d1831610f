"""The nets that are compared: those of the zoo that ships with the package, or any file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from netc.bench.net_shapes import KNOWN_TYPES, infer
from netc.bench.prototext import Message, parse
from netc.frontend.net_file import load_net
from netc.frontend.text_print import to_text
from netc.ir.diagnostics import NetcError

REFERENCE_NETS = ("caffenet", "googlenet", "vgg16", "resnet50", "squeezenet_v1.1", "mobilenet_v1", "lenet")
_ZOO = files("netc") / "zoo"
_SUFFIX = ".net"


@dataclass(frozen=True)
class BenchNet:
    """A net as the engines get it: the text of a prototxt, and its layers as the benchmark reads them."""

    name: str
    text: str
    layers: list[Message]


def zoo() -> dict[str, Path]:
    """Name -> file, of every net in the package."""
    paths = (Path(str(entry)) for entry in _ZOO.iterdir())
    return {path.stem: path for path in sorted(paths) if path.suffix == _SUFFIX}


def load_bench_net(name: str) -> BenchNet:
    """A net of the zoo by its name, or one in a file."""
    known = zoo()
    if name not in known and not os.path.exists(name):
        raise NetcError(f"there is no net '{name}'", remedy=f"name a file, or one of {', '.join(known)}")
    path = known.get(name, Path(name))
    text = to_text(load_net(path))
    layers = parse(text).all("layer")
    for layer in layers:
        if layer.get("type") not in KNOWN_TYPES:
            raise NetcError(
                f"{path}: netc bench has no weights for the layer type {layer.get('type')}",
                layer=layer.get("name"),
                remedy=f"it knows {', '.join(sorted(KNOWN_TYPES))}",
            )
    inputs = infer(layers).inputs
    if len(inputs) != 1:
        raise NetcError(f"{path}: netc bench runs nets of one input, got {', '.join(inputs) or 'none'}")
    return BenchNet(path.stem, text, layers)
