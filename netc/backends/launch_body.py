"""The parts of a launch's body, and the row of a backend's table that implements it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from netc.ir.core import Block, Op
from netc.ir.diagnostics import NetcError
from netc.ir.opdef import opdef

# ops whose kernels compute elementwise what they read, and of which one kernel may hold several
FOLDING = frozenset({"nn.moments", "tensor.reduce"})


@dataclass(frozen=True, slots=True)
class Parts:
    """``before`` are the elementwise ops that lead to the ``anchors``, ``after`` the others.

    A body of elementwise ops only has no anchor, and all of them in ``after``.
    """

    before: tuple[Op, ...]
    anchors: tuple[Op, ...]
    after: tuple[Op, ...]

    @property
    def fit_one_kernel(self) -> bool:
        """Whether the anchors are reductions of one kind and axes, or one op that reads memory only."""
        if not self.anchors:
            return True
        made = {r.name for op in self.anchors for r in op.results}
        chained = any(v.name in made for op in (*self.anchors, *self.before) for v in op.operands)
        walks = {(op.name, getattr(op.attrs, "axes", None)) for op in self.anchors}
        if self.anchors[0].name in FOLDING:
            return len(walks) == 1 and not chained
        return len(self.anchors) == 1 and not self.before


def parts_of(body: Block) -> Parts:
    """The parts. An elementwise op whose result no anchor needs comes after them."""
    anchors = tuple(op for op in body.ops if not opdef(op.name).elementwise)
    read = {v.name for op in anchors for v in op.operands}
    before: list[Op] = []
    for op in reversed(body.ops):
        if op not in anchors and any(r.name in read for r in op.results):
            before.insert(0, op)
            read.update(v.name for v in op.operands)
    after = tuple(op for op in body.ops if op not in anchors and op not in before)
    return Parts(tuple(before), anchors, after)


def split_body(launch: Op) -> tuple[Op, tuple[Op, ...]]:
    """The op that decides the schedule, and the elementwise ops that follow it.

    A body of elementwise ops only is led by its first op. Kernels that reduce look at the whole body.
    """
    assert launch.body is not None
    parts = parts_of(launch.body)
    return (parts.anchors[0], parts.after) if parts.anchors else (parts.after[0], parts.after[1:])


class Row(Protocol):
    """A way to implement an op."""

    @property
    def applies(self) -> Callable[[Op], bool]:
        """Whether it fits the op."""


R = TypeVar("R", bound=Row)


def find_row(launch: Op, table: Mapping[str, Sequence[R]], elementwise: Container[str], sweep: R) -> R | None:
    """The first row of ``table`` that applies to a launch whose body holds ops; None: there is no kernel.

    ``elementwise`` are the ops that kernels compute in registers; ``sweep`` is the row for nothing but them.
    """
    assert launch.body is not None
    if any(opdef(op.name).elementwise and op.name not in elementwise for op in launch.body.ops):
        return None
    if not parts_of(launch.body).fit_one_kernel:
        return None
    anchor, _ = split_body(launch)
    if anchor.name in elementwise:
        return sweep
    return next((row for row in table.get(anchor.name, ()) if row.applies(anchor)), None)


def no_kernel(launch: Op, backend: str) -> NetcError:
    """The error for a launch that :func:`find_row` finds no row for."""
    assert launch.body is not None
    if not parts_of(launch.body).fit_one_kernel:
        names = ", ".join(op.name for op in launch.body.ops)
        return NetcError(f"no kernel holds {names} together", location=launch.body.ops[0].location)
    anchor, _ = split_body(launch)
    return NetcError(f"the {backend} backend has no kernel for {anchor.name}", location=launch.location)


def weight_operand(launch: Op) -> int | None:
    """The launch's operand that the anchor reads as its weights."""
    assert launch.body is not None
    anchor, _ = split_body(launch)
    names = [arg.name for arg in launch.body.args]
    return names.index(anchor.operands[1].name) if anchor.operands[1].name in names else None
