"""Writes a tensor-level function as an ONNX model: a node or a few for each op, parameters as initializers.

The opset is pinned, so that the same net gives the same file whatever version of the library is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netc.backends.onnx import arithmetic, elements, labels, windows
from netc.backends.onnx.graph import Array, OnnxGraph, Rule
from netc.ir.core import Func, Op
from netc.ir.diagnostics import NetcError

OPSET = 13
IR_VERSION = 8  # of the file format, the one that came with the opset's time
MAX_BYTES = 2**31 - 1  # of one protobuf message

_RULES: Mapping[str, Rule] = {**arithmetic.RULES, **elements.RULES, **labels.RULES, **windows.RULES}
_TRAINING = "export the net in phase TEST"
_CUT = "cut the net before this layer, or run it with netc"
_COUNTED = "cannot be exported, as how many rows its result has is found in the run"
_REFUSED: Mapping[str, tuple[str, str]] = {
    "detect.proposals": (_COUNTED, _CUT),
    "detect.ssd": (_COUNTED, _CUT),
    "detect.yolo_v2": (_COUNTED, _CUT),
    "detect.yolo_v3": (_COUNTED, _CUT),
    "nn.stochastic_pool": ("draws elements at random, which is for training", _TRAINING),
    "random.dropout": ("draws random numbers, which is for training", _TRAINING),
    "random.next": ("draws random numbers, which is for training", _TRAINING),
    "random.uniform": ("draws random numbers, which is for training", _TRAINING),
    "tensor.select": (_COUNTED, _CUT),
}
"""Ops whose absence has a reason of its own, and the way out."""


def to_onnx(func: Func, params: Mapping[str, Array], name: str, producer_version: str) -> bytes:
    """The model's bytes. ``params`` holds the array of each argument of role ``param``.

    NetcError, located, for an op without a counterpart, or a size that must be known and is not.
    """
    onnx = _library()
    size = sum(array.nbytes for array in params.values())
    if size > MAX_BYTES:
        raise NetcError(f"the parameters take {size} bytes, and one ONNX file holds {MAX_BYTES}")
    graph = OnnxGraph(onnx, func)
    for param in func.params:
        graph.initializer(graph.name(param), np.ascontiguousarray(params[param.name]))
    for op in func.ops:
        rule = _RULES.get(op.name)
        if rule is None:
            raise _refusal(op)
        rule(graph, op)
    graph.finish()
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            name,
            [graph.described(value, graph.name(value)) for value in func.inputs],
            [graph.described(v, n) for v, n in zip(func.results, func.result_names, strict=True)],
            graph.initializers,
        ),
        producer_name="netc",
        producer_version=producer_version,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _library() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise NetcError(
            "an export to ONNX needs the package onnx", remedy="install it with: pip install 'netc[onnx]'"
        ) from None
    return onnx


def _refusal(op: Op) -> NetcError:
    reason, remedy = _REFUSED.get(op.name, (f"has no counterpart in ONNX's opset {OPSET}", _CUT))
    return NetcError(f"{op.name} {reason}", location=op.location, remedy=remedy)
