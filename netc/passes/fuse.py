"""Fuse ops into kernels.

Does: puts every op of ``@main`` that computes into a ``fusion``; each becomes one kernel.

1.  An anchor (conv, deconv, fractional_conv, inner_product, pool, global_pool, lrn, softmax, reduce) takes in the elementwise
    ops that follow it, for as long as the next op is the only reader. Another operand of such an op may be a
    value of the result's type, or have extent 1 everywhere but on the channel axis. Where two anchors meet in
    one op (a residual sum), the one computed last takes it, so that the other is there already.
2.  Elementwise ops without an anchor are fused with one another (anchor ``map``) through values of the type
    of the result. A value that is also read elsewhere, but not before the kernel runs, is one more result.
    What the results ``forward`` need is not fused with what they do not: they must be there without it.
3.  Any other op that computes (transpose, fill, …) is a fusion by itself.

``reshape``, ``concat``, ``slice`` and ``convert`` stay as they are: bufferize turns them into views where it
can. Operands are in the order of their first use in the body.

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
from dataclasses import dataclass, replace

from netc.ir.core import Block, Func, Module, Op, Value, fresh_name, ops_for, users, walk
from netc.ir.opdef import opdef
from netc.ir.ops.fusion import FusionAttrs
from netc.ir.types import TensorType

_ANCHORS = frozenset(
    {
        "nn.conv",
        "nn.deconv",
        "nn.fractional_conv",
        "nn.global_pool",
        "nn.inner_product",
        "nn.lrn",
        "nn.pool",
        "nn.softmax",
        "tensor.reduce",
    }
)
_NOT_FUSED = frozenset({"fusion", "layout.convert", "tensor.concat", "tensor.reshape", "tensor.slice"})


def fuse(module: Module, *, max_ops: int = 32, forward: Collection[str] = ()) -> Module:
    """The module with its computing ops in fusions of at most ``max_ops``; 1 fuses nothing with anything."""
    fused = (f if f.name == "prepare" else _fuse_func(f, max_ops, forward) for f in module.funcs)
    return replace(module, funcs=tuple(fused))


def _fuse_func(func: Func, max_ops: int, forward: Collection[str]) -> Func:
    groups = _Grouping(func, max_ops, forward).groups
    taken = {a.name for a in func.args} | {v.name for op in walk(func.ops) for v in op.results}
    ops: list[Op] = []
    for op in func.ops:
        if op.name in _NOT_FUSED:
            ops.append(op)
        elif op.results[0].name in groups:
            ops.append(_as_fusion(groups[op.results[0].name], taken))
    return replace(func, ops=tuple(ops))


@dataclass(frozen=True, slots=True)
class _Group:
    """Ops that become one fusion, in order, and the values among theirs that are read elsewhere."""

    anchor: str
    ops: tuple[Op, ...]
    results: tuple[Value, ...]


class _Grouping:
    """Groups by the first result of their last op, at whose place they run.

    ``inside`` finds the group of a value by that name.
    """

    def __init__(self, func: Func, max_ops: int, forward: Collection[str]) -> None:
        self.read_by = users(func)
        self.returned = {v.name for v in func.results}
        self.order = {op.results[0].name: i for i, op in enumerate(func.ops)}
        self.forward = {id(op) for op in ops_for(func, forward)}
        self.groups: dict[str, _Group] = {}
        self.inside: dict[str, str] = {}
        for op in func.ops:
            if op.name not in _NOT_FUSED:
                self._add(op, max_ops)

    def _add(self, op: Op, max_ops: int) -> None:
        key = op.results[0].name
        self._enter(key, _Group("map" if _is_map(op) else op.name, (op,), op.results))
        if not _is_map(op):
            return
        sources = {v.name: self.groups[self.inside[v.name]] for v in op.operands if v.name in self.inside}
        for name in sorted(sources, key=lambda n: _preference(sources[n], self.order[n])):
            source, mine = self.groups.get(self.inside[name]), self.groups[key]
            if source is None or source is mine or not self._may_move(source, name, op):
                continue
            if (id(source.ops[-1]) in self.forward) != (id(op) in self.forward):
                continue
            if _can_merge(source, mine, op, max_ops):
                del self.groups[source.ops[-1].results[0].name]
                self._enter(key, self._merged(source, mine))

    def _enter(self, key: str, group: _Group) -> None:
        self.groups[key] = group
        self.inside.update({r.name: key for member in group.ops for r in member.results})

    def _may_move(self, source: _Group, name: str, op: Op) -> bool:
        """Whether a group may run at the place of ``op``, which reads its value ``name``."""
        if any(r.type != op.results[0].type for r in source.results):
            return False
        if source.anchor != "map":
            return name not in self.returned and all(user is op for user in self.read_by[name])
        members = {id(member) for member in source.ops}
        here = self.order[op.results[0].name]
        return all(
            id(user) in members or self.order[user.results[0].name] >= here
            for member in source.ops
            for r in member.results
            for user in self.read_by.get(r.name, ())
        )

    def _merged(self, source: _Group, mine: _Group) -> _Group:
        ops = tuple(sorted((*source.ops, *mine.ops), key=lambda op: self.order[op.results[0].name]))
        members = {id(op) for op in ops}
        results = tuple(
            r
            for op in ops
            for r in op.results
            if op is ops[-1]
            or r.name in self.returned
            or any(id(user) not in members for user in self.read_by.get(r.name, ()))
        )
        return _Group(source.anchor if mine.anchor == "map" else mine.anchor, ops, results)


def _is_map(op: Op) -> bool:
    return opdef(op.name).elementwise


def _preference(group: _Group, position: int) -> tuple[bool, int]:
    """Anchors before maps, and of those the latest first."""
    return (group.anchor not in _ANCHORS, -position)


def _can_merge(source: _Group, mine: _Group, op: Op, max_ops: int) -> bool:
    if len(source.ops) + len(mine.ops) > max_ops:
        return False
    if source.anchor == "map":
        return mine.anchor == "map"
    if source.anchor not in _ANCHORS or len(mine.ops) > 1:
        return False
    return all(v == source.ops[-1].result or _is_epilogue_operand(v, op) for v in op.operands)


def _is_epilogue_operand(value: Value, op: Op) -> bool:
    result, type_ = op.result.type, value.type
    assert isinstance(result, TensorType)
    assert isinstance(type_, TensorType)
    return type_ == result or all(d == 1 for axis, d in enumerate(type_.shape) if axis != 1)


def _as_fusion(group: _Group, taken: set[str]) -> Op:
    inner: dict[str, Value] = {}
    operands: list[Value] = []
    args: list[Value] = []
    made = {r.name for op in group.ops for r in op.results}
    for value in (v for op in group.ops for v in op.operands):
        if value.name not in made and value.name not in inner:
            operands.append(value)
            inner[value.name] = Value(fresh_name(value.name, taken), value.type)
            args.append(inner[value.name])
    # the fusion's results keep their names outside, so the body's need others
    for result in group.results:
        inner[result.name] = Value(fresh_name(result.name, taken), result.type)
    ops = tuple(
        replace(
            op,
            operands=tuple(inner.get(v.name, v) for v in op.operands),
            results=tuple(inner.get(r.name, r) for r in op.results),
        )
        for op in group.ops
    )
    body = Block(tuple(args), ops, tuple(inner[r.name] for r in group.results))
    return Op(
        "fusion", tuple(operands), FusionAttrs(group.anchor), group.results, body, group.ops[0].location
    )
