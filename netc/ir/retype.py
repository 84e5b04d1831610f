"""Gives a function's inputs other types and infers everything that follows from them anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from netc.ir.builder import infer_types
from netc.ir.core import Func, Module, Op, Value
from netc.ir.diagnostics import NetcError, OpError
from netc.ir.types import Type


def with_input_types(module: Module, types: Mapping[str, Type]) -> Module:
    """The module whose ``@main`` takes inputs of these types (by name; others stay).

    Attributes stay as they are, so an op that states a shape (reshape, slice) may not fit any more:
    NetcError with the op's location. Ops with a body are not supported.
    """
    main = module.func("main")
    unknown = sorted(set(types) - {a.name for a in main.args})
    if unknown:
        names = ", ".join(f"'{a.name}'" for a in main.inputs)
        raise NetcError(f"there is no input '{unknown[0]}'; the inputs are {names}")
    return module.with_func(_retype(main, types))


def _retype(func: Func, types: Mapping[str, Type]) -> Func:
    now = {a.name: Value(a.name, types.get(a.name, a.type)) for a in func.args}
    args = tuple(now.values())
    ops: list[Op] = []
    for op in func.ops:
        operands = tuple(now[v.name] for v in op.operands)
        try:
            inferred = infer_types(op.name, operands, op.attrs, op.body)
        except OpError as error:
            error.at(op.location)
            raise
        results = tuple(Value(r.name, t) for r, t in zip(op.results, inferred, strict=True))
        now.update({r.name: r for r in results})
        ops.append(replace(op, operands=operands, results=results))
    return replace(func, args=args, ops=tuple(ops), results=tuple(now[v.name] for v in func.results))
