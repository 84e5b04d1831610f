"""Split the batch: run a stretch of kernels on some samples before it runs on the next ones.

Does: for each segment that ``choose`` gives, in turn:

1.  the operands that hold samples are cut into parts of ``rows`` samples (``tensor.slice``, a view later on).
2.  the kernels of the segment run once a part, one part after the other.
3.  what later kernels read, or the function returns, is put together (``tensor.concat``: bufferize lets the
    parts be computed in their places).

What a part leaves between two kernels then stays in a cache where that of a whole batch would not, and parts
share one piece of memory.

Requires: a tensor module after fuse.
Ensures: every sample is computed by the same ops as before, from the same operands.
Refuses: nothing. A kernel in which samples meet, or whose shapes cannot follow, ends what may be split.

Example (``split_batch(choose=lambda batch: [Segment(0, 2, 2)])``)::

    module m tensor {
    func @main(%x: f32[4,8]) -> (y = %y) {
      %a: f32[4,8] = math.exp %x
      %b: f32[4,8] = math.tanh %a
      %y: f32[4,8] = nn.softmax %b {axis = 0}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[4,8]) -> (y = %y) {
      %x0: f32[2,8] = tensor.slice %x {start = [0, 0], shape = [2, 8]}
      %a0: f32[2,8] = math.exp %x0
      %b0: f32[2,8] = math.tanh %a0
      %x1: f32[2,8] = tensor.slice %x {start = [2, 0], shape = [2, 8]}
      %a1: f32[2,8] = math.exp %x1
      %b1: f32[2,8] = math.tanh %a1
      %b: f32[4,8] = tensor.concat %b0, %b1 {axis = 0}
      %y: f32[4,8] = nn.softmax %b {axis = 0}
    }
    }
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from netc.ir.batch import Batch, Segment
from netc.ir.builder import infer_types
from netc.ir.core import Block, Func, Module, Op, Value, fresh_name
from netc.ir.diagnostics import OpError
from netc.ir.ops.shape import ConcatAttrs, SliceAttrs
from netc.ir.rewrite import Rewriter
from netc.ir.row_axis import row_axes
from netc.ir.types import TensorType

ChooseSegments = Callable[[Batch], Sequence[Segment]]
"""The segments of a batch, in order, without gaps, from op 0; what is behind the last one stays whole."""


def split_batch(module: Module, *, choose: ChooseSegments) -> Module:
    """The module whose kernels run on as many samples at once as ``choose`` wants."""
    main = module.func("main")
    rows = batch_rows(main)
    if rows is None:
        return module
    axes, end = row_axes(main)
    end = next((i for i, op in enumerate(main.ops[:end]) if not _follows(op, axes, rows)), end)
    segments = choose(Batch(main, rows, end, axes))
    if all(segment.rows == rows for segment in segments):
        return module
    return module.with_func(_Splitter(main, axes, rows).run(segments))


def batch_rows(func: Func) -> int | None:
    """How many samples all inputs have in common; None where that is not known, or is 1."""
    extents = {_tensor(value).shape[0] if _tensor(value).shape else 1 for value in func.inputs}
    rows = extents.pop() if len(extents) == 1 else 1
    return rows if isinstance(rows, int) and rows > 1 else None


def _follows(op: Op, axes: Mapping[str, int], rows: int) -> bool:
    """Whether an op can be had for fewer samples: it has the size of the batch from its operands alone."""
    if not _holds_samples(op, axes):
        return True
    try:
        _Shrinker(axes, rows, 1).op(op)
    except OpError:
        return False
    return True


def _holds_samples(op: Op, axes: Mapping[str, int]) -> bool:
    return any(v.name in axes for v in op.operands)


class _Splitter:
    """Emits the function; ``whole`` holds the values of all samples by their old names."""

    def __init__(self, func: Func, axes: Mapping[str, int], rows: int) -> None:
        self.func = func
        self.axes = axes
        self.rows = rows
        self.adder = Rewriter(func)
        self.last_read = {v.name: i for i, op in enumerate(func.ops) for v in op.operands}
        self.last_read.update((value.name, len(func.ops)) for value in func.results)

    def run(self, segments: Sequence[Segment]) -> Func:
        """The function of these segments."""
        end = 0
        for segment in segments:
            ops, end = self.func.ops[segment.first : segment.end], segment.end
            if segment.rows == self.rows:
                self.keep(ops)
            else:
                self.split(ops, segment)
        self.keep(self.func.ops[end:])
        return replace(self.func, ops=tuple(self.adder.ops))

    def keep(self, ops: Sequence[Op]) -> None:
        """Ops for the whole batch, as they are."""
        for op in ops:
            self.adder.append(op)

    def split(self, ops: Sequence[Op], segment: Segment) -> None:
        """The ops once a part, and what is read behind them put together."""
        ours = [op for op in ops if _holds_samples(op, self.axes)]
        self.keep([op for op in ops if not _holds_samples(op, self.axes)])
        made = [r for op in ours for r in op.results]
        names = {value.name for value in made}
        given = {v.name: v for op in ours for v in op.operands if v.name in self.axes and v.name not in names}
        left = [value for value in made if self.last_read.get(value.name, -1) >= segment.end]
        parts: dict[str, list[Value]] = {value.name: [] for value in left}
        for start in range(0, self.rows, segment.rows):
            now = {name: self.part_of(value, start, segment.rows) for name, value in given.items()}
            shrinker = _Shrinker(self.axes, self.rows, segment.rows, now, self.adder.taken)
            for op in ours:
                self.adder.append(shrinker.op(op))
            for value in left:
                parts[value.name].append(shrinker.now[value.name])
        for value in left:
            attrs = ConcatAttrs(self.axes[value.name])
            self.adder.append(Op("tensor.concat", tuple(parts[value.name]), attrs, (value,), None, None))

    def part_of(self, value: Value, start: int, rows: int) -> Value:
        """The samples from ``start`` on."""
        axis, shape = self.axes[value.name], _tensor(value).shape
        attrs = SliceAttrs(
            tuple(start if a == axis else 0 for a in range(len(shape))),
            tuple(rows if a == axis else extent for a, extent in enumerate(shape)),
        )
        return self.adder.add1("tensor.slice", (value,), attrs, hint=value.name)


class _Shrinker:
    """Makes ops for ``rows`` samples of those for ``whole``; ``now`` are their values by the old names."""

    def __init__(
        self,
        axes: Mapping[str, int],
        whole: int,
        rows: int,
        now: Mapping[str, Value] | None = None,
        taken: set[str] | None = None,
    ) -> None:
        self.axes = axes
        self.whole = whole
        self.rows = rows
        self.now = dict(now or {})
        self.taken = taken

    def op(self, op: Op) -> Op:
        """The op on its operands of fewer samples. OpError where its results do not shrink with them."""
        operands = tuple(self.value(v) for v in op.operands)
        body = None if op.body is None else self.body(op.body)
        results = tuple(self.renamed(r) for r in op.results)
        attrs = self.attrs(op.attrs, op.results, results)
        if infer_types(op.name, operands, attrs, body) != tuple(r.type for r in results):
            raise OpError(f"{op.name} is not for {self.rows} samples what it is for {self.whole}")
        return replace(op, operands=operands, results=results, attrs=attrs, body=body)

    def body(self, body: Block) -> Block:
        """The body of a kernel; its values are told apart from those of other parts."""
        args = tuple(self.renamed(a) for a in body.args)
        ops = tuple(self.op(op) for op in body.ops)
        return Block(args, ops, tuple(self.value(v) for v in body.results))

    def value(self, value: Value) -> Value:
        """The value of fewer samples."""
        return self.now[value.name] if value.name in self.now else Value(value.name, self.type(value))

    def renamed(self, value: Value) -> Value:
        """A value that is defined here, under a name of its own."""
        name = value.name if self.taken is None else fresh_name(value.name, self.taken)
        self.now[value.name] = Value(name, self.type(value))
        return self.now[value.name]

    def type(self, value: Value) -> TensorType:
        """The type for fewer samples; its own where it holds none."""
        type_, axis = _tensor(value), self.axes.get(value.name)
        if axis is None:
            return type_
        return type_.with_extent(axis, self.rows)

    def attrs(self, attrs: Any, old: Sequence[Value], new: Sequence[Value]) -> Any:
        """Attributes that state the shape or the type of the result follow it."""
        for before, after in zip(old, new, strict=True):
            known = {
                "shape": (_tensor(before).shape, _tensor(after).shape),
                "tensor": (before.type, after.type),
            }
            stated = {f.name: known[f.name] for f in fields(attrs) if f.name in known}
            attrs = replace(attrs, **{n: b for n, (a, b) in stated.items() if getattr(attrs, n) == a})
        return attrs


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
