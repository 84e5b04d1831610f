"""Adds arguments, results and ops to a function that exists, each op as early as its operands allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from netc.ir.builder import OpAdder
from netc.ir.core import Func, Op, Role, Value, walk
from netc.ir.diagnostics import NetcError
from netc.ir.types import Type


class FuncEdit:
    """A function in the making: :meth:`add1` puts an op behind those that its operands need."""

    def __init__(self, func: Func) -> None:
        bodies = [op.body for op in walk(func.ops) if op.body is not None]
        inner = (v for b in bodies for v in b.args)
        taken = {a.name for a in func.args} | {r.name for op in walk(func.ops) for r in op.results}
        self._adder = OpAdder(taken | {v.name for v in inner})
        self._func = func
        self._args = list(func.args)
        self._roles = list(func.roles)
        self._results = dict(zip(func.result_names, func.results, strict=True))
        # the index of the old op behind which a value exists
        self._defined = {r.name: i for i, op in enumerate(func.ops) for r in op.results}
        self._last_use = {v.name: i for i, op in enumerate(func.ops) for v in op.operands}
        self._added: dict[int, list[Op]] = {}

    def arg(self, name: str, type_: Type, role: Role) -> Value:
        """A new argument."""
        if name in self._adder.taken:
            raise NetcError(f"the function '{self._func.name}' has a value '{name}' already")
        self._adder.taken.add(name)
        self._args.append(Value(name, type_))
        self._roles.append(role)
        return self._args[-1]

    def state(self, name: str, type_: Type) -> Value:
        """A new argument that a call may change."""
        return self.arg(name, type_, "state")

    def take_result(self, name: str) -> Value:
        """Remove a result; its value."""
        if name not in self._results:
            raise NetcError(f"the function '{self._func.name}' has no result '{name}'")
        return self._results.pop(name)

    def result(self, name: str, value: Value) -> None:
        """Add a result."""
        self._results[name] = value

    def last_use(self, value: Value) -> int:
        """The index of the last old op that reads a value; -1: none does."""
        return self._last_use.get(value.name, -1)

    def add1(
        self,
        name: str,
        operands: Sequence[Value],
        attrs: Any = None,
        *,
        hint: str,
        behind: int = -1,
    ) -> Value:
        """Add an op with one result, not before the old op of index ``behind``."""
        result = self._adder.add1(name, operands, attrs, hint=hint)
        op = self._adder.ops.pop()
        place = max((behind, *(self._defined.get(v.name, -1) for v in operands)))
        self._defined[result.name] = place
        self._added.setdefault(place, []).append(op)
        return result

    def finish(self) -> Func:
        """The function with all that was added."""
        ops: list[Op] = list(self._added.get(-1, ()))
        for index, op in enumerate(self._func.ops):
            ops.append(op)
            ops += self._added.get(index, ())
        return replace(
            self._func,
            args=tuple(self._args),
            roles=tuple(self._roles),
            ops=tuple(ops),
            results=tuple(self._results.values()),
            result_names=tuple(self._results),
        )
