"""Group updates: the small sweeps that change states in one way become one kernel.

Does: elementwise fusions whose results are states' next contents, read by nobody, and whose bodies are equal
but for the shapes, become one fusion that holds all of their bodies, where the last of them stands. What they
read then lives until there, so that only sweeps of at most ``most_elements`` elements are taken. A group has
at most ``most_operands`` different operands and results: pointers of a kernel.

Requires: a tensor module after fuse, and after forward_first; ``forward`` as there.
Ensures: every result is computed by the same ops on the same values. What a group reads are arguments, values
that kernels made, and single elements.
Refuses: nothing.

Example (``group_updates(most_elements=100)``)::

    module m tensor {
    func @main(%x: f32[8], %v: state f32[8], %y: f32[2,2], %w: state f32[2,2]) -> (v = %vn, w = %wn) {
      %vn: f32[8] = fusion %x, %v {anchor = map} (%x.1: f32[8], %v.1: f32[8]) {
        %vn.1: f32[8] = math.sub %v.1, %x.1
        yield %vn.1
      }
      %wn: f32[2,2] = fusion %y, %w {anchor = map} (%y.1: f32[2,2], %w.1: f32[2,2]) {
        %wn.1: f32[2,2] = math.sub %w.1, %y.1
        yield %wn.1
      }
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[8], %v: state f32[8], %y: f32[2,2], %w: state f32[2,2]) -> (v = %vn, w = %wn) {
      %vn: f32[8], %wn: f32[2,2] = fusion %v, %x, %w, %y {anchor = map} (
          %v.1: f32[8], %x.1: f32[8], %w.1: f32[2,2], %y.1: f32[2,2]) {
        %vn.1: f32[8] = math.sub %v.1, %x.1
        %wn.1: f32[2,2] = math.sub %w.1, %y.1
        yield %vn.1, %wn.1
      }
    }
    }
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from netc.ir.core import Block, Func, Module, Op, Value, definitions, users
from netc.ir.dim import product
from netc.ir.opdef import opdef
from netc.ir.types import TensorType

MOST_ELEMENTS = 1 << 20  # beyond, a sweep takes much longer than its launch
MOST_OPERANDS = 480  # pointers of a kernel, whose parameters may take 4096 bytes


def group_updates(
    module: Module,
    *,
    forward: Collection[str] = (),
    most_elements: int = MOST_ELEMENTS,
    most_operands: int = MOST_OPERANDS,
) -> Module:
    """The module with its small updates in as few fusions as equal bodies allow."""
    main = module.func("main")
    seen = _Seen(main, forward)
    groups: dict[str, list[list[Op]]] = {}
    place: dict[int, int] = {}  # of what is to be joined, by the op that it stands for
    for op in main.ops:
        if not seen.is_update(op, most_elements):
            continue
        ordered = _ordered(op)
        found = groups.setdefault(f"{seen.is_forward(op)} {_walk(ordered)}", [[]])
        if _operands([*found[-1], ordered]) > most_operands:
            found.append([])
        found[-1].append(ordered)
        place[id(ordered)] = id(op)
    joined = {place[id(group[-1])]: group for each in groups.values() for group in each if len(group) > 1}
    taken = {place[id(op)] for group in joined.values() for op in group}
    ops = tuple(
        _joined(joined[id(op)]) if id(op) in joined else op
        for op in main.ops
        if id(op) in joined or id(op) not in taken
    )
    return module.with_func(replace(main, ops=ops))


class _Seen:
    """A function, and what is asked of each of its values."""

    def __init__(self, main: Func, forward: Collection[str]) -> None:
        self.makers, self.readers = definitions(main), users(main)
        self.results: dict[str, set[str]] = {}
        for value, name in zip(main.results, main.result_names, strict=True):
            self.results.setdefault(value.name, set()).add(name)
        self.states = {value.name for value in main.states}
        self.forward = set(forward)

    def is_update(self, op: Op, most_elements: int) -> bool:
        """Whether an op is a small sweep over whole arrays, whose results are read by nobody."""
        if op.body is None or any(not opdef(inner.name).elementwise for inner in op.body.ops):
            return False
        names = [self.results.get(r.name, set()) for r in op.results]
        if any(self.readers.get(r.name) for r in op.results) or not any(self.states & n for n in names):
            return False
        shapes = {_tensor(r).shape for r in op.results}
        size = product(_tensor(op.results[0]).shape)
        if len(shapes) != 1 or not isinstance(size, int) or size > most_elements:
            return False
        return all((_tensor(v).shape in shapes and self.is_whole(v)) or _is_single(v) for v in op.operands)

    def is_whole(self, value: Value) -> bool:
        """Whether a value's elements will follow one another in memory: it is no part of another's."""
        while (maker := self.makers.get(value.name)) is not None:
            if any(reader.name == "tensor.concat" for reader in self.readers.get(value.name, ())):
                return False
            if maker.name != "tensor.reshape":
                return maker.name == "fusion"
            value = maker.operands[0]
        return True

    def is_forward(self, op: Op) -> bool:
        """Whether the op belongs to the forward pass."""
        return any(self.forward & self.results.get(r.name, set()) for r in op.results)


def _is_single(value: Value) -> bool:
    return all(d == 1 for d in _tensor(value).shape)


def _ordered(op: Op) -> Op:
    """The same fusion with its ops, and what it reads, in the order in which its results need them."""
    assert op.body is not None
    makers = {r.name: inner for inner in op.body.ops for r in inner.results}
    outside = dict(zip((a.name for a in op.body.args), op.operands, strict=True))
    ops: dict[int, Op] = {}
    args: dict[str, Value] = {}

    def need(value: Value) -> None:
        maker = makers.get(value.name)
        if maker is None:
            args[value.name] = value
        elif id(maker) not in ops:
            for operand in maker.operands:
                need(operand)
            ops[id(maker)] = maker

    for value in op.body.results:
        need(value)
    body = Block(tuple(args.values()), tuple(ops.values()), op.body.results)
    return replace(op, operands=tuple(outside[name] for name in args), body=body)


def _walk(op: Op) -> str:
    """A sweep's text without its shapes and with numbers for names."""
    assert op.body is not None
    numbers: dict[str, int] = {}

    def number(value: Value) -> str:
        return f"{numbers.setdefault(value.name, len(numbers))}{'' if _is_single(value) else '*'}"

    args = " ".join(f"{number(a)}:{_tensor(a).dtype}" for a in op.body.args)
    lines = [f"{o.name} {o.attrs} {[number(v) for v in (*o.operands, *o.results)]}" for o in op.body.ops]
    return "\n".join([args, *lines, " ".join(number(v) for v in op.body.results)])


def _operands(ops: list[Op]) -> int:
    return len({v.name for op in ops for v in (*op.operands, *op.results)})


def _joined(ops: list[Op]) -> Op:
    """One fusion that holds several. Operands that several read come several times."""
    bodies = [op.body for op in ops if op.body is not None]
    body = Block(
        tuple(a for b in bodies for a in b.args),
        tuple(o for b in bodies for o in b.ops),
        tuple(r for b in bodies for r in b.results),
    )
    return replace(
        ops[-1],
        operands=tuple(v for op in ops for v in op.operands),
        results=tuple(r for op in ops for r in op.results),
        body=body,
    )


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
