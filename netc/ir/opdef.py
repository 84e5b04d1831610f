"""How an op is declared: once, with everything that anybody needs to know about it.

``define`` makes the declaration and enters it in the table; builder, verifier, parser, passes and
backends look it up with ``opdef(name)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from netc.ir.core import Block, Level, Value
from netc.ir.diagnostics import OpError
from netc.ir.types import Type

Array = npt.NDArray[Any]
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class NoAttrs:
    """The attributes of an op that has none."""


class NotDifferentiable:
    """Says aloud that an op has no gradient."""

    def __repr__(self) -> str:
        return "NOT_DIFFERENTIABLE"


NOT_DIFFERENTIABLE = NotDifferentiable()

# (operand types, attrs) -> result types; raises OpError
InferRule = Callable[[tuple[Any, ...], Any], tuple[Type, ...]]
# the same for an op with a body
InferBodyRule = Callable[[tuple[Any, ...], Any, Block], tuple[Type, ...]]
# (operand arrays, attrs) -> result arrays, in the dtype of the operands
ReferenceRule = Callable[[tuple[Array, ...], Any], tuple[Array, ...]]
# a netc.ir.gradients.pullback.Pullback -> the gradient of each operand
VjpRule = Callable[[Any], Sequence["Value | None"]]
# attrs -> the name and the attrs of another op on the same operands; None: this one will do
RecordRule = Callable[[Any], "tuple[str, Any] | None"]


@dataclass(frozen=True)
class OpDef(Generic[A]):
    """The declaration of an op.

    ``operands`` are names: ``"b?"`` may be missing (at the end), ``"xs*"`` takes any number (last).
    ``infer`` is type rule and verifier in one. ``reference`` is plain NumPy: the meaning of the op.
    ``in_place`` lists operands whose memory the result may take over. ``elementwise``: each result
    element depends on the elements at the same (broadcast) position only. ``identity``: the result has
    the operand's elements in the same order. ``counted_axis``: along this axis of every result but the
    last, only the first entries count; the last result (i32[1]) says how many. The others are 0.
    ``vjp`` is the gradient rule, see :mod:`netc.ir.gradients`; None: there is none yet. ``recorded`` names an
    op that has the same first results and further ones, which the gradient rule of *that* op reads: it stands
    in where a gradient is needed. ``acts_once``: it does more than compute its
    results, and so runs once in a run.
    """

    name: str
    level: Level
    doc: str
    operands: tuple[str, ...]
    attrs: type[A]
    infer: InferRule | None = None
    infer_body: InferBodyRule | None = None
    reference: ReferenceRule | None = None
    vjp: VjpRule | NotDifferentiable | None = None
    recorded: RecordRule | None = None
    in_place: tuple[int, ...] = ()
    elementwise: bool = False
    identity: bool = False
    counted_axis: int | None = None
    acts_once: bool = False

    def check_operand_count(self, count: int) -> None:
        """Raise OpError if the op cannot take this many operands."""
        least = sum(1 for o in self.operands if o[-1] not in "?*")
        most = None if self.operands and self.operands[-1].endswith("*") else len(self.operands)
        if count < least or (most is not None and count > most):
            expected = f"{least} or more" if most is None else str(least)
            if most is not None and most > least:
                expected += f" to {most}"
            raise OpError(f"{self.name} takes {expected} operands ({', '.join(self.operands)}), got {count}")


_TABLE: dict[str, OpDef[Any]] = {}


def define(definition: OpDef[A]) -> OpDef[A]:
    """Enter a declaration in the table; a second one of the same name is an error."""
    if definition.name in _TABLE:
        raise ValueError(f"op '{definition.name}' is declared twice")
    if (definition.infer is None) == (definition.infer_body is None):
        raise ValueError(f"op '{definition.name}' needs exactly one of infer and infer_body")
    _TABLE[definition.name] = definition
    return definition


def gradient_of(*names: str, recorded: RecordRule | None = None) -> Callable[[VjpRule], VjpRule]:
    """Decorate a gradient rule: it belongs to these ops, which are declared already and have none."""

    def enter(rule: VjpRule) -> VjpRule:
        for name in names:
            if opdef(name).vjp is not None:
                raise ValueError(f"op '{name}' has a gradient rule already")
            _TABLE[name] = replace(opdef(name), vjp=rule, recorded=recorded)
        return rule

    return enter


def opdef(name: str) -> OpDef[Any]:
    """The declaration of an op; OpError if nobody declared it."""
    found = _TABLE.get(name)
    if found is None:
        raise OpError(f"unknown op '{name}'")
    return found


def all_opdefs() -> tuple[OpDef[Any], ...]:
    """Every declaration, sorted by name."""
    return tuple(_TABLE[n] for n in sorted(_TABLE))


_NUMPY_DTYPES = {
    "f32": "f4",
    "f64": "f8",
    "f16": "f2",
    "bf16": "u2",  # its bits: NumPy has no such dtype
    "i64": "i8",
    "i32": "i4",
    "i8": "i1",
    "u8": "u1",
    "i1": "?",
}


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """The NumPy dtype for an IR dtype; OpError where there is none."""
    if dtype not in _NUMPY_DTYPES:
        raise OpError(f"NumPy has no dtype for {dtype}")
    return np.dtype(_NUMPY_DTYPES[dtype])
