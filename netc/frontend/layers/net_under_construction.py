"""What all layers of a net share while it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netc.frontend.imported_net import ParamInfo
from netc.frontend.layers.shapes import Shape
from netc.frontend.python_layers.layers import PythonLayers
from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.ops.python_layer import LayerCode

if TYPE_CHECKING:
    from netc.frontend.layers.context import LayerContext


@dataclass(slots=True)
class NetUnderConstruction:
    """A net on its way to tensor IR.

    ``input_shapes`` are the caller's; ``read`` are the names of all blobs that some layer reads.
    ``shared`` maps the name of a parameter to its first declaration. ``next_states`` maps arguments to their
    values after the run, ``counts`` values to the number of their rows that count; ``random`` is the state of
    the random numbers, which ``streams`` draws share. ``python_calls`` counts the calls of Python layers,
    which ``python_layers`` gives; ``code`` holds those of this net by their keys.
    """

    builder: FuncBuilder
    phase: str
    input_shapes: Mapping[str, Shape]
    read: frozenset[str]
    params: list[ParamInfo] = field(default_factory=list)
    shared: dict[str, ParamInfo] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    next_states: dict[Value, Value] = field(default_factory=dict)
    counts: dict[str, Value] = field(default_factory=dict)
    files: list[tuple[str, tuple[tuple[str, Value], ...], LayerContext]] = field(default_factory=list)
    random: Value | None = None
    streams: int = 0
    python_layers: PythonLayers = field(default_factory=PythonLayers)
    python_calls: Value | None = None
    code: dict[str, LayerCode] = field(default_factory=dict)
