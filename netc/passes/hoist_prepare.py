"""Hoist what depends on the parameters alone into a function of its own, ``@prepare``.

Does: splits ``@main(inputs…, states…, params…)`` into ``@prepare(params…)``, which holds every param-only op
that something in main needs, and ``@main(inputs…, states…, prepared…)``. The runtime runs ``@prepare`` once,
when weights are loaded or changed. Params that need no preparation pass straight through.

Requires: a tensor module whose only function is ``@main``.
Ensures: main's params have the names of prepare's results. Params and ops that nobody needs are gone from
main; prepare still takes every param.
Refuses: a module with a function called ``prepare`` (it was hoisted before).

Example (``hoist_prepare()``)::

    module m tensor {
    func @main(%x: f32[N,8], %s: param f32[1,8], %t: param f32[1,8]) -> (y = %y) {
      %e: f32[1,8] = math.exp %s
      %a: f32[N,8] = math.mul %x, %e
      %y: f32[N,8] = math.add %a, %t
    }
    }

becomes::

    module m tensor {
    func @prepare(%s: param f32[1,8], %t: param f32[1,8]) -> (e = %e, t = %t) {
      %e: f32[1,8] = math.exp %s
    }
    func @main(%x: f32[N,8], %e: param f32[1,8], %t: param f32[1,8]) -> (y = %y) {
      %a: f32[N,8] = math.mul %x, %e
      %y: f32[N,8] = math.add %a, %t
    }
    }
"""

from __future__ import annotations

from dataclasses import replace

from netc.ir.core import Func, Module, Role, Value, walk
from netc.ir.diagnostics import NetcError
from netc.ir.param_only import param_only


def hoist_prepare(module: Module) -> Module:
    """The module with ``@prepare`` split from ``@main``."""
    if any(f.name == "prepare" for f in module.funcs):
        raise NetcError("the module has a function 'prepare' already; hoist_prepare runs once")
    prepare, main = _split(module.func("main"))
    return replace(module, funcs=(prepare, main))


def _split(func: Func) -> tuple[Func, Func]:
    hoisted = param_only(func)
    kept = tuple(op for op in func.ops if not all(r.name in hoisted for r in op.results))
    needed: dict[str, Value] = {}
    for value in (*(v for op in walk(kept) for v in op.operands), *func.results):
        if value.name in hoisted:
            needed.setdefault(value.name, value)
    prepared = tuple(needed.values())
    ops = tuple(op for op in func.ops if all(r.name in hoisted for r in op.results))
    prepare = Func("prepare", func.params, _repeat("param", func.params), ops, prepared, tuple(needed))
    roles = (*_repeat("input", func.inputs), *_repeat("state", func.states), *_repeat("param", prepared))
    main = replace(func, args=(*func.inputs, *func.states, *prepared), roles=roles, ops=kept)
    return prepare, main


def _repeat(role: Role, values: tuple[Value, ...]) -> tuple[Role, ...]:
    return (role,) * len(values)
