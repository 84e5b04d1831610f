"""The parts of a kernel's body: what its anchors read, the anchors, what follows them."""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.core import Block, Op
from netc.ir.opdef import opdef

# ops whose kernels compute elementwise what they read, and of which one kernel may hold several
FOLDING = frozenset({"nn.moments", "tensor.reduce"})


@dataclass(frozen=True, slots=True)
class Parts:
    """``before`` are the elementwise ops that lead to the ``anchors``, ``after`` the others."""

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
