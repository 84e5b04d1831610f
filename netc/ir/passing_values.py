"""Which values need not lie in memory, because each kernel that reads one computes it itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from netc.ir.core import Func, Op, Value, users
from netc.ir.opdef import opdef
from netc.ir.types import TensorType

# ops that are not worth computing twice
_COSTLY = frozenset(
    f"math.{name}" for name in ("bnll", "div", "elu", "exp", "log", "pow", "sigmoid", "sqrt", "tanh")
)
_WORTH_REPEATING = 2


def is_map(op: Op) -> bool:
    """Whether the op is elementwise."""
    return opdef(op.name).elementwise


def passing_values(
    func: Func, *, max_ops: int, anchors: Collection[str], folding: Collection[str]
) -> set[str]:
    """The names of elementwise values that only elementwise ops of their type, and reductions, read.

    Of those that several kernels read, the cheap ones: computing one again reads its operands again, keeping
    it writes and reads it. What the kernel of an anchor computes on its way is kept. ``folding`` names the
    reductions. No kernel gets more than ``max_ops`` ops.
    """
    return _Search(func, anchors, folding).run(max_ops) if max_ops > 1 else set()


def _same_box(first: Value, second: Value) -> bool:
    one, two = first.type, second.type
    return isinstance(one, TensorType) and isinstance(two, TensorType) and one.same_box(two)


class _Search:
    """``ends``: for each value made elementwise, the kernels that its passing readers end up in."""

    def __init__(self, func: Func, anchors: Collection[str], folding: Collection[str]) -> None:
        self.func = func
        self.anchors = anchors
        self.folding = folding
        self.maps = [op for op in func.ops if is_map(op)]
        self.read_by = users(func)
        self.returned = {v.name for v in func.results}
        self.ends: dict[str, frozenset[object]] = {}

    def run(self, max_ops: int) -> set[str]:
        """The values."""
        candidates = {op.result.name for op in self.maps if self._may_pass(op.result)}
        for op in reversed(self.maps):
            self._find_ends(op, candidates)
        candidates -= self._made_in_passing()
        operands, costly = self._what_leads_to(candidates)
        found: set[str] = set()
        for op in reversed(self.maps):
            name = op.result.name
            repeated = len(self._find_ends(op, found)) - 1
            extra = repeated * (len(operands[name]) - 1)
            cheap = name not in costly and extra <= _WORTH_REPEATING
            if name in candidates and (cheap or not repeated):
                found.add(name)
        self._limit(found, max_ops)
        return found

    def _may_pass(self, value: Value) -> bool:
        """Whether all readers could compute the value themselves."""
        readers = self.read_by.get(value.name, ())
        return (
            value.name not in self.returned
            and bool(readers)
            and all(op.name in self.folding or (is_map(op) and _same_box(op.result, value)) for op in readers)
        )

    def _find_ends(self, op: Op, passing: set[str]) -> frozenset[object]:
        found: frozenset[object] = frozenset()
        for reader in self.read_by.get(op.result.name, ()):
            name = reader.results[0].name
            if name in passing:
                found |= self.ends[name]
            else:
                # reductions of one box are likely to share a kernel
                found |= {(reader.name, reader.attrs.axes) if reader.name in self.folding else name}
        self.ends[op.result.name] = found
        return found

    def _made_in_passing(self) -> set[str]:
        """Values of several kernels that the kernel of an anchor computes from a result only they read."""
        alone = {r.name for op in self.func.ops if op.name in self.anchors for r in op.results}
        alone = {name for name in alone if len(self.read_by.get(name, ())) == 1}
        found: set[str] = set()
        for op in self.maps:
            if any(v.name in alone and _same_box(v, op.result) for v in op.operands):
                name = op.result.name
                # as far as the chain goes
                if len({id(reader) for reader in self.read_by.get(name, ())}) == 1:
                    alone.add(name)
                elif len(self.ends[name]) > 1:
                    found.add(name)
        return found

    def _what_leads_to(self, passing: set[str]) -> tuple[dict[str, frozenset[str]], set[str]]:
        """The values of its own type that each value is computed from, and which are costly to compute."""
        operands: dict[str, frozenset[str]] = {}
        costly: set[str] = set()
        for op in self.maps:
            name = op.result.name
            same = [v.name for v in op.operands if _same_box(v, op.result)]
            operands[name] = frozenset().union(*(operands[n] if n in passing else {n} for n in same))
            if op.name in _COSTLY or any(n in passing and n in costly for n in same):
                costly.add(name)
        return operands, costly

    def _limit(self, found: set[str], max_ops: int) -> None:
        """Keep values in memory where too many ops would lead to one kernel."""
        leading: dict[str, frozenset[int]] = {}
        for op in self._readers():
            names = [v.name for v in op.operands if v.name in found]
            names.sort(key=lambda n: len(leading[n]))
            while len(ops := frozenset({id(op)}).union(*(leading[n] for n in names))) > max_ops:
                found.discard(names.pop())
            leading[op.results[0].name] = ops

    def _readers(self) -> Iterable[Op]:
        return (op for op in self.func.ops if is_map(op) or op.name in self.folding)
