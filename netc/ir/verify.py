"""Checks the invariants of the IR; run after every pass in the tests and by ``--verify-each``."""

from __future__ import annotations

from collections.abc import Iterable

from netc.ir.builder import infer_types
from netc.ir.core import Func, Level, Module, Op, Value
from netc.ir.diagnostics import NetcError, OpError
from netc.ir.opdef import opdef
from netc.ir.printer import print_op
from netc.ir.types import BufferType, TensorType, check_type

# ops whose body is of the tensor level and sees its own arguments only: passes that count uses or free
# memory look at operands, not into bodies
_ISOLATED = frozenset({"fusion", "buffer.launch"})


def verify(module: Module) -> None:
    """Raise NetcError if a function breaks a rule: definition before use, unique names, legal ops, types.

    The message quotes the op; the location is the layer it came from.
    """
    _check_unique(f"module '{module.name}': function", (f.name for f in module.funcs))
    for func in module.funcs:
        _FuncVerifier(module.level).run(func)


def _check_unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise NetcError(f"{what} '{name}' is there twice")
        seen.add(name)


class _FuncVerifier:
    """``names`` are all names of the function so far; what may be used where is ``scope``."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.names: set[str] = set()

    def run(self, func: Func) -> None:
        if len(func.args) != len(func.roles) or len(func.results) != len(func.result_names):
            raise NetcError(f"function '{func.name}': each argument needs a role and each result a name")
        _check_unique(f"function '{func.name}': result", func.result_names)
        scope: dict[str, Value] = {}
        try:
            for arg in func.args:
                self.define(scope, arg, self.level)
        except OpError as error:
            raise NetcError(f"function '{func.name}': {error.message}") from None
        self.ops(func.ops, scope, self.level)
        states = {value.name: value for value in func.states}
        for result, name in zip(func.results, func.result_names, strict=True):
            if name in states and states[name].type != result.type:
                raise NetcError(
                    f"function '{func.name}': the state '{name}' is {states[name].type}, "
                    f"but {result.type} after a call"
                )
            if scope.get(result.name) != result:
                raise NetcError(
                    f"function '{func.name}' returns %{result.name}: {result.type}, which is not defined so"
                )

    def ops(self, ops: tuple[Op, ...], scope: dict[str, Value], level: Level) -> None:
        for op in ops:
            try:
                self.op(op, scope, level)
            except OpError as error:
                notes = ["in " + print_op(op, locations=False)]
                raise NetcError(error.message, location=op.location, notes=notes) from None

    def op(self, op: Op, scope: dict[str, Value], level: Level) -> None:
        for value in op.operands:
            if scope.get(value.name) != value:
                raise OpError(f"operand %{value.name}: {value.type} is not defined before")
        definition = opdef(op.name)
        if definition.level != level:
            raise OpError(f"{op.name} is an op of the {definition.level} level, not {level}")
        if op.body is not None:
            isolated = op.name in _ISOLATED
            inner = {} if isolated else dict(scope)
            body_level: Level = "tensor" if isolated else level
            for arg in op.body.args:
                self.define(inner, arg, body_level)
            self.ops(op.body.ops, inner, body_level)
            for result in op.body.results:
                if inner.get(result.name) != result:
                    raise OpError(f"the body yields %{result.name}, which is not defined")
        types = infer_types(op.name, op.operands, op.attrs, op.body)
        if types != tuple(r.type for r in op.results):
            stated = ", ".join(str(r.type) for r in op.results)
            raise OpError(f"results are {stated}, but the op makes {', '.join(map(str, types))}")
        for result in op.results:
            self.define(scope, result, level)

    def define(self, scope: dict[str, Value], value: Value, level: Level) -> None:
        if value.name in self.names:
            raise OpError(f"%{value.name} is defined twice")
        expected = {"tensor": TensorType, "buffer": BufferType}.get(level)
        if expected is not None and not isinstance(value.type, expected):
            raise OpError(f"%{value.name}: {value.type} is not a value of the {level} level")
        check_type(value.type)
        self.names.add(value.name)
        scope[value.name] = value
