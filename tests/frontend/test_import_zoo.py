"""Real model definitions of every vintage, where they lie beside the project: those covered import in TEST.

``tests/data/zoo_uncovered.txt`` says for every other file which layer types are missing, or why it is no net.
"""

from pathlib import Path

import pytest

from netc.frontend.importer import import_net
from netc.frontend.layers.registry import layer_type
from netc.frontend.message import Message
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.ir.verify import verify

ROOT = Path(__file__).parents[2]
ZOO = ROOT.parent / "shared" / "zoo"
UNCOVERED = ROOT / "tests" / "data" / "zoo_uncovered.txt"
PIXEL_LABELS = ("label", "sem", "geo")  # what FCN's data layers call them
FILES = sorted(p for s in ("*.prototxt", "*.pt") for p in ZOO.rglob(s) if "solver" not in p.name)

pytestmark = pytest.mark.skipif(not ZOO.is_dir(), reason="the collection of models is not beside the project")


def missing_types(net: Message) -> list[str]:
    return sorted({t for layer in net.messages("layer") if layer_type(t := layer.text("type")) is None})


def data_shapes(net: Message) -> dict[str, tuple[int, ...]]:
    """Shapes for what data layers deliver: images, and labels for an image or, from Python layers, a pixel."""
    read = {bottom for layer in net.messages("layer") for bottom in layer.texts("bottom")}
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in net.messages("layer"):
        type_ = layer.text("type")
        python = type_ == "Python" and not layer.list("bottom")
        if not python and (not type_.endswith("Data") or type_ in ("DummyData", "MemoryData")):
            continue
        for top in layer.texts("top"):
            labels = top in PIXEL_LABELS if python else "label" in top
            shapes[top] = ((2, 1, 256, 256) if python else (2,)) if labels else (2, 3, 256, 256)
    return {top: shape for top, shape in shapes.items() if top in read}


def outcome(path: Path) -> str | None:
    """What stops a file that is not covered; None for one that imports. Other errors are failures."""
    try:
        net = load_net(path)
    except NetcError as error:
        return f"no net: {error.message}"
    missing = missing_types(net)
    if missing:
        return " ".join(missing)
    try:
        imported = import_net(net, input_shapes=data_shapes(net))
    except NetcError as error:
        return f"error: {error.message}"
    verify(imported.module)
    for info in imported.layers:
        for shape in info.top_shapes:
            assert all(isinstance(extent, int) and extent >= 1 for extent in shape), (path, info.name)
    return None


def test_every_covered_net_imports_and_the_others_lack_the_layer_types_that_are_listed():
    lines = [f"{path.relative_to(ZOO)}: {why}" for path in FILES if (why := outcome(path)) is not None]
    assert lines == UNCOVERED.read_text(encoding="utf-8").splitlines()
