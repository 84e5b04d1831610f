"""``netc export``: a net with its weights as an ONNX file."""

from __future__ import annotations

from pathlib import Path

from netc.backends.onnx.model import OPSET
from netc.cli.output import put, say_warnings
from netc.cli.request import NetRequest
from netc.ir.diagnostics import NetcError
from netc.runtime.export import export_onnx


def command(request: NetRequest, output: str) -> None:
    """``netc export``."""
    if request.is_compiled:
        raise NetcError(f"{request.model} is compiled", remedy="give the prototxt that it was compiled from")
    if Path(output).suffix.lower() != ".onnx":
        raise NetcError(
            f"{output}: netc exports to .onnx", remedy="netc convert writes nets and weights of Caffe's"
        )
    say_warnings(export_onnx(request.model, request.weights, output, request.options))
    put(f"{output}: opset {OPSET}, {Path(output).stat().st_size} bytes")
