"""Common subexpression elimination.

Does: where two ops agree in name, operands and attributes, keeps the first and lets it serve both.
Requires: a tensor module.
Ensures: no two such ops are left. Ops with a body stay.
Refuses: nothing.

Example (``cse()``)::

    module m tensor {
    func @main(%x: f32[2,8]) -> (y = %y) {
      %a: f32[2,8] = math.exp %x
      %b: f32[2,8] = math.exp %x
      %y: f32[2,8] = math.add %a, %b
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[2,8]) -> (y = %y) {
      %a: f32[2,8] = math.exp %x
      %y: f32[2,8] = math.add %a, %a
    }
    }
"""

from __future__ import annotations

from dataclasses import replace

from netc.ir.core import Module, Op, Value
from netc.ir.rewrite import Rewriter, rewrite_func


def cse(module: Module) -> Module:
    """The module with equal ops computed once."""
    return replace(module, funcs=tuple(rewrite_func(f, (_SharedOps(),)) for f in module.funcs))


class _SharedOps:
    """The rewrite rule of one function; remembers the ops seen."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], tuple[Value, ...]] = {}

    def __call__(self, op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
        del rewriter
        if op.body is not None:
            return None
        # repr tells 0.0 from -0.0, which == does not
        key = (op.name, tuple(v.name for v in op.operands), repr(op.attrs))
        if key in self._seen:
            return self._seen[key]
        self._seen[key] = op.results
        return None
