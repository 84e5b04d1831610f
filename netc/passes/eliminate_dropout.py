"""Eliminate dropout, which is noise in training only, and what stopped gradients.

Does: replaces the result of ``nn.dropout`` and of ``math.stop_gradient`` by its operand.
Requires: a tensor module.
Ensures: none of them is left. Nothing else changes.
Refuses: nothing.

Example (``eliminate_dropout()``)::

    module m tensor {
    func @main(%x: f32[N,8]) -> (y = %y) {
      %d: f32[N,8] = nn.dropout %x {ratio = 0.5}
      %y: f32[N,8] = math.relu %d {slope = 0.0}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[N,8]) -> (y = %y) {
      %y: f32[N,8] = math.relu %x {slope = 0.0}
    }
    }
"""

from __future__ import annotations

from netc.ir.core import Module, Op, Value
from netc.ir.rewrite import Rewriter, rewrite_module


def eliminate_dropout(module: Module) -> Module:
    """The module without ops that do nothing."""
    return rewrite_module(module, (_eliminate,))


def _eliminate(op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
    del rewriter
    return op.operands if op.name in ("math.stop_gradient", "nn.dropout") else None
