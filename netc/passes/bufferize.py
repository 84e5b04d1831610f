"""Bufferize: from values to memory. Each value gets a place, each kernel says what it reads and writes.

Does: turns ``@main`` into a function on buffers without results: inputs and params are read, and there is
one output per result, in their order and of their names. Everything that computes becomes a
``buffer.launch``; what only moves data becomes no code where it can:

1.  ``reshape``, and ``convert`` that leaves the order of the elements as it is (one spatial position, whole
    blocks): a ``reinterpret``.
2.  ``slice``: a ``view``.
3.  ``concat``: its operands are computed straight into views of the result. Only operands that live
    elsewhere (arguments, outputs, members of two concats, reshapes) are copied.
4.  a result of the function is computed straight into its output.
5.  a result with the name of a state goes into the state's memory: at once where nobody reads the old content
    later, and where the kernel may overwrite what it reads; else it is copied at the end.
6.  in place (option): the result takes over the memory of an operand of the same type that nobody else reads,
    if the kernel is elementwise or its op allows it.

A copy is a launch with an empty body.

Requires: a tensor module after hoist_prepare and fuse; row-major results, states excepted.
Ensures: a buffer module with ``@main`` only. Each buffer element is written before it is read.
Refuses: a result that is not row-major; a state whose next content is another state that changes.

Example (``bufferize()``)::

    module m tensor {
    func @main(%x: f32[N,8], %z: f32[N,4]) -> (y = %y) {
      %e: f32[N,8] = fusion %x {anchor = map} (%x.1: f32[N,8]) {
        %e.1: f32[N,8] = math.exp %x.1
        yield %e.1
      }
      %y: f32[N,12] = tensor.concat %e, %z {axis = 1}
    }
    }

becomes::

    module m buffer {
    func @main(%x: buffer f32[N,8], %z: buffer f32[N,4], %y: output buffer f32[N,12]) -> () {
      %e: buffer f32[N,8] strides(12,1) = buffer.view %y {start = [0, 0], shape = [<N>, 8]}
      buffer.launch %x, %e {writes = 1, kernel = none} (%x.1: f32[N,8]) {
        %e.1: f32[N,8] = math.exp %x.1
        yield %e.1
      }
      %v: buffer f32[N,4] strides(12,1) = buffer.view %y {start = [0, 8], shape = [<N>, 4]}
      buffer.launch %z, %v {writes = 1, kernel = none} (%z.1: f32[N,4]) {
        yield %z.1
      }
    }
    }
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from netc.ir.builder import FuncBuilder
from netc.ir.core import Block, Func, Module, Op, Value, definitions, fresh_name, users, walk
from netc.ir.diagnostics import NetcError
from netc.ir.dim import Dim
from netc.ir.layout import Layout
from netc.ir.location import Location
from netc.ir.opdef import opdef
from netc.ir.ops.buffer import AllocAttrs, LaunchAttrs, ReinterpretAttrs, ViewAttrs
from netc.ir.types import BufferType, TensorType


def bufferize(module: Module, *, in_place: bool = True) -> Module:
    """The buffer-level module of a tensor-level one."""
    main = module.func("main")
    states = {value.name for value in main.states}
    changed = states.intersection(main.result_names)
    for value, name in zip(main.results, main.result_names, strict=True):
        if name in states and value.name in changed - {name}:
            raise NetcError(f"the state '{name}' becomes the state '{value.name}', which changes too")
        if _tensor(value).layout is not None and name not in states:
            raise NetcError(f"result '{name}' is {value.type}; a result must be row-major")
    return Module(module.name, "buffer", (_Bufferizer(main, _plan(main, in_place)).run(),))


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


# --- what becomes of an op ---
_Kind = Literal["recast", "slice", "concat", "launch"]


def _kind(op: Op) -> _Kind:
    if op.name == "tensor.reshape" or (op.name == "layout.convert" and _keeps_order(op)):
        return "recast"
    if op.name == "tensor.slice":
        return "slice"
    return "concat" if op.name == "tensor.concat" else "launch"


def _keeps_order(convert: Op) -> bool:
    """Whether a conversion moves no element: nothing but 1s behind an axis of whole blocks."""
    return all(_is_flat(_tensor(v), _tensor(v).layout) for v in (convert.operands[0], convert.result))


def _is_flat(type_: TensorType, layout: Layout) -> bool:
    if layout is None:
        return True
    extent = type_.shape[layout.axis]
    return (
        isinstance(extent, int)
        and extent % layout.size == 0
        and all(d == 1 for d in type_.shape[layout.axis + 1 :])
    )


# --- the plan: which value lies inside which other ---
@dataclass(frozen=True, slots=True)
class _Part:
    """The part of ``whole`` that begins at ``start``."""

    whole: Value
    start: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Same:
    """The memory of ``other``; reinterpreted where the types differ."""

    other: Value


@dataclass(frozen=True, slots=True)
class _Output:
    """The output of this number."""

    index: int


@dataclass(frozen=True, slots=True)
class _State:
    """The memory of this argument."""

    arg: Value


_Plan = dict[str, _Part | _Same | _Output | _State]


def _plan(func: Func, in_place: bool) -> _Plan:
    """Goes from readers to writers: the first reader to say where a value should lie decides."""
    made_by = definitions(func)
    read_by = users(func)
    returned = {v.name for v in func.results}
    plan: _Plan = {}
    states = {value.name: value for value in func.states}
    last_read = _last_reads(func)
    order = {op.results[0].name: index for index, op in enumerate(func.ops)}
    for index, (value, name) in enumerate(zip(func.results, func.result_names, strict=True)):
        maker = made_by.get(value.name)
        if maker is None:
            continue
        if name not in states:
            plan.setdefault(value.name, _Output(index))
        elif _kind(maker) == "launch":
            state, at = states[name], order[maker.results[0].name]
            before = last_read.get(name, -1) < at
            if before or (last_read[name] == at and in_place and state in _overwritable(maker, value)):
                plan.setdefault(value.name, _State(state))

    def free(value: Value, *kinds: _Kind) -> bool:
        maker = made_by.get(value.name)
        return maker is not None and value.name not in plan and _kind(maker) in kinds

    for op in reversed(func.ops):
        kind = _kind(op)
        if kind == "recast" and op.result.name in plan and free(op.operands[0], "launch", "concat", "recast"):
            plan[op.operands[0].name] = _Same(op.result)
        if kind == "concat":
            for value, start in zip(op.operands, _starts(op) or (), strict=False):
                if free(value, "launch", "concat"):
                    plan[value.name] = _Part(op.result, start)
        # a state's memory holds its old content until the state is written
        if kind == "launch" and in_place and not isinstance(plan.get(op.results[0].name), _State):
            for value in _overwritable(op, op.result) if len(op.results) == 1 else ():
                sole_reader = len(read_by[value.name]) == 1 and value.name not in returned
                if sole_reader and free(value, "launch"):
                    plan[value.name] = _Same(op.result)
                    break
    return plan


def _starts(concat: Op) -> list[tuple[int, ...]] | None:
    """Where each operand of a concat begins; None if that depends on a symbol."""
    axis = concat.attrs.axis
    starts: list[tuple[int, ...]] = []
    at: Dim = 0
    for value in concat.operands:
        if not isinstance(at, int):
            return None
        starts.append(tuple(at if a == axis else 0 for a in range(_tensor(value).rank)))
        at = at + _tensor(value).shape[axis]
    return starts


def _last_reads(func: Func) -> dict[str, int]:
    """For each argument: the index of the last op that reads its memory, under whatever name."""
    root = {a.name: a.name for a in func.args}
    last: dict[str, int] = {}
    for index, op in enumerate(func.ops):
        for value in op.operands:
            if value.name in root:
                last[root[value.name]] = index
        if _kind(op) in ("recast", "slice") and op.operands[0].name in root:
            root[op.result.name] = root[op.operands[0].name]
    for value in func.results:
        if value.name in root and root[value.name] != value.name:
            last[root[value.name]] = len(func.ops)
    return last


def _overwritable(op: Op, result: Value) -> list[Value]:
    """The operands of a result's type that the kernel may overwrite with it as it goes."""
    if op.name == "layout.convert":
        return []
    body = op.body.ops if op.body is not None else (op,)
    if all(opdef(o.name).elementwise for o in body):
        allowed = set(range(len(op.operands)))
    elif len(op.results) == len(body) == 1 and op.body is not None:
        args = [a.name for a in op.body.args]
        allowed = {args.index(body[0].operands[i].name) for i in opdef(body[0].name).in_place}
    else:
        allowed = set()
    return [v for i, v in enumerate(op.operands) if i in allowed and v.type == result.type]


# --- the ops ---
class _Bufferizer:
    """Emits the buffer-level function; memory is made when the first op needs it."""

    def __init__(self, func: Func, plan: _Plan) -> None:
        self.func = func
        self.plan = plan
        bodies = [op.body for op in walk(func.ops) if op.body is not None]
        inner = {v.name for b in bodies for v in (*b.args, *(r for op in b.ops for r in op.results))}
        self.builder = FuncBuilder(func.name, inner)
        self.buffers: dict[str, Value] = {}
        self.targets: list[Value] = []  # where the results go
        self.outputs_of: dict[str, list[Value]] = {}  # by the name of a value that is a result

    def run(self) -> Func:
        """The function on buffers."""
        for arg, role in zip(self.func.args, self.func.roles, strict=True):
            self.buffers[arg.name] = self.builder.arg(arg.name, BufferType(_tensor(arg)), role)
        states = {value.name for value in self.func.states}
        for value, name in zip(self.func.results, self.func.result_names, strict=True):
            if name in states:
                self.targets.append(self.buffers[name])
            else:
                output = self.builder.arg(name, BufferType(_tensor(value)), "output")
                self.targets.append(output)
                self.outputs_of.setdefault(value.name, []).append(output)
        # states may change; inputs are read as late as can be: some are given late
        self.copy_to_outputs((*self.func.states, *self.func.params))
        for op in self.func.ops:
            kind = _kind(op)
            if kind == "recast":
                self.recast(op)
            elif kind == "slice":
                self.slice(op)
            elif kind == "concat":
                self.concat(op)
            else:
                self.launch(op)
            self.copy_to_outputs(op.results)
        self.copy_to_outputs(self.func.inputs)
        for value, name, target in zip(self.func.results, self.func.result_names, self.targets, strict=True):
            if name in states:
                self.copy(self.buffer_of(value, None), target, None)
        return self.builder.finish((), ())

    def copy_to_outputs(self, made: Iterable[Value]) -> None:
        """Copy what was just made to the outputs that it does not lie in; states wait for their readers."""
        for value in made:
            for output in self.outputs_of.get(value.name, ()):
                self.copy(self.buffer_of(value, None), output, None)

    # --- memory ---
    def buffer_of(self, value: Value, location: Location | None) -> Value:
        """The memory of a value: where the plan puts it, else an allocation."""
        if value.name not in self.buffers:
            self.buffers[value.name] = self._make_buffer(value, location)
        return self.buffers[value.name]

    def _make_buffer(self, value: Value, location: Location | None) -> Value:
        place = self.plan.get(value.name)
        if isinstance(place, _Output):
            return self.targets[place.index]
        if isinstance(place, _State):
            return self.buffers[place.arg.name]
        if isinstance(place, _Part):
            whole = self.buffer_of(place.whole, location)
            return self.view(whole, place.start, value, location)
        if isinstance(place, _Same):
            return self.reinterpret(self.buffer_of(place.other, location), value, location)
        return self.alloc(_tensor(value), value.name, location)

    def alloc(self, tensor: TensorType, hint: str, location: Location | None) -> Value:
        """Memory of the arena."""
        return self.builder.add1("buffer.alloc", (), AllocAttrs(tensor), hint=hint, location=location)

    def view(self, whole: Value, start: tuple[int, ...], part: Value, location: Location | None) -> Value:
        """A part of a buffer, with the shape of ``part``."""
        attrs = ViewAttrs(start, _tensor(part).shape)
        return self.builder.add1("buffer.view", (whole,), attrs, hint=part.name, location=location)

    def reinterpret(self, buffer: Value, value: Value, location: Location | None) -> Value:
        """A buffer as one of the type of ``value``."""
        if _buffer(buffer).tensor == value.type:
            return buffer
        attrs = ReinterpretAttrs(_tensor(value))
        return self.builder.add1("buffer.reinterpret", (buffer,), attrs, hint=value.name, location=location)

    # --- one method a kind ---
    def recast(self, op: Op) -> None:
        """The same memory; a copy where the plan wants the result elsewhere or the operand has gaps."""
        source = self.buffer_of(op.operands[0], op.location)
        if self.plan.get(op.operands[0].name) == _Same(op.result):
            return
        if _buffer(source).strides is not None:
            dense = self.alloc(_buffer(source).tensor, op.operands[0].name, op.location)
            self.copy(source, dense, op.location)
            source = dense
        self._alias(op.result, self.reinterpret(source, op.result, op.location), op.location)

    def slice(self, op: Op) -> None:
        """A view."""
        whole = self.buffer_of(op.operands[0], op.location)
        self._alias(op.result, self.view(whole, op.attrs.start, op.result, op.location), op.location)

    def _alias(self, value: Value, memory: Value, location: Location | None) -> None:
        """``value`` is found in ``memory``: lies there, or is copied to where it must lie."""
        if value.name in self.plan:
            self.copy(memory, self.buffer_of(value, location), location)
        else:
            self.buffers[value.name] = memory

    def concat(self, op: Op) -> None:
        """Copies the operands that were not computed in place."""
        starts = _starts(op)
        if starts is None:
            self.launch(op)
            return
        whole = self.buffer_of(op.result, op.location)
        placed: set[str] = set()
        for value, start in zip(op.operands, starts, strict=True):
            if self.plan.get(value.name) == _Part(op.result, start) and value.name not in placed:
                placed.add(value.name)
                self.buffer_of(value, op.location)
            else:
                part = self.view(whole, start, value, op.location)
                self.copy(self.buffer_of(value, op.location), part, op.location)

    def launch(self, op: Op) -> None:
        """A kernel: the body of a fusion, or the op itself."""
        reads = [self.buffer_of(v, op.location) for v in op.operands]
        writes = [self.buffer_of(r, op.location) for r in op.results]
        body = op.body if op.body is not None else self._body_of(op)
        self._add_launch(reads, writes, body, op.location)

    def _body_of(self, op: Op) -> Block:
        names = self.builder.taken
        args = tuple(Value(fresh_name(v.name, names), v.type) for v in op.operands)
        results = tuple(Value(fresh_name(r.name, names), r.type) for r in op.results)
        inner = Op(op.name, args, op.attrs, results, None, op.location)
        return Block(args, (inner,), results)

    def copy(self, source: Value, target: Value, location: Location | None) -> None:
        """A launch with an empty body; nothing where both are one."""
        if source == target:
            return
        arg = Value(fresh_name(source.name, self.builder.taken), _buffer(source).tensor)
        self._add_launch([source], [target], Block((arg,), (), (arg,)), location)

    def _add_launch(
        self, reads: list[Value], writes: list[Value], body: Block, location: Location | None
    ) -> None:
        attrs = LaunchAttrs(len(writes))
        self.builder.add("buffer.launch", (*reads, *writes), attrs, hint="", location=location, body=body)


def _buffer(value: Value) -> BufferType:
    assert isinstance(value.type, BufferType)
    return value.type
