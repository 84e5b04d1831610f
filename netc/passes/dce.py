"""Dead code elimination.

Does: removes tensor ops none of whose results is read or returned, and so on upwards.
Requires: a tensor module (its ops have no effects).
Ensures: every op left is needed for a result. Arguments stay, used or not.
Refuses: nothing.

Example (``dce()``)::

    module m tensor {
    func @main(%x: f32[2,8]) -> (y = %y) {
      %a: f32[2,8] = math.abs %x
      %b: f32[2,8] = math.exp %a
      %y: f32[2,8] = math.abs %x
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[2,8]) -> (y = %y) {
      %y: f32[2,8] = math.abs %x
    }
    }
"""

from __future__ import annotations

from dataclasses import replace

from netc.ir.core import Func, Module, Op, walk


def dce(module: Module) -> Module:
    """The module without ops that no result depends on."""
    return replace(module, funcs=tuple(_eliminate_dead_ops(f) for f in module.funcs))


def _eliminate_dead_ops(func: Func) -> Func:
    needed = {v.name for v in func.results}
    kept: list[Op] = []
    for op in reversed(func.ops):
        if any(r.name in needed for r in op.results):
            kept.append(op)
            needed |= {v.name for inner in walk((op,)) for v in inner.operands}
    return replace(func, ops=tuple(reversed(kept)))
