"""Fuse ops into kernels.

Does: puts every op of ``@main`` that computes into a ``fusion``; each becomes one kernel.

1.  An anchor (conv, deconv, inner_product, pool, global_pool, lrn, softmax, reduce) takes in the elementwise
    ops that follow it, for as long as the next op is the only reader. Another operand of such an op may be a
    value of the result's type, or have extent 1 everywhere but on the channel axis. Where two anchors meet in
    one op (a residual sum), the one computed last takes it, so that the other is there already.
2.  Elementwise ops without an anchor are fused with one another (anchor ``map``), again through values that
    have one reader and the type of the result.
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

from dataclasses import dataclass, replace

from netc.ir.core import Block, Func, Module, Op, Value, fresh_name, users, walk
from netc.ir.opdef import opdef
from netc.ir.ops.fusion import FusionAttrs
from netc.ir.types import TensorType

_ANCHORS = frozenset(
    {
        "nn.conv",
        "nn.deconv",
        "nn.global_pool",
        "nn.inner_product",
        "nn.lrn",
        "nn.pool",
        "nn.softmax",
        "tensor.reduce",
    }
)
_NOT_FUSED = frozenset({"fusion", "layout.convert", "tensor.concat", "tensor.reshape", "tensor.slice"})


def fuse(module: Module, *, max_ops: int = 32) -> Module:
    """The module with its computing ops in fusions of at most ``max_ops``; 1 fuses nothing with anything."""
    return replace(
        module, funcs=tuple(f if f.name == "prepare" else _fuse_func(f, max_ops) for f in module.funcs)
    )


def _fuse_func(func: Func, max_ops: int) -> Func:
    groups = _group(func, max_ops)
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
    """Ops that become one fusion, in order; the results of the last are its results."""

    anchor: str
    ops: tuple[Op, ...]


def _group(func: Func, max_ops: int) -> dict[str, _Group]:
    """The groups of a function by the first result of their last op."""
    read_by = users(func)
    returned = {v.name for v in func.results}
    groups: dict[str, _Group] = {}
    order = {op.results[0].name: i for i, op in enumerate(func.ops)}

    def absorbable(value: Value, op: Op) -> _Group | None:
        group = groups.get(value.name)
        if group is None or value.name in returned or value.type != op.results[0].type:
            return None
        return group if all(user is op for user in read_by[value.name]) else None

    for op in func.ops:
        if op.name in _NOT_FUSED:
            continue
        groups[op.results[0].name] = _Group("map" if _is_map(op) else op.name, (op,))
        if not _is_map(op):
            continue
        sources = {v.name: g for v in op.operands if (g := absorbable(v, op)) is not None}
        for name in sorted(sources, key=lambda n: _preference(sources[n], order[n])):
            mine = groups[op.results[0].name]
            if _can_merge(sources[name], mine, op, max_ops):
                groups[op.results[0].name] = _merge(groups.pop(name), mine)
    return groups


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


def _merge(source: _Group, mine: _Group) -> _Group:
    anchor = source.anchor if mine.anchor == "map" else mine.anchor
    return _Group(anchor, (*source.ops, *mine.ops))


def _as_fusion(group: _Group, taken: set[str]) -> Op:
    last = group.ops[-1]
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
    for result in last.results:
        inner[result.name] = Value(fresh_name(result.name, taken), result.type)
    ops = tuple(
        replace(
            op,
            operands=tuple(inner.get(v.name, v) for v in op.operands),
            results=tuple(inner.get(r.name, r) for r in op.results),
        )
        for op in group.ops
    )
    body = Block(tuple(args), ops, ops[-1].results)
    return Op("fusion", tuple(operands), FusionAttrs(group.anchor), last.results, body, group.ops[0].location)
