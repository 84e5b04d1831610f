"""The intermediate representation: module -> functions -> ops -> values. Frozen, compared by structure.

A :class:`Value` is known by its name, unique within its function (nested bodies included), so equal text
means equal IR and a pass builds new ops instead of changing old ones. What an op means (operands,
attributes, types, reference) is declared once, in :mod:`netc.ir.opdef`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from netc.ir.location import Location
from netc.ir.types import Type

Level = Literal["tensor", "buffer", "loop"]
Role = Literal["input", "param", "state", "output"]


@dataclass(frozen=True, slots=True)
class Value:
    """What an op computes, or a function or body takes."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Block:
    """A nested body: arguments, ops, and the values it yields."""

    args: tuple[Value, ...]
    ops: tuple[Op, ...]
    results: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. ``attrs`` is the frozen dataclass that the op's declaration names."""

    name: str
    operands: tuple[Value, ...]
    attrs: Any
    results: tuple[Value, ...]
    body: Block | None = None
    location: Location | None = None

    @property
    def result(self) -> Value:
        """The first result."""
        return self.results[0]


@dataclass(frozen=True, slots=True)
class Func:
    """A function: arguments with a role each, ops in execution order, named results.

    Roles: ``input`` changes with every call, ``param`` stays, ``state`` is memory that lasts from call to
    call and that a call may change: a result of its name is what it holds after the call. ``output``
    (buffer level) is written.
    """

    name: str
    args: tuple[Value, ...]
    roles: tuple[Role, ...]
    ops: tuple[Op, ...]
    results: tuple[Value, ...]
    result_names: tuple[str, ...]

    def _with_role(self, role: Role) -> tuple[Value, ...]:
        return tuple(a for a, r in zip(self.args, self.roles, strict=True) if r == role)

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The arguments that change with every call."""
        return self._with_role("input")

    @property
    def params(self) -> tuple[Value, ...]:
        """The learned arguments."""
        return self._with_role("param")

    @property
    def states(self) -> tuple[Value, ...]:
        """The arguments that a call may change."""
        return self._with_role("state")

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The arguments that are written (buffer level)."""
        return self._with_role("output")

    def role(self, name: str) -> Role | None:
        """The role of the argument of this name; None if there is none."""
        return next((r for a, r in zip(self.args, self.roles, strict=True) if a.name == name), None)


@dataclass(frozen=True, slots=True)
class Module:
    """A compilation unit: functions of one level."""

    name: str
    level: Level
    funcs: tuple[Func, ...]

    def func(self, name: str) -> Func:
        """The function of this name; KeyError if there is none."""
        for func in self.funcs:
            if func.name == name:
                return func
        raise KeyError(name)

    def with_func(self, func: Func) -> Module:
        """The module with the function of the same name replaced, or added at the end."""
        if any(f.name == func.name for f in self.funcs):
            return replace(self, funcs=tuple(func if f.name == func.name else f for f in self.funcs))
        return replace(self, funcs=(*self.funcs, func))


def walk(ops: tuple[Op, ...]) -> Iterator[Op]:
    """All ops, outer before inner, in order."""
    for op in ops:
        yield op
        if op.body is not None:
            yield from walk(op.body.ops)


def definitions(func: Func) -> dict[str, Op]:
    """Value name -> the op of the function's top level that defines it."""
    return {r.name: op for op in func.ops for r in op.results}


def users(func: Func) -> dict[str, list[Op]]:
    """Value name -> the top-level ops that read it, one entry per use; results are not counted."""
    found: dict[str, list[Op]] = {}
    for op in func.ops:
        for value in op.operands:
            found.setdefault(value.name, []).append(op)
    return found


def fresh_name(base: str, taken: set[str]) -> str:
    """``base``, or ``base.1``, ``base.2`` … if it is taken; the result is added to ``taken``.

    The number follows a taken one, and is the first free one where there are no gaps: it is found by
    bisection, as thousands of values may have one hint.
    """
    name = base
    if name in taken:
        used, free = 0, 1
        while f"{base}.{free}" in taken:
            used, free = free, 2 * free
        while free - used > 1:
            middle = (used + free) // 2
            if f"{base}.{middle}" in taken:
                used = middle
            else:
                free = middle
        name = f"{base}.{free}"
    taken.add(name)
    return name


def ops_for(func: Func, names: Collection[str]) -> list[Op]:
    """The ops that the results ``names`` need, in order."""
    results = zip(func.result_names, func.results, strict=True)
    needed = {value.name for name, value in results if name in names}
    found: list[Op] = []
    for op in reversed(func.ops):
        if any(r.name in needed for r in op.results):
            needed.update(v.name for v in op.operands)
            found.append(op)
    return found[::-1]
