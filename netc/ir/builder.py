"""Makes functions op by op: infers result types, keeps names unique."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from netc.ir import ops as _ops  # noqa: F401  fills the op table
from netc.ir.core import Block, Func, Level, Op, Role, Value, fresh_name
from netc.ir.diagnostics import OpError
from netc.ir.location import Location
from netc.ir.opdef import NoAttrs, opdef
from netc.ir.types import BufferType, TensorType, Type

_OPERAND_TYPES: dict[Level, type[Any]] = {"tensor": TensorType, "buffer": BufferType}


def infer_types(
    name: str, operands: Sequence[Value], attrs: Any, body: Block | None = None
) -> tuple[Type, ...]:
    """The result types of an op; OpError if operands or attributes break its rule."""
    definition = opdef(name)
    definition.check_operand_count(len(operands))
    if not isinstance(attrs, definition.attrs):
        raise OpError(f"{name} takes attributes of {definition.attrs.__name__}, got {type(attrs).__name__}")
    expected = _OPERAND_TYPES.get(definition.level)
    for value in operands:
        if expected is not None and not isinstance(value.type, expected):
            raise OpError(
                f"{name} takes values of the {definition.level} level, got %{value.name}: {value.type}"
            )
    types = tuple(v.type for v in operands)
    if definition.infer_body is not None:
        if body is None:
            raise OpError(f"{name} needs a body")
        return definition.infer_body(types, attrs, body)
    if body is not None:
        raise OpError(f"{name} takes no body")
    assert definition.infer is not None
    return definition.infer(types, attrs)


class OpAdder:
    """Appends ops with inferred types and unique names; errors carry the location of the op's layer."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.ops: list[Op] = []
        self.taken = set(taken)

    def append(self, op: Op) -> None:
        """Append an op as it stands."""
        self.ops.append(op)

    def add(
        self,
        name: str,
        operands: Sequence[Value],
        attrs: Any = None,
        *,
        hint: str,
        location: Location | None = None,
        body: Block | None = None,
    ) -> tuple[Value, ...]:
        """Append an op; its results are named after ``hint`` (``hint``, ``hint.1``, … where taken)."""
        attrs = NoAttrs() if attrs is None else attrs
        try:
            types = infer_types(name, operands, attrs, body)
        except OpError as error:
            error.at(location)
            raise
        results = tuple(Value(fresh_name(hint, self.taken), t) for t in types)
        self.append(Op(name, tuple(operands), attrs, results, body, location))
        return results

    def add1(
        self,
        name: str,
        operands: Sequence[Value],
        attrs: Any = None,
        *,
        hint: str,
        location: Location | None = None,
    ) -> Value:
        """:meth:`add` for an op with one result."""
        (result,) = self.add(name, operands, attrs, hint=hint, location=location)
        return result


class FuncBuilder(OpAdder):
    """Collects the arguments and ops of one function."""

    def __init__(self, name: str, taken: Iterable[str] = ()) -> None:
        super().__init__(taken)
        self.name = name
        self.args: list[Value] = []
        self.roles: list[Role] = []

    def arg(self, name: str, type_: Type, role: Role) -> Value:
        """A new argument of the function."""
        value = Value(fresh_name(name, self.taken), type_)
        self.args.append(value)
        self.roles.append(role)
        return value

    def finish(self, results: Sequence[Value], result_names: Sequence[str]) -> Func:
        """The function built so far."""
        return Func(
            self.name,
            tuple(self.args),
            tuple(self.roles),
            tuple(self.ops),
            tuple(results),
            tuple(result_names),
        )
