"""Checks the invariants of the IR; run after every pass in the tests and by ``--verify-each``."""

from __future__ import annotations

from netc.ir.builder import infer_types
from netc.ir.core import Func, Level, Module, Op, Value
from netc.ir.diagnostics import NetcError, OpError
from netc.ir.opdef import opdef
from netc.ir.printer import print_op


def verify(module: Module) -> None:
    """Raise NetcError if a function breaks a rule: definition before use, unique names, legal ops, types.

    The message quotes the op; the location is the layer it came from.
    """
    for func in module.funcs:
        _verify_func(func, module.level)


def _verify_func(func: Func, level: Level) -> None:
    if len(func.args) != len(func.roles) or len(func.results) != len(func.result_names):
        raise NetcError(f"function '{func.name}': each argument needs a role and each result a name")
    known: dict[str, Value] = {}
    for arg in func.args:
        _define(known, arg, None)
    _verify_ops(func.ops, known, level)
    for result in func.results:
        if known.get(result.name) != result:
            raise NetcError(f"function '{func.name}' returns %{result.name}: {result.type}, which is not defined so")


def _verify_ops(ops: tuple[Op, ...], known: dict[str, Value], level: Level) -> None:
    for op in ops:
        for value in op.operands:
            if known.get(value.name) != value:
                raise _broken(op, f"operand %{value.name}: {value.type} is not defined before")
        try:
            definition = opdef(op.name)
            if definition.level != level:
                raise OpError(f"{op.name} is an op of the {definition.level} level, not {level}")
            if op.body is not None:
                inner = dict(known)
                for arg in op.body.args:
                    _define(inner, arg, op)
                body_level: Level = "tensor" if op.name in ("fusion", "buffer.launch") else level
                _verify_ops(op.body.ops, inner, body_level)
                for result in op.body.results:
                    if inner.get(result.name) != result:
                        raise OpError(f"the body yields %{result.name}, which is not defined")
                # names are unique in the whole function
                known.update({n: v for n, v in inner.items() if n not in known})
            types = infer_types(op.name, op.operands, op.attrs, op.body)
        except OpError as error:
            raise _broken(op, error.message) from None
        if types != tuple(r.type for r in op.results):
            stated = ", ".join(str(r.type) for r in op.results)
            raise _broken(op, f"results are {stated}, but the op makes {', '.join(map(str, types))}")
        for result in op.results:
            _define(known, result, op)



def _define(known: dict[str, Value], value: Value, op: Op | None) -> None:
    if value.name in known:
        message = f"%{value.name} is defined twice"
        raise _broken(op, message) if op is not None else NetcError(message)
    known[value.name] = value


def _broken(op: Op, message: str) -> NetcError:
    return NetcError(message, location=op.location, notes=["in " + print_op(op, locations=False)])
