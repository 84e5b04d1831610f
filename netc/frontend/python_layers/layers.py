"""The Python layers of one net: made once, however often the net is imported."""

from __future__ import annotations

from pathlib import Path

from netc.frontend.python_layers.classes import import_class, registered_class
from netc.frontend.python_layers.layer import LayerFacts, PythonLayer
from netc.ir.diagnostics import NetcError
from netc.ir.ops.python_layer import enter_code


class PythonLayers:
    """``allowed``: classes may be imported that nobody registered, which runs the code of their modules.

    A net is imported again for other shapes, or with more results; its layers are the same objects then, as
    they may remember things.
    """

    def __init__(self, *, allowed: bool = False) -> None:
        self.allowed = allowed
        self._layers: dict[LayerFacts, tuple[str, PythonLayer]] = {}

    def may_run(self, module: str, name: str) -> bool:
        """Whether a class may be run: it is registered, or all are allowed."""
        return self.allowed or registered_class(module, name) is not None

    def find(self, module: str, name: str, facts: LayerFacts) -> tuple[str, PythonLayer]:
        """A layer, and the key under which its code was entered."""
        known = self._layers.get(facts)
        if known is None:
            layer = PythonLayer(_class(module, name, facts), facts)
            known = self._layers[facts] = enter_code(facts.name, layer), layer
        return known


def _class(module: str, name: str, facts: LayerFacts) -> type:
    found = registered_class(module, name)
    if found is not None:
        return found
    try:
        return import_class(module, name, _folder(facts))
    except NetcError as error:
        error.at(facts.location, facts.label)
        raise


def _folder(facts: LayerFacts) -> Path | None:
    """The folder of the file that the layer stands in; None for a text."""
    if facts.location is None or not Path(facts.location.file).is_file():
        return None
    return Path(facts.location.file).resolve().parent
