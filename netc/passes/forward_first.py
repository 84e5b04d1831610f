"""Put what the results of the forward pass need before everything else.

Does: sorts the ops of ``@main`` into those that the results ``names`` depend on and all others, each group in
its old order. So a run can stop after the first group, hand out these results, and go on later.

Requires: a tensor module.
Ensures: the same ops; nothing that ``names`` depends on stands behind anything else.
Refuses: nothing.

Example (``forward_first(names=["y"])``)::

    module m tensor {
    func @main(%x: f32[N,8]) -> (y = %y, z = %z) {
      %a: f32[N,8] = math.exp %x
      %z: f32[N,8] = math.abs %a
      %y: f32[N,8] = math.log %a
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[N,8]) -> (y = %y, z = %z) {
      %a: f32[N,8] = math.exp %x
      %y: f32[N,8] = math.log %a
      %z: f32[N,8] = math.abs %a
    }
    }
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from netc.ir.core import Func, Module, ops_for


def forward_first(module: Module, *, names: Collection[str]) -> Module:
    """The module with the ops of the results ``names`` in front."""
    return module.with_func(_sort(module.func("main"), names))


def _sort(func: Func, names: Collection[str]) -> Func:
    first = ops_for(func, names)
    members = {id(op) for op in first}
    rest = [op for op in func.ops if id(op) not in members]
    return replace(func, ops=(*first, *rest))
