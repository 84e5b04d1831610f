"""Fuse ops into kernels.

Does: puts every op of ``@main`` that computes into ``fusion``; each becomes one kernel.

1.  Elementwise values that only elementwise ops of their type, and reductions, read need not lie in memory:
    each kernel that reads one computes it (again) where that saves memory traffic. So a kernel that computes
    holds one elementwise op or reduction and all that leads to it from values in memory.
2.  Reductions of the same axes that share an operand are joined: one walk over memory, several results.
3.  An anchor (a convolution, inner_product, pool, global_pool, lrn, softmax, …) takes in the elementwise
    kernel that is the only reader of its result, a reduction or ``moments`` any that reads it. The other
    operands of such a kernel are of the result's type, or have extent 1 everywhere but on the channel axis.
    Where two anchors meet in one kernel (a residual sum), the one computed last takes it, so that the other
    is there already. Not what changes a state that it reads: a sweep of its own can do so in place.
4.  Elementwise kernels (anchor ``map``) of one type, of which one reads the other's result, are joined; a
    value that is read elsewhere too is one more result.
5.  What the results ``forward`` need is not joined with what they do not: they must be there without it.
6.  Any other op that computes (transpose, fill, …) is a fusion by itself.

``reshape``, ``concat``, ``slice`` and ``convert`` stay as they are: bufferize turns them into views where it
can. Operands are in the order of their first use in the body. Nothing is joined around an op that must run in
between.

Requires: a tensor module. ``@prepare`` is left alone.
Ensures: ``@main`` holds fusions and the four ops above, nothing else; no fusion has more than ``max_ops``
ops.
Refuses: nothing.

Example (``fuse()``)::

    module m tensor {
    func @main(%x: f32[N,3,8,8], %z: f32[N,4,8,8], %w: param f32[4,3,1,1]) -> (y = %y) {
      %c: f32[N,4,8,8] = nn.conv %x, %w {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
      %s: f32[N,4,8,8] = math.add %c, %z
      %y: f32[N,4,8,8] = math.relu %s {slope = 0.0}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[N,3,8,8], %z: f32[N,4,8,8], %w: param f32[4,3,1,1]) -> (y = %y) {
      %y: f32[N,4,8,8] = fusion %x, %w, %z {anchor = "nn.conv"} (
          %x.1: f32[N,3,8,8], %w.1: f32[4,3,1,1], %z.1: f32[N,4,8,8]) {
        %c: f32[N,4,8,8] = nn.conv %x.1, %w.1 {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
        %s: f32[N,4,8,8] = math.add %c, %z.1
        %y.1: f32[N,4,8,8] = math.relu %s {slope = 0.0}
        yield %y.1
      }
    }
    }
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from netc.ir.core import Block, Func, Module, Op, Value, fresh_name, ops_for, users, walk
from netc.ir.ops.fusion import FusionAttrs
from netc.ir.passing_values import is_map, passing_values
from netc.ir.types import TensorType

_ANCHORS = frozenset(
    {
        "nn.ave_pool_gradient",
        "nn.bf16_conv",
        "nn.bf16_inner_product",
        "nn.conv",
        "nn.deconv",
        "nn.fractional_conv",
        "nn.global_pool",
        "nn.inner_product",
        "nn.int8_conv",
        "nn.int8_inner_product",
        "nn.lrn",
        "nn.lrn_gradient",
        "nn.max_pool_gradient",
        "nn.pool",
        "nn.softmax",
        "nn.winograd_conv",
        "random.dropout",
    }
)
# of these the kernel that follows may write another dtype: no partial sums rest in their results
_NARROWING = frozenset(
    {
        "nn.bf16_conv",
        "nn.conv",
        "nn.global_pool",
        "nn.int8_conv",
        "nn.lrn",
        "nn.pool",
        "nn.winograd_conv",
    }
)
# anchors that take in what leads to them, and that may have several results
_FOLDING = frozenset({"nn.moments", "tensor.reduce"})
_NOT_FUSED = frozenset({"fusion", "layout.convert", "tensor.concat", "tensor.reshape", "tensor.slice"})


def fuse(module: Module, *, max_ops: int = 32, forward: Collection[str] = ()) -> Module:
    """The module with its computing ops in fusions of at most ``max_ops``; 1 fuses nothing with anything."""
    fused = (f if f.name == "prepare" else _fuse_func(f, max_ops, forward) for f in module.funcs)
    return replace(module, funcs=tuple(fused))


def _fuse_func(func: Func, max_ops: int, forward: Collection[str]) -> Func:
    taken = {a.name for a in func.args} | {v.name for op in walk(func.ops) for v in op.results}
    ops = [
        node.ops[0] if node.ops[0].name in _NOT_FUSED else _as_fusion(node, taken)
        for node in _Grouping(func, max_ops, forward).run()
    ]
    return replace(func, ops=tuple(ops))


@dataclass(eq=False, slots=True)
class _Node:
    """Ops that become one fusion, in order, and the values among theirs that are read elsewhere.

    ``reads`` are the values from elsewhere. An op that is not fused is a node too.
    """

    anchor: str
    ops: list[Op]
    results: list[Value]
    reads: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = {r.name for op in self.ops for r in op.results}
        self.reads = {v.name: v for op in self.ops for v in op.operands if v.name not in made}

    @property
    def type(self) -> TensorType:
        """The type of the first result."""
        return _tensor(self.results[0])


class _Grouping:
    """Decides which values are kept in memory, cuts the ops there, and joins what is better one kernel."""

    def __init__(self, func: Func, max_ops: int, forward: Collection[str]) -> None:
        self.func = func
        self.forward = {r.name for op in ops_for(func, forward) for r in op.results}
        self.max_ops = max_ops
        self.order = {id(op): i for i, op in enumerate(func.ops)}
        self.returned = {v.name for v in func.results}
        self.read_by = users(func)
        states = {value.name for value in func.states}
        results = zip(func.result_names, func.results, strict=True)
        # next content of a state -> the state
        self.state_of = {value.name: name for name, value in results if name in states}
        self.passing = passing_values(func, max_ops=max_ops, anchors=_ANCHORS, folding=_FOLDING)
        self.nodes: list[_Node] = []
        self.maker: dict[str, _Node] = {}
        self.readers: dict[str, list[_Node]] = {}

    def run(self) -> list[_Node]:
        """The nodes, each after those it reads."""
        self._cut()
        if self.max_ops > 1:
            for join in (self._join_reductions, self._join_anchors, self._join_maps):
                join()
        return self._sorted()

    def _cut(self) -> None:
        """One node for each op whose results are kept, with the passing values that lead to it."""
        cones: dict[str, list[Op]] = {}
        for op in self.func.ops:
            ops = [op]
            if is_map(op) or op.name in _FOLDING:
                leading = {id(o): o for v in op.operands if v.name in self.passing for o in cones[v.name]}
                ops = sorted([*leading.values(), op], key=lambda o: self.order[id(o)])
            if op.results and op.results[0].name in self.passing:
                cones[op.results[0].name] = ops
            else:
                self._enter(_Node("map" if is_map(op) else op.name, ops, list(op.results)))

    def _enter(self, node: _Node) -> None:
        self.nodes.append(node)
        self.maker |= {r.name: node for r in node.results}
        for name in node.reads:
            self.readers.setdefault(name, []).append(node)

    def _joined(self, first: _Node, second: _Node, anchor: str) -> None:
        """Replace two nodes by one, which keeps what is read elsewhere."""
        ops = {id(op): op for op in (*first.ops, *second.ops)}
        for node in (first, second):
            self.nodes.remove(node)
            for name in node.reads:
                self.readers[name].remove(node)
        results = [
            r
            for r in {r.name: r for r in (*first.results, *second.results)}.values()
            if r.name in self.returned or self.readers.get(r.name) or not self.read_by.get(r.name)
        ]
        # an anchor in front: what leads to its kernel's other operands does not lead to it
        order = sorted(ops.values(), key=lambda o: (o.name not in _ANCHORS, self.order[id(o)]))
        self._enter(_Node(anchor, order, results))

    # --- what may be joined ---
    def _can_join(self, first: _Node, second: _Node) -> bool:
        """Whether the result is small enough, and nothing else must run between the two."""
        if len({id(op) for op in (*first.ops, *second.ops)}) > self.max_ops:
            return False
        if (first.results[0].name in self.forward) != (second.results[0].name in self.forward):
            return False
        return not self._leads(first, second) and not self._leads(second, first)

    def _leads(self, first: _Node, second: _Node) -> bool:
        """Whether a way leads from one node over others to the second."""
        end = self._last(second)
        seen, waiting = {id(first)}, [n for n in self._following(first) if n is not second]
        while waiting:
            node = waiting.pop()
            if node is second:
                return True
            if id(node) not in seen and self._first(node) < end:
                seen.add(id(node))
                waiting += self._following(node)
        return False

    def _last(self, node: _Node) -> int:
        return max(self.order[id(op)] for op in node.ops)

    def _first(self, node: _Node) -> int:
        return min(self.order[id(op)] for op in node.ops)

    def _following(self, node: _Node) -> list[_Node]:
        return [reader for r in node.results for reader in self.readers.get(r.name, ())]

    # --- joining ---
    def _join_reductions(self) -> None:
        """Reductions of one box of elements that share one of its operands."""
        pending = [n for n in self.nodes if n.anchor == "tensor.reduce"]
        while pending:
            mine = pending.pop(0)
            for other in list(pending):
                if self._same_walk(mine, other) and self._can_join(mine, other):
                    pending.remove(other)
                    name = mine.results[0].name
                    self._joined(mine, other, "tensor.reduce")
                    mine = self.maker[name]

    def _same_walk(self, first: _Node, second: _Node) -> bool:
        one, two = (next(op for op in n.ops if op.name == "tensor.reduce") for n in (first, second))
        type_ = one.operands[0].type
        if type_ != two.operands[0].type or one.attrs.axes != two.attrs.axes:
            return False
        if any(r.name in b.reads for a, b in ((first, second), (second, first)) for r in a.results):
            return False
        return any(v.type == type_ and name in second.reads for name, v in first.reads.items())

    def _join_anchors(self) -> None:
        """An anchor, the latest of several, and the map that is the only reader of its result."""
        for node in [n for n in self.nodes if n.anchor == "map"]:
            sources = {id(self.maker[name]): self.maker[name] for name in node.reads if name in self.maker}
            for source in sorted(sources.values(), key=self._last, reverse=True):
                if self._can_follow(source, node):
                    self._joined(source, node, source.anchor)
                    break

    def _can_follow(self, anchor: _Node, node: _Node) -> bool:
        if anchor.anchor not in _ANCHORS | _FOLDING:
            return False
        if any(r.type != node.type for r in anchor.results) and not self._narrows(anchor, node):
            return False
        if any(self.state_of.get(r.name) in node.reads for r in node.results):
            return False  # a sweep of its own can write the state where it lies
        if anchor.anchor in _ANCHORS:
            (result,) = anchor.results
            alone = result.name not in self.returned and self.readers[result.name] == [node]
            if not alone or len(node.results) > 1:
                return False
        fits = all(_is_epilogue_operand(v, node.type) for v in node.reads.values())
        return fits and self._can_join(anchor, node)

    def _narrows(self, anchor: _Node, node: _Node) -> bool:
        """Whether a map writes an anchor's result in another dtype."""
        return anchor.anchor in _NARROWING and all(_tensor(r).same_box(node.type) for r in anchor.results)

    def _join_maps(self) -> None:
        """Maps of one type, of which one reads the other's result."""
        for node in [n for n in self.nodes if n.anchor == "map"]:
            mine = node
            for value in list(mine.reads.values()):
                # a source that was joined may have made this value as well
                source = self.maker.get(value.name) if value.name in mine.reads else None
                if source is None or source.anchor != "map" or source is mine or source.type != mine.type:
                    continue
                if self._can_join(source, mine):
                    name = mine.results[-1].name
                    self._joined(source, mine, "map")
                    mine = self.maker[name]

    # --- order ---
    def _sorted(self) -> list[_Node]:
        """The nodes in the order of their last ops, but each after those it reads.

        What makes the next content of a state comes after those that read the old one, where it can.
        """
        done: set[int] = set()
        found: list[_Node] = []
        for root in sorted(self.nodes, key=self._last):
            waiting = [root]
            begun: set[int] = set()
            while waiting:
                node = waiting[-1]
                makers = (self.maker.get(name) for name in node.reads)
                missing = [n for n in makers if n is not None and id(n) not in done]
                if id(node) not in begun:
                    begun.add(id(node))
                    missing += [n for n in self._readers_of_old(node) if id(n) not in done | begun]
                if missing and id(node) not in done:
                    waiting += missing
                    continue
                waiting.pop()
                if id(node) not in done:
                    done.add(id(node))
                    found.append(node)
        return found

    def _readers_of_old(self, node: _Node) -> list[_Node]:
        """The other nodes that read a state whose next content this one makes, and do not depend on it."""
        states = dict.fromkeys(self.state_of[r.name] for r in node.results if r.name in self.state_of)
        readers = (reader for state in states for reader in self.readers.get(state, ()))
        return [n for n in readers if n is not node and not self._leads(node, n) and not self._reads(n, node)]

    def _reads(self, reader: _Node, node: _Node) -> bool:
        return any(r.name in reader.reads for r in node.results)


def _is_epilogue_operand(value: Value, type_: TensorType) -> bool:
    own = _tensor(value)
    return own.same_box(type_) or all(d == 1 for axis, d in enumerate(own.shape) if axis != 1)


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


def _as_fusion(node: _Node, taken: set[str]) -> Op:
    args = {name: Value(fresh_name(name, taken), v.type) for name, v in node.reads.items()}
    # the fusion's results keep their names outside, and passing values may be in other bodies too
    made = {r.name: Value(fresh_name(r.name, taken), r.type) for op in node.ops for r in op.results}
    inner = args | made
    ops = tuple(
        replace(
            op,
            operands=tuple(inner[v.name] for v in op.operands),
            results=tuple(inner[r.name] for r in op.results),
        )
        for op in node.ops
    )
    body = Block(tuple(args.values()), ops, tuple(inner[r.name] for r in node.results))
    location = node.ops[0].location
    return Op(
        "fusion", tuple(node.reads.values()), FusionAttrs(node.anchor), tuple(node.results), body, location
    )
