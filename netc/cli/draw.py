"""``netc draw``: a picture of the net, or of its IR with fused groups in frames."""

from __future__ import annotations

from pathlib import Path

from netc.cli.output import put, say_warnings
from netc.cli.request import NetRequest
from netc.ir.diagnostics import NetcError
from netc.runtime.api import read_message
from netc.runtime.compiler import Compiled, import_message
from netc.runtime.dot import Graph
from netc.runtime.draw import ir_graph, net_graph, write_picture
from netc.runtime.emit import module_at
from netc.runtime.read_artifact import read_artifact


def command(request: NetRequest, output: str | None, kind: str | None, stage: str) -> None:
    """``netc draw``."""
    graph = _graph(request, stage)
    if output is None:
        if kind not in (None, "dot"):
            raise NetcError(f"a picture in {kind} goes into a file", remedy=f"give -o FILE.{kind}")
        put(graph.text().rstrip("\n"))
        return
    write_picture(graph, output, kind or Path(output).suffix.lstrip(".").lower() or "dot")


def _graph(request: NetRequest, stage: str) -> Graph:
    if request.is_compiled:
        return _compiled_graph(read_artifact(request.model).compiled, stage)
    message = read_message(request.model, request.options)
    net = import_message(message, request.options)
    say_warnings(net.warnings)
    if stage == "net":
        return net_graph(net)
    return ir_graph(module_at(net, request.options, stage).func("main"))


def _compiled_graph(compiled: Compiled, stage: str) -> Graph:
    if stage == "net":
        return net_graph(compiled.net)
    module = {"import": compiled.net.module, "tensor": compiled.tensor, "buffer": compiled.buffer}[stage]
    if module is None:
        raise NetcError(f"a net compiled for {compiled.options.target} has no stage '{stage}'")
    return ir_graph(module.func("main"))
