"""The parts of a kernel's body: what its anchors read, the anchors, what follows them."""

from __future__ import annotations

from dataclasses import dataclass

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


def parts_of(body: Block) -> Parts:
    """The parts; NetcError for a body that no kernel has."""
    anchors = tuple(op for op in body.ops if not opdef(op.name).elementwise)
    read = {v.name for op in anchors for v in op.operands}
    before: list[Op] = []
    for op in reversed(body.ops):
        if op not in anchors and any(r.name in read for r in op.results):
            before.insert(0, op)
            read.update(v.name for v in op.operands)
    after = tuple(op for op in body.ops if op not in anchors and op not in before)
    made = {r.name for op in anchors for r in op.results}
    several = len(anchors) > 1 and len({(op.name, getattr(op.attrs, "axes", None)) for op in anchors}) > 1
    alone = len(anchors) == 1 and not before
    if several or made & read or not (not anchors or alone or anchors[0].name in FOLDING):
        names = ", ".join(op.name for op in body.ops)
        raise NetcError(f"no kernel holds {names} together", location=body.ops[0].location)
    return Parts(tuple(before), anchors, after)
